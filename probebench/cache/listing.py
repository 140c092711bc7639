"""What lies in the cache, file by file, told from the files' first bytes; interrupted and damaged ones too.

Files are removed from here as well: by whose they are, by age and by size; never one that is being written.
"""

import contextlib
import fnmatch
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probebench.cache.file_io import RawFile
from probebench.cache.header import About, is_sealed, read_description, read_slot
from probebench.cache.lock import lock_path, locked_now
from probebench.cache.store import PARTIAL, SUFFIX, final_path, partial_path, scratch_path, stored_files
from probebench.errors import CacheError, UsageError

FileState = Literal["complete", "interrupted", "damaged"]

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """One feature file, whole or not.

    Attributes:
        path: Where it lies.
        about: Whose features it holds; None where it does not say so any more.
        rows: Images; None where it does not say so any more.
        committed: Images that are done.
        bytes: What it takes of the disk.
        modified: In seconds since 1970.
        state: A file counts as damaged where its structure is; rows are read by ``verify`` only.
    """

    path: Path
    about: About | None
    rows: int | None
    committed: int | None
    bytes: int
    modified: float
    state: FileState

    @property
    def model(self) -> str:
        """Checkpoint id."""
        return self.about.model if self.about else self.path.parent.parent.name

    @property
    def dataset(self) -> str:
        """Data set id; of a damaged file its folder's name, which writes ":" as "-"."""
        return self.about.dataset if self.about else self.path.parent.name

    @property
    def split(self) -> str:
        """Name of the part of the data set."""
        return self.about.split if self.about else self.path.name.split("-")[0]


@dataclass(frozen=True)
class Removal:
    """What became of files that were to go.

    Attributes:
        gone: Files removed (or that would be).
        busy: Files that another process is writing, left alone.
    """

    gone: tuple[CachedFile, ...]
    busy: tuple[CachedFile, ...]


def list_files(home: Path, models: Sequence[str] = (), datasets: Sequence[str] = ()) -> list[CachedFile]:
    """Lists the feature files under a home folder, in the order of their names.

    Args:
        home: The home folder.
        models: Globs, of which a checkpoint's id must match one; none: all.
        datasets: Globs, of which a data set's id must match one; none: all.
    """
    paths = {*stored_files(home), *stored_files(home, partial=True), *_abandoned(home)}
    files = [file for path in sorted(paths) if (file := _look_at(path))]
    either = [*datasets, *(glob.replace(":", "-") for glob in datasets)]
    return [
        file
        for file in files
        if _matches((file.model,), models) and _matches((file.dataset, file.path.parent.name), either)
    ]


def _abandoned(home: Path) -> list[Path]:
    """Lists what kills left of files that were not even laid out."""
    found = (home / "features").glob(f"*/*/*{SUFFIX}{PARTIAL}.new")
    return [path for path in found if not (final_path(path).exists() or partial_path(final_path(path)).exists())]


def _matches(names: Sequence[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)


def _look_at(path: Path) -> CachedFile | None:
    """Describes a file; None if it vanished meanwhile."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    about, rows, committed, state = _state(path)
    return CachedFile(
        path=path,
        about=about,
        rows=rows,
        committed=committed,
        # An interrupted file has its full length from the start, and holes in it.
        bytes=status.st_size if path.suffix == SUFFIX else min(status.st_size, status.st_blocks * 512),
        modified=status.st_mtime,
        state=state,
    )


def _state(path: Path) -> tuple[About | None, int | None, int | None, FileState]:
    """Returns whose features a file holds, its rows, those that are done, and whether it is whole."""
    if path.suffix == ".new":
        return None, None, 0, "interrupted"
    try:
        with RawFile(path) as file:
            description = read_description(file)
            about, rows = description.about, description.rows
            if path.suffix == SUFFIX:
                return about, rows, rows, "complete" if is_sealed(file, description) else "damaged"
            slot = read_slot(file)
            if slot is None or file.length() != description.length:
                return about, rows, None, "damaged"
            return about, rows, slot.committed, "interrupted"
    except (CacheError, OSError):
        return None, None, None, "damaged"


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


def older_and_larger(files: Sequence[CachedFile], seconds: float | None, size: float | None) -> list[CachedFile]:
    """Returns the files that are older than a number of seconds and larger than a number of bytes (None: any)."""
    now = time.time()
    return [
        file
        for file in files
        if (seconds is None or now - file.modified > seconds) and (size is None or file.bytes > size)
    ]


def remove_files(files: Sequence[CachedFile], dry_run: bool = False) -> Removal:
    """Removes files, what kills left beside them, their lock files, and folders that are empty then.

    Raises:
        OSError: A file cannot be removed.
    """
    gone: list[CachedFile] = []
    busy: list[CachedFile] = []
    for file in files:
        path = final_path(file.path)
        # A lock that nobody ever took needs no asking, and a dry run makes no files.
        if dry_run and not lock_path(path).exists():
            gone.append(file)
            continue
        with locked_now(path) as mine:
            (gone if mine else busy).append(file)
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
