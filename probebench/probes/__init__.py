"""Probes of frozen features, their backends, and the choice of their strength."""
