"""Data sets of the user's own: folders, webdataset shards, the Hugging Face hub."""

# What the name of such a data set begins with.
FOLDER, WDS, HF = "folder:", "wds:", "hf:"
