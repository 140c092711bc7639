"""Is there room for the features? Asked before hours are spent."""

from collections.abc import Sequence
from pathlib import Path

from probebench.cache.store import partial_path
from probebench.cache.writer import bytes_needed
from probebench.errors import CacheError
from probebench.files import bytes_text, free_space


def space_needed(path: Path, ids: Sequence[str], width: int, dtype: str) -> int:
    """Returns the bytes that a feature file still takes: its size, less what an interrupted one has on the disk."""
    partial = partial_path(path)
    # An interrupted file has its full length, but rows that were never written take no room.
    there = partial.stat().st_blocks * 512 if partial.exists() else 0
    return max(0, bytes_needed(ids, width, dtype) - there)


def require_space(needed: int, home: Path) -> None:
    """Refuses before anything is computed.

    Raises:
        CacheError: The disk is too small.
    """
    free = free_space(home)
    if needed > free:
        raise CacheError(
            f"features need {bytes_text(needed)} in {home} and {bytes_text(free)} are free: "
            "free some disk space, or set PROBEBENCH_HOME to a larger disk"
        )
