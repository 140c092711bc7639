"""A file that is laid out, as it fills: blocks, the slots that count them, and the seal at the end."""

from collections.abc import Sequence

import numpy as np

from probebench.cache.checksums import COLUMNS, FEATURES, RECORDS
from probebench.cache.file_io import RawFile, bytes_of
from probebench.cache.header import (
    FINAL,
    SEAL_PLACE,
    Description,
    Settings,
    Slot,
    encode_settings,
    encode_slot,
    slot_place,
)
from probebench.cache.layout import Samples
from probebench.cache.rows import PIECE, Features, Rows
from probebench.cache.seal import encode_seal


class Filling:
    """An open file, and the state in its newest slot.

    The attributes of HDF5 that tell outsiders how far a file is are mirrors: nothing here reads them.

    Attributes:
        rows: Its rows, for reading.
        committed: Rows that count. It may be less than the newest slot says, never more.
        settings: Device, batch size and the like in force.
        skipped: Positions of the images left out, among the committed rows.
    """

    def __init__(self, file: RawFile, description: Description, samples: Samples, slot: Slot) -> None:
        """Takes a file open for writing, what it says of itself, its N samples, and its newest slot."""
        self._file, self._description, self._samples = file, description, samples
        self._sequence = slot.sequence
        self.rows = Rows(file, description)
        self.committed, self.settings = slot.committed, slot.settings
        self.skipped: list[int] = []

    def keep_whole_rows(self) -> None:
        """Lowers the counter to the longest run of whole rows and checksums, and finds those left out among them."""
        for start, stop in self.rows.pieces(0, self.committed):
            checked = self.rows.check(start, stop)
            wrong = np.flatnonzero(checked.wrong | self.rows.wrong_records(start, stop))
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
        stored = np.array(rows, self.rows.dtype) if len(skipped) else np.ascontiguousarray(rows, self.rows.dtype)
        block = self._samples[start:end]
        checksums = np.empty((len(rows), COLUMNS), "<u8")
        if len(skipped):
            stored[list(skipped)] = 0
        checksums[:, FEATURES] = self.rows.hasher.features(stored, range(start, end))
        checksums[:, RECORDS] = self.rows.hasher.records(block.labels, block.ids, start)
        left_out = [start + position for position in sorted(skipped)]
        checksums[sorted(skipped), FEATURES] = self.rows.hasher.skipped(left_out)
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

    def seal(self) -> None:
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
