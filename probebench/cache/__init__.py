"""The feature cache: one HDF5 file per key, committed in blocks, checked when read."""
