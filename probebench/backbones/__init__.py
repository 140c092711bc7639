"""Backbones: a registry entry turned into a network, its weights and its preprocessing."""
