"""Says what is wrong with a feature file, complete or interrupted; HDF5 never sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probebench.cache.file_io import RawFile
from probebench.cache.header import Description, Slot, fixed_sha256, is_sealed, read_description, read_slot
from probebench.cache.rows import FeatureRows
from probebench.cache.store import PARTIAL
from probebench.errors import CacheError

# How much of a long list of damaged rows a line tells.
_RANGES, _IDS = 5, 3


@dataclass(frozen=True)
class Damage:
    """What is wrong with a file.

    Attributes:
        path: The file.
        features: Rows whose features changed, ascending.
        records: Rows whose label or id changed, ascending.
        message: One line that names the file, what is damaged, and the mend.
    """

    path: Path
    features: tuple[int, ...]
    records: tuple[int, ...]
    message: str


def verify(path: Path) -> Damage | None:
    """Reads a whole file and checks every byte of it; of an interrupted one, all that counts.

    Returns:
        What is damaged, or None where all is well.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    with RawFile(path) as file:
        return _verify_interrupted(file) if path.name.endswith(PARTIAL) else _verify_complete(file)


def _verify_complete(file: RawFile) -> Damage | None:
    what, mend = "feature file", "delete it and extract again"
    try:
        description = _described(file, what, mend)
    except CacheError as error:
        return Damage(file.path, (), (), str(error))
    rows = FeatureRows(file, description)
    features = _where(rows, lambda start, stop: rows.check(start, stop).unlike, description.rows)
    # Labels and ids are under the seal; their own checksums only say which.
    if is_sealed(file, description):
        if not features:
            return None
        return _damage(file.path, what, rows, features, (), mend)
    records = _where(rows, rows.wrong_records, description.rows)
    return _damage(file.path, what, rows, features, records, mend)


def _verify_interrupted(file: RawFile) -> Damage | None:
    what, mend = "interrupted feature file", "delete it and run again"
    try:
        description = _described(file, what, mend)
        slot = _counted(file, description)
    except CacheError as error:
        return Damage(file.path, (), (), str(error))
    rows = FeatureRows(file, description)
    features = _where(rows, lambda start, stop: rows.check(start, stop).wrong, slot.committed)
    records = _where(rows, rows.wrong_records, slot.committed)
    if description.sha256 != fixed_sha256(file, description):
        return _damage(file.path, what, rows, features, records, mend)
    # The next run goes back to before the first row that is not whole, and writes the checksums after it anew.
    again = f"run the extraction again: it goes on at row {min(features + records, default=0)}"
    return _damage(file.path, what, rows, features, records, again) if features or records else None


def _described(file: RawFile, what: str, mend: str) -> Description:
    description = read_description(file, what, mend)
    if file.length() != description.length:
        raise CacheError(
            f"{what} {file.path} is damaged: it has {file.length()} bytes instead of {description.length}; {mend}"
        )
    return description


def _counted(file: RawFile, description: Description) -> Slot:
    slot = read_slot(file)
    if slot is None or not 0 <= slot.committed <= description.rows:
        raise CacheError(
            f"interrupted feature file {file.path} is damaged where it counts its rows; delete it and run again"
        )
    return slot


def _where(rows: FeatureRows, wrong: Callable[[int, int], npt.NDArray[np.bool_]], stop: int) -> tuple[int, ...]:
    """Returns the rows before ``stop`` that are wrong, looking at a piece at a time."""
    return tuple(
        row for first, last in rows.pieces(0, stop) for row in (np.flatnonzero(wrong(first, last)) + first).tolist()
    )


def _damage(
    path: Path, what: str, rows: FeatureRows, features: tuple[int, ...], records: tuple[int, ...], mend: str
) -> Damage:
    parts = [f"features of {_rows(features)}{_named(rows, features)}"] if features else []
    parts += [f"label or id of {_rows(records)}{_named(rows, records)}"] if records else []
    found = " and ".join(parts) or "what it says beside its rows"
    return Damage(path, features, records, f"{what} {path} is damaged: {found}; {mend}")


def _rows(found: tuple[int, ...]) -> str:
    """Writes rows as ranges: "row 3", "rows 3-5, 9 and 12 more"."""
    runs = [run.tolist() for run in np.split(np.array(found), np.flatnonzero(np.diff(found) != 1) + 1)]
    told = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:_RANGES])
    more = sum(map(len, runs[_RANGES:]))
    return f"row{'s' if len(found) > 1 else ''} {told}{f' and {more} more' if more else ''}"


def _named(rows: FeatureRows, found: tuple[int, ...]) -> str:
    """Names the first few rows by their ids, as they are in the file, damaged or not."""
    ids = [_printable(rows.ids(row, row + 1)[0].decode(errors="replace")) for row in found[:_IDS]]
    return f" ({', '.join(ids)}{', …' if len(found) > _IDS else ''})"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
