"""The leaderboard: a static page made from result files."""
