"""Feature files as they are read: whole or not at all, and every row checked against its checksum."""

import contextlib
import json
import os
import zlib
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from probebench.cache.key import FeatureKey
from probebench.cache.seal import check_seal
from probebench.errors import CacheError, one_line

SUFFIX = ".h5"

Features = npt.NDArray[np.floating[Any]]


def feature_path(home: Path, model: str, dataset: str, key: FeatureKey) -> Path:
    """Returns where the features of a key live."""
    return home / "features" / model / dataset.replace(":", "-") / f"{key.split}-{key.digest[:16]}{SUFFIX}"


def row_checksums(rows: Features) -> npt.NDArray[np.uint32]:
    """Returns the CRC-32 of each row's bytes, (N,)."""
    return np.fromiter((zlib.crc32(row) for row in np.ascontiguousarray(rows)), dtype=np.uint32, count=len(rows))


class FeatureFile:
    """One complete file, open for reading. Rows are checked against their checksums as they are read.

    Attributes:
        path: Where it lies.
        key: Its key.
        model: Checkpoint id.
        dataset: Data set id.
        splits: Names of all parts of the data set.
        settings: Device, batch size and the like with which it was computed.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file and checks that it is whole.

        Raises:
            CacheError: It is truncated, damaged, foreign or of another version.
        """
        self.path = path
        check_seal(path)
        try:
            self._file = h5py.File(path, "r", locking=False)
            self.key = FeatureKey.model_validate_json(self._file.attrs["key"])
            self.model = str(self._file.attrs["model"])
            self.dataset = str(self._file.attrs["dataset"])
            self.splits: tuple[str, ...] = tuple(json.loads(self._file.attrs["splits"]))
            self.settings: dict[str, str | int | bool] = json.loads(self._file.attrs["settings"])
            self.rows, self.width = self._file["features"].shape
        except (KeyError, ValueError, OSError, RuntimeError) as error:
            raise CacheError(
                f"feature file {path} cannot be read ({one_line(error, 100)}); delete it and extract again"
            ) from error

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """All labels, (N,)."""
        values: npt.NDArray[np.int64] = self._file["labels"][:]
        return values

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """All sample ids, (N,)."""
        return tuple(self._file["ids"].asstr()[:])

    def read(self, positions: npt.NDArray[np.int64] | None = None) -> Features:
        """Reads rows in the order asked for (None: all), and checks each against its checksum.

        Returns:
            Features (len(positions), D) in the stored dtype.

        Raises:
            CacheError: A row's bytes changed since it was written.
        """
        try:
            if positions is None:
                rows, checksums = self._file["features"][:], self._file["checksums"][:]
            else:
                # HDF5 reads ascending distinct rows; put them back in the order asked for.
                distinct, back = np.unique(positions, return_inverse=True)
                rows, checksums = self._file["features"][distinct][back], self._file["checksums"][distinct][back]
        except OSError as error:
            raise CacheError(
                f"feature file {self.path} cannot be read ({one_line(error, 100)}); delete it and extract again"
            ) from error
        wrong = np.flatnonzero(row_checksums(rows) != checksums)
        if len(wrong):
            row = int(wrong[0] if positions is None else positions[wrong[0]])
            raise CacheError(
                f"feature file {self.path}: row {row} ({self.ids[row]}) and {len(wrong) - 1} more changed on disk; "
                "delete it and extract again"
            )
        features: Features = rows
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


def stored_files(home: Path, partial: bool = False) -> list[Path]:
    """Lists the complete feature files under a home folder (or the interrupted ones), in the order of their names."""
    return sorted((home / "features").glob(f"*/*/*{SUFFIX}{'.partial' if partial else ''}"))


def mark_as_newest(path: Path) -> None:
    """Dates a file to now if one beside it is newer: of several extractions, eval takes the one asked for last."""
    split = path.name.split("-")[0]
    if any(other.stat().st_mtime > path.stat().st_mtime for other in path.parent.glob(f"{split}-*{SUFFIX}")):
        with contextlib.suppress(OSError):
            os.utime(path)
