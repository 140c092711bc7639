"""Rows of features on their way from a file: few calls, flat memory, every row against its checksum."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.cache.block import Description
from probebench.cache.checksums import COLUMNS, FEATURES, RECORDS, Checksums, RowHasher
from probebench.cache.raw import RawFile, bytes_of

Features = npt.NDArray[np.floating[Any]]
Positions = npt.NDArray[np.integer[Any]]

# Rows are hashed in pieces of this many bytes, while they are still in the processor's cache.
PIECE = 1 << 20


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


class Rows:
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
        """Cuts a range into ranges of about a megabyte of features."""
        for first in range(start, stop, self._per_piece):
            yield first, min(first + self._per_piece, stop)

    def features(self, start: int, stop: int) -> Features:
        """Returns rows (B, D), unchecked."""
        rows = np.empty((stop - start, self._description.width), self.dtype)
        self._read_into(rows, start)
        return rows

    def checksums(self, start: int, stop: int) -> npt.NDArray[np.uint64]:
        """Returns the checksums (B, 2) that the file holds of a range of rows."""
        offset = self._description.places.checksums + start * COLUMNS * 8
        return self._file.read_array(offset, (stop - start, COLUMNS), "<u8")

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
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
        rows = np.empty((self._description.rows, self._description.width), self.dtype)
        wrong: list[Positions] = []
        for start, stop in self.pieces(0, len(rows)):
            self._read_into(rows[start:stop], start)
            found = self.hasher.features(rows[start:stop], range(start, stop)) != expected[start:stop]
            wrong.append(np.flatnonzero(found) + start)
        return rows, np.concatenate(wrong) if wrong else np.empty(0, np.int64)

    def read(self, positions: Positions, expected: Checksums) -> tuple[Features, Positions]:
        """Reads some rows, in any order and as often as asked for; each is read once.

        Args:
            positions: Rows, all within the file.
            expected: Checksums of all rows, (N,).

        Returns:
            Features (len(positions), D), and the rows that are not what was written.
        """
        result = np.empty((len(positions), self._description.width), self.dtype)
        ascending = bool((np.diff(positions) > 0).all())
        order = np.argsort(positions, kind="stable")
        ordered = positions[order]
        # Rank of each among the distinct rows.
        rank = np.cumsum(np.diff(ordered, prepend=ordered[:1]) != 0)
        distinct = ordered[np.searchsorted(rank, np.arange(rank[-1] + 1))] if len(ordered) else ordered
        wrong: list[Positions] = []
        for start, stop in self.pieces(0, len(distinct)):
            piece = distinct[start:stop]
            rows = result[start:stop] if ascending else np.empty((len(piece), result.shape[1]), self.dtype)
            self._gather(rows, piece)
            wrong.append(piece[self.hasher.features(rows, piece.tolist()) != expected[piece]])
            if not ascending:
                asked = slice(*np.searchsorted(rank, (start, stop)))
                result[order[asked]] = rows[rank[asked] - start]
        return result, np.concatenate(wrong) if wrong else distinct

    def _gather(self, rows: Features, positions: Positions) -> None:
        """Fills rows (B, D) with those at ascending positions, in one call for each run of neighbours."""
        breaks = (np.flatnonzero(np.diff(positions) != 1) + 1).tolist()
        buffer, size = bytes_of(rows), self._description.row_bytes
        first = self._description.places.features
        starts: Sequence[int] = [0, *breaks]
        for start, stop, row in zip(starts, [*breaks, len(rows)], positions[starts].tolist(), strict=True):
            self._file.read_into(buffer[start * size : stop * size], first + row * size)

    def _read_into(self, rows: Features, start: int) -> None:
        self._file.read_into(bytes_of(rows), self._description.places.features + start * self._description.row_bytes)
