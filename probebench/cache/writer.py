"""Writes feature files in committed blocks that survive a kill at any instant.

A file is laid out once, at its full size, with labels, ids and room for the features; after that rows, checksums and
the commit slots are written in place, by plain writes. While it grows it is called ``NAME.h5.partial`` and a reader
never opens it. A block is committed by writing its rows, their checksums, and then a slot that counts them.

Commits are not flushed to the disk. After a kill the system still has every write, in order; after a loss of power it
may have lost any of them, a slot may count rows that never arrived, and so resuming trusts no counter: it hashes every
row that is claimed, and goes on after the longest run of whole ones. Only three things must be on the disk before what
follows: a laid-out file before it has a name, a complete file before it has its own, and the end of rows that a rewind
throws away before others take their place.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from probebench.cache.file_io import RawFile, publish
from probebench.cache.filling import Filling
from probebench.cache.header import Settings, read_description, read_slot
from probebench.cache.layout import Header, Samples, bytes_needed, lay_out, room_for
from probebench.cache.lock import locked
from probebench.cache.rows import Features
from probebench.cache.seal import fixed_sha256
from probebench.cache.store import partial_path, scratch_path
from probebench.errors import CacheError

__all__ = ["FeatureWriter", "Header", "bytes_needed", "discard_leftovers", "locked"]

_WHAT, _MEND = "interrupted feature file", "delete it and run again"


class FeatureWriter:
    """Fills one file, from where an interrupted run left off.

    Use it as a context manager, under the file's lock; leaving it without ``finish`` keeps the committed rows.

    Attributes:
        rolled_back: Rows that the file counted but does not hold whole, and that are to be written again.
    """

    def __init__(
        self, path: Path, header: Header, ids: Sequence[str], labels: npt.NDArray[np.integer[Any]], width: int
    ) -> None:
        """Lays out a new file, or opens the interrupted one for the same key.

        Args:
            path: Where the complete file will be.
            header: Its key and settings; a resumed file keeps its own settings.
            ids: The N sample ids.
            labels: The N labels.
            width: The feature width D.

        Raises:
            CacheError: The interrupted file is damaged, of another version or of another extraction.
            OSError: The disk is full or cannot be written.
        """
        self._path, self._partial = path, partial_path(path)
        self._header, self._samples, self._width = header, Samples.of(ids, labels), width
        discard_leftovers(path)
        if not self._partial.exists():
            _require_space(path.parent, room_for(self._samples, width, header.key.dtype))
            scratch = scratch_path(path)
            try:
                lay_out(scratch, header, self._samples, width, _left_out(self._samples, []))
                publish(scratch, self._partial)
            finally:
                scratch.unlink(missing_ok=True)
        self._file = RawFile(self._partial, os.O_RDWR)
        try:
            self._filling, self.rolled_back = self._opened()
        except BaseException:
            self._file.close()
            raise

    def _opened(self) -> tuple[Filling, int]:
        """Checks the interrupted file and finds out how far it is; HDF5 takes no part in it."""
        damaged = CacheError(f"{_WHAT} {self._partial} is damaged; {_MEND}")
        description = read_description(self._file, _WHAT, _MEND)
        if description.key != self._header.key.digest or description.width != self._width:
            raise CacheError(f"{_WHAT} {self._partial} is of another extraction; {_MEND}")
        if self._file.length() != description.length or fixed_sha256(self._file, description) != description.sha256:
            raise damaged
        slot = read_slot(self._file)
        if slot is None or not 0 <= slot.committed <= description.rows or description.rows != len(self._samples):
            raise damaged
        filling = Filling(self._file, description, self._samples, slot)
        if not (
            np.array_equal(filling.rows.labels(0, description.rows), self._samples.labels)
            and np.array_equal(filling.rows.ids(0, description.rows), self._samples.ids)
        ):
            raise damaged
        filling.keep_whole_rows()
        return filling, slot.committed - filling.committed

    @property
    def committed(self) -> int:
        """Rows that count so far."""
        return self._filling.committed

    @property
    def settings(self) -> Settings:
        """Device, batch size and the like in force."""
        return self._filling.settings

    def append(self, rows: Features, skipped: Sequence[int] = ()) -> None:
        """Commits one block of rows (B, D), after those that are there.

        Args:
            rows: Features.
            skipped: Which of them, counted within the block, stand for images left out; their content is ignored.

        Raises:
            OSError: The disk is full or cannot be written; committed rows stay.
        """
        self._filling.append(rows, skipped)

    def rewind(self, row: int) -> None:
        """Lowers the counter: rows from ``row`` on are written anew.

        Raises:
            OSError: The disk is full or cannot be written.
        """
        self._filling.rewind(row)

    def record(self, settings: Settings) -> None:
        """Replaces the settings.

        Raises:
            OSError: The disk is full or cannot be written; the earlier settings stay.
        """
        self._filling.record(settings)

    def finish(self) -> Path:
        """Seals the file, and gives it its final name; without the images left out, where there are any.

        Raises:
            CacheError: Rows are missing, or every image was left out.
            OSError: The disk is full or cannot be written; committed rows stay.
        """
        rows, skipped = len(self._samples), self._filling.skipped
        if self.committed != rows:
            raise CacheError(
                f"{self._partial}: {self.committed} of {rows} rows are committed; run the extraction again"
            )
        if len(skipped) == rows:
            # Nothing in it is worth keeping, and the next run is to try the images again.
            self._partial.unlink()
            raise CacheError(f"{self._partial}: none of its {rows} images could be read; repair them and run again")
        if skipped:
            self._finish_without(skipped)
            return self._path
        self._filling.seal()
        self._file.close()
        publish(self._partial, self._path)
        return self._path

    def _finish_without(self, skipped: list[int]) -> None:
        """Writes the rows that are there into a file of their own, whose name nothing trusts until it is sealed."""
        kept = np.setdiff1d(np.arange(len(self._samples)), skipped)
        samples = self._samples[kept]
        _require_space(self._path.parent, room_for(samples, self._width, self._header.key.dtype))
        header, scratch = replace(self._header, settings=self.settings), scratch_path(self._path)
        try:
            lay_out(scratch, header, samples, self._width, _left_out(self._samples, skipped))
            with RawFile(scratch, os.O_RDWR) as file:
                slot = read_slot(file)
                assert slot is not None
                filling = Filling(file, read_description(file), samples, slot)
                for start, stop in self._filling.rows.pieces(0, len(self._samples)):
                    checked = self._filling.rows.check(start, stop)
                    if checked.wrong.any():
                        raise CacheError(f"{_WHAT} {self._partial} changed on disk; {_MEND}")
                    filling.append(checked.features[~checked.skipped])
                filling.seal()
            publish(scratch, self._path)
        finally:
            scratch.unlink(missing_ok=True)
        self._file.close()
        self._partial.unlink()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._file.close()


def discard_leftovers(path: Path) -> None:
    """Removes what a kill left and nothing will use; call it under the file's lock.

    Args:
        path: Where the complete file is or will be; an interrupted one goes only where that is there.
    """
    scratch_path(path).unlink(missing_ok=True)
    if path.exists():
        partial_path(path).unlink(missing_ok=True)


def _left_out(samples: Samples, skipped: list[int]) -> dict[str, npt.NDArray[Any]]:
    """Returns what a file says of images left out, under the names of its data sets."""
    positions = np.array(skipped, dtype="<i8")
    chosen = samples[positions]
    return {"skipped_ids": chosen.ids, "skipped_labels": chosen.labels, "skipped_positions": positions}


def _require_space(folder: Path, needed: int) -> None:
    """Refuses before anything is written."""
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.1f} MB are needed", str(folder))
