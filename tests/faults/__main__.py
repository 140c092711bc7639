"""Kills, full disks, losses of power, damage, mutations: python -m tests.faults [--short] [--only store]."""

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

# The store comes first, before torch is loaded.
PARTS = ("store", "submissions", "extraction")


def main() -> int:
    """Runs the parts that were asked for; one line for each kind of fault, and one for whatever did not survive it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few of each kind")
    parser.add_argument("--only", choices=PARTS, help="one part (default: all)")
    options = parser.parse_args()
    # Children are forked from a process without threads, and numpy would start some.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    faults: list[str] = []
    began = time.perf_counter()
    for name in [options.only] if options.only else PARTS:
        with tempfile.TemporaryDirectory() as place:
            faults += importlib.import_module(f"tests.faults.{name}").run(Path(place), options.short)
        sys.stdout.flush()
    for fault in faults:
        print(f"fault: {fault}")
    print(f"{len(faults)} faults in {time.perf_counter() - began:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
