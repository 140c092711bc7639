"""Downstream data sets: images with stable ids, labels, fixed splits and few-shot draws."""
