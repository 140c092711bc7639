"""Runs the command line as ``python -m probebench``."""

from probebench.cli.main import main

main()
