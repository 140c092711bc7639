"""Feature files as they are read: whole or not at all, and every row checked against its checksum."""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import numpy.typing as npt

from probebench.arrays import Features, Labels, Positions
from probebench.cache.checksums import FEATURES
from probebench.cache.file_io import RawFile
from probebench.cache.header import Description, Settings, is_sealed, read_description, read_slot
from probebench.cache.key import FeatureKey
from probebench.cache.layout import decode_ids
from probebench.cache.rows import FeatureRows
from probebench.errors import CacheError, one_line
from probebench.files import stamp

SUFFIX = ".h5"
PARTIAL = ".partial"


def feature_path(home: Path, model: str, dataset: str, key: FeatureKey) -> Path:
    """Returns where the features of a key live."""
    return home / "features" / model / dataset.replace(":", "-") / f"{key.split}-{key.digest[:16]}{SUFFIX}"


def home_of(path: Path) -> Path:
    """Returns the home folder that a feature file lives in."""
    return path.parents[3]


@dataclass(frozen=True)
class Skipped:
    """Images that could not be decoded and were left out.

    Attributes:
        ids: Their sample ids, (S,).
        labels: Their labels, (S,).
        positions: Their places in the split, counted before they were left out, (S,).
    """

    ids: tuple[str, ...]
    labels: Labels
    positions: Positions

    def __len__(self) -> int:
        """Returns S."""
        return len(self.ids)


# Files that this process found whole, with what would change if they did: eval opens a split for every task.
_WHOLE: dict[Path, tuple[int, ...]] = {}
# Clocks of file systems tick every few milliseconds: what was written just now could change again under the same time.
_SETTLED_NS = 10**9


def _known_whole(file: RawFile, description: Description) -> bool:
    """Says whether a file is complete and unchanged; it is hashed at its first opening, and whenever it has changed."""
    path, now = file.path.absolute(), stamp(file.path.stat())
    if _WHOLE.get(path) == now:
        return True
    whole = is_sealed(file, description)
    if whole and time.time_ns() - max(now[-2:]) > _SETTLED_NS:
        _WHOLE[path] = now
    return whole


class FeatureFile:
    """One complete file, open for reading. Rows are checked against their checksums as they are read.

    Threads may share it: reading moves no file position.

    Attributes:
        path: Where it lies.
        key: Its key.
        model: Checkpoint id.
        dataset: Data set id.
        splits: Names of all parts of the data set.
        settings: Device, batch size and the like with which it was computed.
        skipped: Images left out.
        rows: N, images.
        width: D, features of an image.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file and checks that it is whole.

        Raises:
            CacheError: It is truncated, damaged, foreign or of another version.
            OSError: It is not there, or cannot be read.
        """
        self.path = path
        self._file = RawFile(path)
        try:
            description = read_description(self._file)
            if not _known_whole(self._file, description):
                raise CacheError(f"feature file {path} is damaged or truncated; delete it and extract again")
            self.rows, self.width = description.rows, description.width
            self._rows = FeatureRows(self._file, description)
            # Sealed, so few rows need no reading of checksums beside them; 8 bytes a row.
            self._checksums = self._rows.checksums(0, self.rows)[:, FEATURES].copy()
            self._read_attributes()
        except BaseException:
            self._file.close()
            raise

    def _read_attributes(self) -> None:
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                self.key = FeatureKey.model_validate_json(file.attrs["key"])
                self.model = str(file.attrs["model"])
                self.dataset = str(file.attrs["dataset"])
                self.splits: tuple[str, ...] = tuple(json.loads(file.attrs["splits"]))
                self.settings: Settings = json.loads(file.attrs["settings"])
                left_out = [file[f"skipped_{name}"][:] for name in ("ids", "labels", "positions")]
                self.skipped = Skipped(decode_ids(left_out[0]), *left_out[1:])
        # Its bytes are those that were written, so this is a fault of the writer or of HDF5.
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise CacheError(
                f"feature file {self.path} cannot be read ({one_line(error, 100)}); delete it and extract again"
            ) from error

    @cached_property
    def labels(self) -> Labels:
        """All labels, (N,)."""
        return self._rows.labels(0, self.rows)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """All sample ids, (N,)."""
        return decode_ids(self._rows.ids(0, self.rows))

    def read(self, positions: npt.NDArray[np.integer] | None = None) -> Features:
        """Reads rows in the order asked for (None: all), and checks each against its checksum.

        Returns:
            Features (len(positions), D) in the stored dtype.

        Raises:
            CacheError: A row's bytes changed since it was written.
            IndexError: There is no such row.
        """
        if positions is None:
            features, wrong = self._rows.read_all(self._checksums)
        else:
            asked: Positions = np.asarray(positions, np.int64)
            if len(asked) and not 0 <= asked.min() <= asked.max() < self.rows:
                raise IndexError(f"rows {asked.min()} to {asked.max()} of {self.rows} rows")
            features, wrong = self._rows.read(asked, self._checksums)
        if len(wrong):
            raise CacheError(
                f"feature file {self.path}: row {wrong[0]} ({self.ids[int(wrong[0])]}) and {len(wrong) - 1} more "
                "changed on disk; delete it and extract again"
            )
        return features

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()


def partial_path(path: Path) -> Path:
    """Returns the name of a file while it grows."""
    return path.with_name(path.name + PARTIAL)


def scratch_path(path: Path) -> Path:
    """Returns the name of what is not yet fit to be resumed or read; nothing trusts such a file."""
    return path.with_name(path.name + PARTIAL + ".new")


def committed_rows(path: Path) -> int:
    """Returns how many rows an interrupted file counts, as yet unchecked; 0 where there is none or it is damaged."""
    try:
        with RawFile(partial_path(path)) as file:
            slot = read_slot(file)
    except OSError:
        return 0
    return slot.committed if slot else 0


def final_path(path: Path) -> Path:
    """Returns the name of the complete file that an interrupted one, or what is left of one, would become."""
    return path.with_name(path.name.removesuffix(".new").removesuffix(PARTIAL))


def stored_files(home: Path, partial: bool = False) -> list[Path]:
    """Lists the complete feature files under a home folder (or the interrupted ones), in the order of their names.

    What a kill left of an interrupted file beside the complete one does not count.
    """
    found = sorted((home / "features").glob(f"*/*/*{SUFFIX}{PARTIAL if partial else ''}"))
    return [path for path in found if not (partial and final_path(path).exists())]


def mark_as_newest(path: Path) -> None:
    """Dates a file to now if one beside it is newer: of several extractions, eval takes the one asked for last."""
    split = path.name.split("-")[0]
    if any(other.stat().st_mtime > path.stat().st_mtime for other in path.parent.glob(f"{split}-*{SUFFIX}")):
        with contextlib.suppress(OSError):
            os.utime(path)
