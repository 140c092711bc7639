"""What lies in the cache, file by file, told from the files' first bytes; interrupted and damaged ones too."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probebench.cache.file_io import RawFile
from probebench.cache.header import About, read_description, read_slot
from probebench.cache.seal import is_sealed
from probebench.cache.store import PARTIAL, SUFFIX, final_path, partial_path, stored_files
from probebench.errors import CacheError

State = Literal["complete", "interrupted", "damaged"]


@dataclass(frozen=True)
class Entry:
    """One file.

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
    state: State

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


def list_files(home: Path, models: Sequence[str] = (), datasets: Sequence[str] = ()) -> list[Entry]:
    """Lists the feature files under a home folder, in the order of their names.

    Args:
        home: The home folder.
        models: Globs, of which a checkpoint's id must match one; none: all.
        datasets: Globs, of which a data set's id must match one; none: all.
    """
    paths = {*stored_files(home), *stored_files(home, partial=True), *_abandoned(home)}
    entries = [entry for path in sorted(paths) if (entry := _entry(path))]
    return [
        entry
        for entry in entries
        if _matches((entry.model,), models)
        and _matches(
            (entry.dataset, entry.path.parent.name), [*datasets, *(glob.replace(":", "-") for glob in datasets)]
        )
    ]


def _abandoned(home: Path) -> list[Path]:
    """Lists what kills left of files that were not even laid out."""
    found = (home / "features").glob(f"*/*/*{SUFFIX}{PARTIAL}.new")
    return [path for path in found if not (final_path(path).exists() or partial_path(final_path(path)).exists())]


def _matches(names: Sequence[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for name in names for glob in globs)


def _entry(path: Path) -> Entry | None:
    """Describes a file; None if it vanished meanwhile."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    # An interrupted file has its full length from the start, and holes in it.
    size = status.st_size if path.suffix == SUFFIX else min(status.st_size, status.st_blocks * 512)
    try:
        with RawFile(path) as file:
            return _described(file, size, status.st_mtime)
    except OSError:
        return Entry(path, None, None, None, size, status.st_mtime, "damaged")


def _described(file: RawFile, size: int, modified: float) -> Entry:
    path = file.path
    if path.suffix == ".new":
        return Entry(path, None, None, 0, size, modified, "interrupted")
    try:
        description = read_description(file)
    except CacheError:
        return Entry(path, None, None, None, size, modified, "damaged")
    about, rows = description.about, description.rows
    if path.suffix == SUFFIX:
        whole = is_sealed(file, description)
        return Entry(path, about, rows, rows, size, modified, "complete" if whole else "damaged")
    slot = read_slot(file)
    if slot is None or file.length() != description.length:
        return Entry(path, about, rows, None, size, modified, "damaged")
    return Entry(path, about, rows, slot.committed, size, modified, "interrupted")
