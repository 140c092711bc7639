"""Webdatasets: shards on this machine, or streamed from elsewhere."""
