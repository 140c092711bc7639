"""Checksums of rows: 64-bit xxh3, seeded by the key and by the row's place.

The same bytes in another row, or in another key's file, have another checksum, so rows or blocks that were moved are
found even where their checksums moved with them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from probebench.arrays import Labels
from probebench.cache.file_io import bytes_of

Checksums = npt.NDArray[np.uint64]

_DIGEST = xxhash.xxh3_64_intdigest

# Columns of the checksums in a file.
FEATURES, RECORDS = 0, 1
COLUMNS = 2


class RowHasher:
    """Computes the checksums of the rows of one key's file."""

    def __init__(self, key_digest: str) -> None:
        """Takes the sha256 of the key, in hexadecimal."""
        # 63 bits each: a seed and a position add up to an unsigned 64-bit number.
        self._features, self._records = (int(key_digest[start : start + 16], 16) >> 1 for start in (0, 16))

    def features(self, rows: npt.NDArray[Any], positions: range) -> Checksums:
        """Returns the checksums (B,) of rows of features (B, D) that lie at ``positions`` in the file."""
        return _hash_rows(rows, self._features, positions)

    def scattered(self, rows: Sequence[memoryview], positions: Sequence[int]) -> Checksums:
        """Returns the checksums (B,) of the bytes of B rows of features that lie at any ``positions`` in the file."""
        return _collect(map(_DIGEST, rows, map(self._features.__add__, positions)), len(rows))

    def records(self, labels: Labels, ids: npt.NDArray[np.bytes_], start: int) -> Checksums:
        """Returns the checksums (B,) of labels (B,) and ids (B,) together, whose first is the file's row ``start``."""
        count = len(labels)
        both = np.concatenate(
            [np.frombuffer(bytes_of(np.ascontiguousarray(part)), np.uint8).reshape(count, -1) for part in (labels, ids)]
            if count
            else [np.empty((0, 1), np.uint8)],
            axis=1,
        )
        return _hash_rows(both, self._records, range(start, start + count))

    def skipped(self, positions: Sequence[int]) -> Checksums:
        """Returns what stands in place of a row's checksum (B,) where its image was left out."""
        return _collect((_DIGEST(b"skipped", self._features + position) for position in positions), len(positions))


def _hash_rows(rows: npt.NDArray[Any], base: int, positions: range) -> Checksums:
    content = bytes_of(np.ascontiguousarray(rows))
    width = rows.shape[1] * rows.itemsize
    starts, stops = range(0, len(content), width), range(width, len(content) + 1, width)
    seeds = range(base + positions.start, base + positions.stop)
    # One slice and one call a row is the fastest way that Python has: 13 GB/s of rows of 4 KB.
    return _collect(
        [_DIGEST(content[start:stop], seed) for start, stop, seed in zip(starts, stops, seeds, strict=True)],
        len(positions),
    )


def _collect(values: Iterable[int], count: int) -> Checksums:
    return np.fromiter(values, np.uint64, count)
