"""Data sets of the user's own: folders, webdataset shards, the Hugging Face hub."""
