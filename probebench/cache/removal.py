"""Removes feature files: by whose they are, by age and by size; never one that is being written."""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.cache.listing import Entry
from probebench.cache.lock import lock_path, locked_now
from probebench.cache.store import final_path, partial_path, scratch_path
from probebench.errors import UsageError

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Removal:
    """What became of files that were to go.

    Attributes:
        gone: Files removed (or that would be).
        busy: Files that another process is writing, left alone.
    """

    gone: tuple[Entry, ...]
    busy: tuple[Entry, ...]


def parse_age(text: str) -> float:
    """Reads "30d", "12h", "90m" or "2w" into seconds.

    Raises:
        UsageError: It is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip(), re.ASCII)
    if not found:
        raise UsageError(f"{text!r} is no age: write a number and m, h, d or w, such as 30d or 12h")
    return float(found[1]) * _SECONDS[found[2]]


def parse_size(text: str) -> float:
    """Reads "500MB" or "2GB" (powers of ten) into bytes.

    Raises:
        UsageError: It is no such size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B)", text.strip().upper(), re.ASCII)
    if not found:
        raise UsageError(f"{text!r} is no size: write a number and B, KB, MB, GB or TB, such as 500MB or 2GB")
    return float(found[1]) * _BYTES[found[2]]


def older_and_larger(entries: Sequence[Entry], seconds: float | None, size: float | None) -> list[Entry]:
    """Returns the files that are older than a number of seconds and larger than a number of bytes (None: any)."""
    now = time.time()
    return [
        entry
        for entry in entries
        if (seconds is None or now - entry.modified > seconds) and (size is None or entry.bytes > size)
    ]


def remove_files(entries: Sequence[Entry], dry_run: bool = False) -> Removal:
    """Removes files, what kills left beside them, their lock files, and folders that are empty then.

    Raises:
        OSError: A file cannot be removed.
    """
    gone: list[Entry] = []
    busy: list[Entry] = []
    for entry in entries:
        path = final_path(entry.path)
        # A lock that nobody ever took needs no asking, and a dry run makes no files.
        if dry_run and not lock_path(path).exists():
            gone.append(entry)
            continue
        with locked_now(path) as mine:
            (gone if mine else busy).append(entry)
            if mine and not dry_run:
                _remove(path)
    return Removal(tuple(gone), tuple(busy))


def _remove(path: Path) -> None:
    # The lock file last: who waits for it finds it gone, and makes a new one.
    for name in (path, partial_path(path), scratch_path(path), lock_path(path)):
        name.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        path.parent.parent.rmdir()
