"""Data sets of the Hugging Face hub, and local ones in its layouts."""
