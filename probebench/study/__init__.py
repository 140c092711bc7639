"""The questions of arXiv:2302.13602, asked of any set of results."""
