"""What the engine's tests run on Ray; a module of its own, since every worker imports it: no torch, no pytest."""

import os
import signal
from pathlib import Path

from probebench.engine import Handle


def triple(item: int) -> int:
    return 3 * item


def fail_at_three(item: int) -> int:
    if item == 3:
        raise KeyError(f"no {item}")
    return item


def die_once(task: tuple[Path, int]) -> int:
    """Counts its calls in files; the first call of item 2 kills its worker."""
    folder, item = task
    number = len(list(folder.glob(f"{item}-*")))
    (folder / f"{item}-{number}").touch()
    if item == 2 and number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def identity(handle: Handle[list[int]]) -> tuple[int, int]:
    return id(handle.get()), os.getpid()


def always_die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item
