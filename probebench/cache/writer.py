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

from probebench.arrays import Features
from probebench.cache.checksums import COLUMNS, FEATURES, RECORDS
from probebench.cache.file_io import RawFile, bytes_of, publish
from probebench.cache.header import (
    FINAL,
    SEAL_PLACE,
    Description,
    Settings,
    Slot,
    encode_seal,
    encode_settings,
    encode_slot,
    fixed_sha256,
    read_description,
    read_slot,
    slot_place,
)
from probebench.cache.layout import Provenance, Samples, bytes_needed, lay_out, room_for
from probebench.cache.lock import locked
from probebench.cache.rows import PIECE, FeatureRows
from probebench.cache.store import partial_path, scratch_path
from probebench.errors import CacheError
from probebench.files import bytes_text

__all__ = ["FeatureWriter", "Provenance", "bytes_needed", "discard_leftovers", "locked"]

_WHAT, _MEND = "interrupted feature file", "delete it and run again"


class _Filling:
    """A file that is laid out, as it fills: the state in its newest slot, and the calls that move it on.

    The attributes of HDF5 that tell outsiders how far a file is are mirrors: nothing here reads them.

    Attributes:
        committed: Rows that count. It may be less than the newest slot says, never more.
        settings: Device, batch size and the like in force.
        skipped: Positions of the images left out, among the committed rows.
    """

    def __init__(self, file: RawFile, description: Description, samples: Samples, slot: Slot) -> None:
        """Takes a file open for writing, what it says of itself, its N samples, and its newest slot."""
        self._file, self._description, self._samples = file, description, samples
        self._sequence = slot.sequence
        self._rows = FeatureRows(file, description)
        self.committed, self.settings = slot.committed, slot.settings
        self.skipped: list[int] = []

    def _keep_whole_rows(self) -> None:
        """Lowers the counter to the longest run of whole rows and checksums, and finds those left out among them."""
        for start, stop in self._rows.pieces(0, self.committed):
            checked = self._rows.check(start, stop)
            wrong = np.flatnonzero(checked.wrong | self._rows.wrong_records(start, stop))
            whole = int(wrong[0]) if len(wrong) else stop - start
            self.skipped += (np.flatnonzero(checked.skipped[:whole]) + start).tolist()
            if len(wrong):
                self.committed = start + whole
                return

    def append(self, rows: Features, skipped: Sequence[int] = ()) -> None:
        """Commits one block of rows (B, D), after those that are there.

        Args:
            rows: Features.
            skipped: Which of them, counted within the block, stand for images left out; their content is ignored.

        Raises:
            OSError: The disk is full or cannot be written; committed rows stay.
            ValueError: The block does not fit.
        """
        start, end = self.committed, self.committed + len(rows)
        if end > self._description.rows or rows.shape[1:] != (self._description.width,):
            raise ValueError(f"rows {start} to {end} of shape {rows.shape} do not fit")
        stored = np.array(rows, self._rows.dtype) if len(skipped) else np.ascontiguousarray(rows, self._rows.dtype)
        block = self._samples[start:end]
        checksums = np.empty((len(rows), COLUMNS), "<u8")
        if len(skipped):
            stored[list(skipped)] = 0
        checksums[:, FEATURES] = self._rows.hasher.features(stored, range(start, end))
        checksums[:, RECORDS] = self._rows.hasher.records(block.labels, block.ids, start)
        left_out = [start + position for position in sorted(skipped)]
        checksums[sorted(skipped), FEATURES] = self._rows.hasher.skipped(left_out)
        places = self._description.places
        self._file.write(places.features + start * self._description.row_bytes, bytes_of(stored))
        # The disk works while more is computed, and little is left to wait for in the end.
        self._file.begin_sync(places.features + start * self._description.row_bytes, stored.nbytes)
        self._file.write(places.checksums + start * COLUMNS * 8, bytes_of(checksums))
        self._commit(end, self.settings)
        self.skipped += left_out

    def rewind(self, row: int) -> None:
        """Lowers the counter: rows from ``row`` on are written anew.

        Raises:
            OSError: The disk is full or cannot be written.
            ValueError: So many rows are not committed.
        """
        if not 0 <= row <= self.committed:
            raise ValueError(f"cannot go back to row {row}: {self.committed} are committed")
        # On the disk before rows under other settings are: whatever a loss of power takes, old rows never mix in.
        self.committed, self.skipped = row, [position for position in self.skipped if position < row]
        places = self._description.places
        start, end = places.checksums + row * COLUMNS * 8, places.checksums + self._description.rows * COLUMNS * 8
        for offset in range(start, end, PIECE):
            self._file.write(offset, bytes(min(PIECE, end - offset)))
        self._file.sync()
        self._commit(row, self.settings)
        self._file.write(places.complete, b"\0")

    def record(self, settings: Settings) -> None:
        """Replaces the settings.

        Raises:
            OSError: The disk is full or cannot be written; the earlier settings stay.
            ValueError: They are too long.
        """
        content = encode_settings(settings)
        self._commit(self.committed, settings)
        self._file.write(self._description.places.settings, content)

    def _seal(self) -> None:
        """Says complete; all of it is on the disk when this returns."""
        places = self._description.places
        self._file.write(places.committed, self.committed.to_bytes(8, "little"))
        self._file.write(places.complete, b"\1")
        self._file.write(places.settings, encode_settings(self.settings))
        # The slots of every complete file are the same. The older one goes first, so that one is whole at any instant.
        older = (self._sequence + 1) % 2
        for sequence in (FINAL + older, FINAL + 1 - older):
            self._write_slot(Slot(sequence, self.committed, self.settings))
        self._file.write(SEAL_PLACE, encode_seal(self._file, self._description))
        self._file.sync()

    def _commit(self, committed: int, settings: Settings) -> None:
        self._write_slot(Slot(self._sequence + 1, committed, settings))
        self.committed, self.settings = committed, settings
        self._file.write(self._description.places.committed, committed.to_bytes(8, "little"))

    def _write_slot(self, slot: Slot) -> None:
        self._file.write(slot_place(slot.sequence), encode_slot(slot))
        self._sequence = slot.sequence


class FeatureWriter(_Filling):
    """Fills one file, from where an interrupted run left off, and gives it its name.

    Use it as a context manager, under the file's lock; leaving it without ``finish`` keeps the committed rows.

    Attributes:
        rolled_back: Rows that the file counted but does not hold whole, and that are to be written again.
    """

    def __init__(
        self, path: Path, provenance: Provenance, ids: Sequence[str], labels: npt.NDArray[np.integer[Any]], width: int
    ) -> None:
        """Lays out a new file, or opens the interrupted one for the same key.

        Args:
            path: Where the complete file will be.
            provenance: Its key and settings; a resumed file keeps its own settings.
            ids: The N sample ids.
            labels: The N labels.
            width: The feature width D.

        Raises:
            CacheError: The interrupted file is damaged, of another version or of another extraction.
            OSError: The disk is full or cannot be written.
        """
        self._path, self._partial = path, partial_path(path)
        self._provenance, samples = provenance, Samples.of(ids, labels)
        discard_leftovers(path)
        if not self._partial.exists():
            _require_space(path.parent, room_for(samples, width, provenance.key.dtype))
            scratch = scratch_path(path)
            try:
                lay_out(scratch, provenance, samples, width, _left_out(samples, []))
                publish(scratch, self._partial)
            finally:
                scratch.unlink(missing_ok=True)
        file = RawFile(self._partial, os.O_RDWR)
        try:
            description, slot = self._checked(file, samples, width)
            super().__init__(file, description, samples, slot)
            self._keep_whole_rows()
        except BaseException:
            file.close()
            raise
        self.rolled_back = slot.committed - self.committed

    def _checked(self, file: RawFile, samples: Samples, width: int) -> tuple[Description, Slot]:
        """Checks the interrupted file, all but its rows, and reads how far it is; HDF5 takes no part in it."""
        damaged = CacheError(f"{_WHAT} {self._partial} is damaged; {_MEND}")
        description = read_description(file, _WHAT, _MEND)
        if description.key != self._provenance.key.digest or description.width != width:
            raise CacheError(f"{_WHAT} {self._partial} is of another extraction; {_MEND}")
        if file.length() != description.length or fixed_sha256(file, description) != description.sha256:
            raise damaged
        slot = read_slot(file)
        if slot is None or not 0 <= slot.committed <= description.rows or description.rows != len(samples):
            raise damaged
        rows = FeatureRows(file, description)
        if not (
            np.array_equal(rows.labels(0, description.rows), samples.labels)
            and np.array_equal(rows.ids(0, description.rows), samples.ids)
        ):
            raise damaged
        return description, slot

    def finish(self) -> Path:
        """Seals the file, and gives it its final name; without the images left out, where there are any.

        Raises:
            CacheError: Rows are missing, or every image was left out.
            OSError: The disk is full or cannot be written; committed rows stay.
        """
        rows = len(self._samples)
        if self.committed != rows:
            raise CacheError(
                f"{self._partial}: {self.committed} of {rows} rows are committed; run the extraction again"
            )
        if len(self.skipped) == rows:
            # Nothing in it is worth keeping, and the next run is to try the images again.
            self._partial.unlink()
            raise CacheError(f"{self._partial}: none of its {rows} images could be read; repair them and run again")
        if self.skipped:
            self._finish_without_skipped()
            return self._path
        self._seal()
        self._file.close()
        publish(self._partial, self._path)
        return self._path

    def _finish_without_skipped(self) -> None:
        """Writes the rows that are there into a file of their own, whose name nothing trusts until it is sealed."""
        samples = self._samples[np.setdiff1d(np.arange(len(self._samples)), self.skipped)]
        width, scratch = self._description.width, scratch_path(self._path)
        _require_space(self._path.parent, room_for(samples, width, self._provenance.key.dtype))
        provenance = replace(self._provenance, settings=self.settings)
        try:
            lay_out(scratch, provenance, samples, width, _left_out(self._samples, self.skipped))
            with RawFile(scratch, os.O_RDWR) as file:
                slot = read_slot(file)
                assert slot is not None
                filling = _Filling(file, read_description(file), samples, slot)
                for start, stop in self._rows.pieces(0, len(self._samples)):
                    checked = self._rows.check(start, stop)
                    if checked.wrong.any():
                        raise CacheError(f"{_WHAT} {self._partial} changed on disk; {_MEND}")
                    filling.append(checked.features[~checked.skipped])
                filling._seal()
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
        raise OSError(errno.ENOSPC, f"{bytes_text(needed)} are needed", str(folder))
