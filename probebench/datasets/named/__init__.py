"""Data sets that have a name: each is opened through the library that carries it."""
