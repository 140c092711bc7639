"""Feature files: written in committed blocks, resumed at the last one, and never read before they say complete.

A file is laid out once, at its full size, with labels, ids and room for the features; after that only raw rows and
one counter change, in place. While it grows it is called ``NAME.h5.partial`` and a reader never opens it. A block is
committed by writing its rows and their checksums, flushing, and then raising the counter, so a kill at any instant
costs at most the block in hand.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt
from filelock import FileLock
from pydantic import ValidationError

from probebench.cache.key import FeatureKey
from probebench.errors import CacheError, one_line
from probebench.fingerprint import canonical_json

FORMAT = "probebench-features"
FORMAT_VERSION = 1
SUFFIX = ".h5"

Features = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Header:
    """What is known before the first row: the key, whose features these are, and how they are computed.

    Attributes:
        key: Everything that can change a byte.
        model: Checkpoint id.
        dataset: Data set id.
        splits: Names of all parts of the data set.
        settings: Device, batch size and the like, kept when an interrupted run resumes.
    """

    key: FeatureKey
    model: str
    dataset: str
    splits: tuple[str, ...]
    settings: Mapping[str, str | int | bool]


def feature_path(home: Path, model: str, dataset: str, key: FeatureKey) -> Path:
    """Returns where the features of a key live."""
    return home / "features" / model / dataset.replace(":", "-") / f"{key.split}-{key.digest[:16]}{SUFFIX}"


def row_checksums(rows: Features) -> npt.NDArray[np.uint32]:
    """Returns the CRC-32 of each row's bytes, (N,)."""
    return np.fromiter((zlib.crc32(row) for row in np.ascontiguousarray(rows)), dtype=np.uint32, count=len(rows))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of one feature file, so that two processes on one key never write together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


class FeatureWriter:
    """Fills one file, from where an interrupted run left off.

    Use it as a context manager, under the file's lock; leaving it without ``finish`` keeps the committed rows.
    """

    def __init__(
        self, path: Path, header: Header, ids: Sequence[str], labels: npt.NDArray[np.int64], width: int
    ) -> None:
        """Lays out a new file, or opens the interrupted one for the same key.

        Args:
            path: Where the complete file will be.
            header: Its key and settings; a resumed file keeps its own settings.
            ids: The N sample ids.
            labels: The N labels.
            width: The feature width D.

        Raises:
            CacheError: The interrupted file is damaged.
        """
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        if not self._partial.exists():
            _lay_out(self._partial, header, ids, labels, width)
        try:
            self._file = h5py.File(self._partial, "r+", libver="earliest", locking=False)
            _check_format(self._file, self._partial)
            self.committed = int(self._file.attrs["committed"])
            self.settings: dict[str, str | int | bool] = json.loads(self._file.attrs["settings"])
            fits = self._file.attrs["key_digest"] == header.key.digest and self._file["features"].shape == (
                len(ids),
                width,
            )
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise CacheError(f"interrupted feature file {self._partial} is damaged; delete it and run again") from error
        if not fits or self.committed > len(ids):
            raise CacheError(
                f"interrupted feature file {self._partial} is of another extraction; delete it and run again"
            )

    def append(self, rows: Features) -> None:
        """Commits one block of rows (B, D), after those that are there.

        Raises:
            OSError: The disk is full or cannot be written; committed rows stay.
        """
        end = self.committed + len(rows)
        stored = rows.astype(self._file["features"].dtype, copy=False)
        self._file["features"][self.committed : end] = stored
        self._file["checksums"][self.committed : end] = row_checksums(stored)
        self._sync()
        self._file.attrs.modify("committed", np.int64(end))
        self._sync()
        self.committed = end

    def finish(self) -> Path:
        """Says complete, and gives the file its final name.

        Raises:
            CacheError: Rows are missing.
        """
        rows = len(self._file["ids"])
        if self.committed != rows:
            raise CacheError(
                f"{self._partial}: {self.committed} of {rows} rows are committed; run the extraction again"
            )
        self._file.attrs.modify("complete", np.bool_(True))
        self._sync()
        self._file.close()
        self._partial.replace(self._path)
        return self._path

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file; after a failed write HDF5 may fail again here, and the first error is the one to tell."""
        with contextlib.suppress(OSError, RuntimeError) if error else contextlib.nullcontext():
            self._file.close()


def _lay_out(partial: Path, header: Header, ids: Sequence[str], labels: npt.NDArray[np.int64], width: int) -> None:
    """Writes everything but the rows, under a temporary name, and only then calls the file partial."""
    encoded = [name.encode() for name in ids]
    # Fixed-length strings: no heap that grows, and the same bytes for the same ids.
    text = h5py.string_dtype("utf-8", max(map(len, encoded)))
    scratch = partial.with_name(partial.name + ".new")
    try:
        with h5py.File(scratch, "w", libver="earliest", locking=False) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = np.int64(FORMAT_VERSION)
            file.attrs["key"] = canonical_json(header.key.model_dump(mode="json"))
            file.attrs["key_digest"] = header.key.digest
            file.attrs["model"] = header.model
            file.attrs["dataset"] = header.dataset
            file.attrs["splits"] = canonical_json(list(header.splits))
            file.attrs["committed"] = np.int64(0)
            file.attrs["complete"] = np.bool_(False)
            file.attrs["settings"] = canonical_json(dict(header.settings))
            file.create_dataset("labels", data=labels.astype(np.int64))
            file.create_dataset("ids", data=np.array(encoded, dtype=text))
            _reserve(file, "features", (len(ids), width), np.float32 if header.key.dtype == "fp32" else np.float16)
            _reserve(file, "checksums", (len(ids),), np.uint32)
            file.flush()
            os.fsync(file.id.get_vfd_handle())
        scratch.replace(partial)
    finally:
        scratch.unlink(missing_ok=True)


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Creates a contiguous data set at its final place in the file, so that filling it changes no metadata."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # A time stamp would make the same features two different files.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(dtype)), space, creation)


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise CacheError(f"{path} is an HDF5 file, but not one of probebench's; move it out of the features folder")
    version = int(file.attrs.get("format_version", 0))
    if version != FORMAT_VERSION:
        raise CacheError(
            f"feature file {path} has format version {version} and this probebench reads {FORMAT_VERSION}; "
            "use the probebench that wrote it, or delete the file and extract again"
        )


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
            CacheError: It is truncated, foreign, incomplete, of another version, or its key does not agree.
        """
        self.path = path
        mend = "delete it and extract again"
        try:
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            if isinstance(error, (FileNotFoundError, PermissionError)):
                raise
            raise CacheError(f"feature file {path} is damaged or truncated ({one_line(error, 100)}); {mend}") from error
        try:
            _check_format(self._file, path)
            if not self._file.attrs["complete"]:
                raise CacheError(f"feature file {path} is not complete; run the extraction again to finish it")
            self.key = FeatureKey.model_validate_json(self._file.attrs["key"])
            self.model = str(self._file.attrs["model"])
            self.dataset = str(self._file.attrs["dataset"])
            self.splits: tuple[str, ...] = tuple(json.loads(self._file.attrs["splits"]))
            self.settings: dict[str, str | int | bool] = json.loads(self._file.attrs["settings"])
            self.rows, self.width = self._file["features"].shape
            sound = (
                self.key.digest == self._file.attrs["key_digest"]
                and int(self._file.attrs["committed"]) == self.rows
                and all(self._file[name].shape == (self.rows,) for name in ("labels", "ids", "checksums"))
            )
        except (KeyError, ValueError, ValidationError, OSError, RuntimeError) as error:
            self.close()
            raise CacheError(f"feature file {path} is damaged ({one_line(error, 100)}); {mend}") from error
        except CacheError:
            self.close()
            raise
        if not sound:
            self.close()
            raise CacheError(f"feature file {path} does not agree with its own key or row count; {mend}")

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
