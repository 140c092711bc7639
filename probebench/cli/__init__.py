"""The command line: each command parses, makes library calls and formats."""
