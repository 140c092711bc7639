"""Writes documentation and tables from the package itself (``make docs``)."""
