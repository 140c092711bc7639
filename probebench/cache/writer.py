"""Writes feature files in committed blocks that survive a kill at any instant.

A file is laid out once, at its full size, with labels, ids and room for the features; after that only raw rows and
one counter change, in place. While it grows it is called ``NAME.h5.partial`` and a reader never opens it. A block is
committed by writing its rows and their checksums, flushing, and then raising the counter, so a kill costs at most the
block in hand.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt
from filelock import FileLock

from probebench.cache.key import FeatureKey
from probebench.cache.seal import BLOCK, FORMAT, FORMAT_VERSION, write_seal
from probebench.cache.store import Features, row_checksums
from probebench.errors import CacheError
from probebench.fingerprint import canonical_json


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
        mend = "delete it and run again"
        try:
            self._file = h5py.File(self._partial, "r+", libver="earliest", locking=False)
            self.committed = int(self._file.attrs["committed"])
            self.settings: dict[str, str | int | bool] = json.loads(self._file.attrs["settings"])
            data = self._file["features"]
            fits = self._file.attrs["key_digest"] == header.key.digest and data.shape == (len(ids), width)
            whole = (
                fits
                and 0 <= self.committed <= len(ids)
                and np.array_equal(self._file["labels"][:], labels)
                and list(self._file["ids"].asstr()[:]) == list(ids)
                and self._committed_rows_are_whole()
            )
        # A damaged structure fails in many ways, and none of them is the user's to read.
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise CacheError(f"interrupted feature file {self._partial} is damaged; {mend}") from error
        if not fits:
            raise CacheError(f"interrupted feature file {self._partial} is of another extraction; {mend}")
        if not whole:
            raise CacheError(f"interrupted feature file {self._partial} is damaged; {mend}")

    def _committed_rows_are_whole(self) -> bool:
        """Checks what is there against its checksums, a block at a time, before more is added."""
        for start in range(0, self.committed, 4096):
            rows = slice(start, min(start + 4096, self.committed))
            if (row_checksums(self._file["features"][rows]) != self._file["checksums"][rows]).any():
                return False
        return True

    def append(self, rows: Features) -> None:
        """Commits one block of rows (B, D), after those that are there.

        Raises:
            OSError: The disk is full or cannot be written; committed rows stay.
        """
        end = self.committed + len(rows)
        stored = rows.astype(self._file["features"].dtype, copy=False)
        with _full_disk_as_os_error(self._partial):
            self._file["features"][self.committed : end] = stored
            self._file["checksums"][self.committed : end] = row_checksums(stored)
            self._sync()
            self._file.attrs.modify("committed", np.int64(end))
            self._sync()
        self.committed = end

    def finish(self) -> Path:
        """Says complete, seals the file, and gives it its final name.

        Raises:
            CacheError: Rows are missing.
        """
        rows = len(self._file["ids"])
        if self.committed != rows:
            raise CacheError(
                f"{self._partial}: {self.committed} of {rows} rows are committed; run the extraction again"
            )
        self._file.attrs.modify("complete", np.bool_(True))
        parts = [(data.id.get_offset(), data.nbytes) for data in (self._file["features"], self._file["checksums"])]
        self._sync()
        self._file.close()
        write_seal(self._partial, parts)
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


@contextlib.contextmanager
def _full_disk_as_os_error(path: Path) -> Iterator[None]:
    """HDF5 tells of a full disk as an OSError here and as a RuntimeError there; this makes it an OSError."""
    try:
        yield
    except RuntimeError as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _require_space(folder: Path, needed: int) -> None:
    """Refuses before anything is written; HDF5 out of room while it lays a file out can crash the process."""
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed", str(folder))


def _lay_out(partial: Path, header: Header, ids: Sequence[str], labels: npt.NDArray[np.int64], width: int) -> None:
    """Writes everything but the rows, under a temporary name, and only then calls the file partial."""
    encoded = [name.encode() for name in ids]
    # Fixed-length strings: no heap that grows, and the same bytes for the same ids.
    text = h5py.string_dtype("utf-8", max(map(len, encoded)))
    dtype = np.dtype(np.float32 if header.key.dtype == "fp32" else np.float16)
    # Rows with their checksum, label and id, and 64 KiB for HDF5's own structure.
    _require_space(partial.parent, len(ids) * (width * dtype.itemsize + 12 + text.itemsize) + (1 << 16))
    scratch = partial.with_name(partial.name + ".new")
    try:
        with (
            _full_disk_as_os_error(scratch),
            h5py.File(scratch, "w", libver="earliest", locking=False, userblock_size=BLOCK) as file,
        ):
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
            _reserve(file, "features", (len(ids), width), dtype)
            _reserve(file, "checksums", (len(ids),), np.dtype(np.uint32))
            file.flush()
            os.fsync(file.id.get_vfd_handle())
        scratch.replace(partial)
    finally:
        scratch.unlink(missing_ok=True)


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Creates a contiguous data set at its final place in the file, so that filling it changes no metadata."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # A time stamp would make the same features two different files.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, creation)
