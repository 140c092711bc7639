"""Figures of results, drawn without a display."""
