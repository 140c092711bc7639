"""Images with captions and labels: what pre-training reads."""
