"""The one training loop, what it is made of, and the objectives that it trains for."""
