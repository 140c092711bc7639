"""Checkpoints made under control: three methods on the same images, for the same time, under the same preprocessing."""
