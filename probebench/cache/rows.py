"""Rows of features on their way from a file: few calls, flat memory, every row against its checksum."""

import itertools
import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.arrays import Features, Labels, Positions
from probebench.cache.checksums import COLUMNS, FEATURES, RECORDS, Checksums, RowHasher
from probebench.cache.file_io import RawFile, bytes_of
from probebench.cache.header import Description

# Rows are hashed in pieces of this many bytes, while they are still in the processor's cache.
PIECE = 1 << 21
# From so many pieces on, two threads read.
_MANY = 8
# The most buffers that one call fills.
_BUFFERS = 1024


@dataclass(frozen=True)
class Checked:
    """Rows of a file that may be incomplete.

    Attributes:
        features: (B, D).
        wrong: Which are not what was committed, (B,); those left out are right whatever they hold.
        skipped: Which stand for images left out, (B,).
    """

    features: Features
    wrong: npt.NDArray[np.bool_]
    skipped: npt.NDArray[np.bool_]

    @property
    def unlike(self) -> npt.NDArray[np.bool_]:
        """Which rows are not features under their checksums, (B,); in a complete file none may be."""
        return self.wrong | self.skipped


class FeatureRows:
    """The rows of one file that is laid out.

    Attributes:
        dtype: Of the features.
        hasher: Computes what checksums ought to be.
    """

    def __init__(self, file: RawFile, description: Description) -> None:
        """Takes an open file and what it says of itself."""
        self._file, self._description = file, description
        self.dtype = np.dtype(description.dtype).newbyteorder("<")
        self.hasher = RowHasher(description.key)
        self._per_piece = max(1, PIECE // max(1, description.row_bytes))

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Cuts a range into ranges of about two megabytes of features."""
        for first in range(start, stop, self._per_piece):
            yield first, min(first + self._per_piece, stop)

    def features(self, start: int, stop: int) -> Features:
        """Returns rows (B, D), unchecked."""
        rows = self._room(stop - start)
        self._read_into(rows, start)
        return rows

    def checksums(self, start: int, stop: int) -> npt.NDArray[np.uint64]:
        """Returns the checksums (B, 2) that the file holds of a range of rows."""
        offset = self._description.places.checksums + start * COLUMNS * 8
        return self._file.read_array(offset, (stop - start, COLUMNS), "<u8")

    def labels(self, start: int, stop: int) -> Labels:
        """Returns the labels (B,) of a range of rows."""
        return self._file.read_array(self._description.places.labels + start * 8, (stop - start,), "<i8")

    def ids(self, start: int, stop: int) -> npt.NDArray[np.bytes_]:
        """Returns the ids (B,) of a range of rows as they are stored."""
        size = self._description.ids_size
        return self._file.read_array(self._description.places.ids + start * size, (stop - start,), f"S{size}")

    def check(self, start: int, stop: int) -> "Checked":
        """Reads a range of rows as they are in a file that may be incomplete."""
        stored = self.checksums(start, stop)[:, FEATURES]
        rows, positions = self.features(start, stop), range(start, stop)
        wrong = self.hasher.features(rows, positions) != stored
        if not wrong.any():
            return Checked(rows, wrong, wrong)
        skipped = stored == self.hasher.skipped(positions)
        return Checked(rows, wrong & ~skipped, skipped)

    def wrong_records(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Says of which rows of a range (B,) the label or the id is not what was committed."""
        found = self.hasher.records(self.labels(start, stop), self.ids(start, stop), start)
        wrong: npt.NDArray[np.bool_] = found != self.checksums(start, stop)[:, RECORDS]
        return wrong

    def read_all(self, expected: Checksums) -> tuple[Features, Positions]:
        """Reads every row.

        Args:
            expected: Checksums of all rows, (N,).

        Returns:
            Features (N, D), and the rows that are not what was written.
        """
        rows = self._room(self._description.rows)

        def fill(piece: tuple[int, int]) -> Positions:
            start, stop = piece
            self._read_into(rows[start:stop], start)
            wrong = self.hasher.features(rows[start:stop], range(start, stop)) != expected[start:stop]
            return np.flatnonzero(wrong) + start

        return rows, _over(fill, list(self.pieces(0, len(rows))))

    def read(self, positions: Positions, expected: Checksums) -> tuple[Features, Positions]:
        """Reads some rows, in any order and as often as asked for; each is read once.

        Args:
            positions: FeatureRows, all within the file.
            expected: Checksums of all rows, (N,).

        Returns:
            Features (len(positions), D), and the rows that are not what was written.
        """
        result = self._room(len(positions))
        order = np.argsort(positions, kind="stable")
        ordered = positions[order]
        first = np.diff(ordered, prepend=-1) != 0
        # Each row is read into the first place where it is asked for, and copied from there to others.
        distinct, places = ordered[first], order[first]
        wrong = _over(
            lambda piece: self._gather(result, places[slice(*piece)], distinct[slice(*piece)], expected),
            list(self.pieces(0, len(distinct))),
        )
        if len(distinct) < len(positions):
            for start, stop in self.pieces(0, len(positions)):
                again = ~first[start:stop]
                source = places[np.cumsum(first)[start:stop][again] - 1]
                result[order[start:stop][again]] = result[source]
        return result, wrong

    def _gather(self, result: Features, places: Positions, positions: Positions, expected: Checksums) -> Positions:
        """Reads rows at ascending positions into their places in the result, in one call for each run of neighbours.

        Returns:
            The rows that are not what was written.
        """
        buffer, size, first = bytes_of(result), self._description.row_bytes, self._description.places.features
        rows = [buffer[start : start + size] for start in (places * size).tolist()]
        numbers = positions.tolist()
        breaks = (np.flatnonzero(np.diff(positions) != 1) + 1).tolist()
        for start, stop in itertools.pairwise([0, *breaks, len(rows)]):
            for some in range(start, stop, _BUFFERS):
                self._file.read_into_each(rows[some : min(some + _BUFFERS, stop)], first + numbers[some] * size)
        wrong: Positions = positions[self.hasher.scattered(rows, numbers) != expected[positions]]
        return wrong

    def _room(self, count: int) -> Features:
        """Returns rows (B, D) to be filled, from the beginning of a page on.

        The rows in the file begin at one too, and processors copy slowly between places that differ by a few bytes in
        it, as they do where numpy allocates by itself: 4.5 GB/s, and 6 GB/s so.
        """
        room = np.empty(count * self._description.row_bytes + mmap.PAGESIZE, np.uint8)
        start = -room.ctypes.data % mmap.PAGESIZE
        rows: Features = room[start : start + count * self._description.row_bytes].view(self.dtype)
        return rows.reshape(count, self._description.width)

    def _read_into(self, rows: Features, start: int) -> None:
        self._file.read_into(bytes_of(rows), self._description.places.features + start * self._description.row_bytes)


def _over(fill: Callable[[tuple[int, int]], Positions], pieces: list[tuple[int, int]]) -> Positions:
    """Calls ``fill`` for each piece, and returns all wrong rows that it found.

    Two threads share long work: while one hashes, the system copies for the other. More would wait for one another, as
    hashing holds the interpreter.
    """
    if len(pieces) < _MANY or (os.cpu_count() or 1) < 2:
        found = [fill(piece) for piece in pieces]
    else:
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(fill, pieces))
    return np.concatenate(found) if found else np.empty(0, np.int64)
