"""Cached features as tasks read them: whether a split is there, and its rows, from memory or from the disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.cache.index import FeatureGroup
from probebench.cache.store import FeatureFile
from probebench.errors import CacheError
from probebench.probes.base import Labelled

# Rows of up to this many bytes are held in memory; more are read again, block by block, whenever they are used.
IN_MEMORY = 4 << 30


def require_splits(group: FeatureGroup, *splits: str) -> None:
    """Makes sure that the features of some splits are there.

    Raises:
        CacheError: Some are not; the line says which, and how to get them.
    """
    if lacking := [split for split in splits if split not in group.paths]:
        raise CacheError(
            f"features of {group.model} on {group.dataset} lack the {', '.join(lacking)} split; "
            "run the same probebench extract again to finish it"
        )


@dataclass(frozen=True)
class FileRows:
    """Rows of a feature file as a row source; positions ascend, so that blocks are read in the order of the disk."""

    file: FeatureFile
    positions: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self.positions), self.file.width

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions``, checked against their checksums."""
        return self.file.read(self.positions[positions])


def rows_of(file: FeatureFile, positions: npt.NDArray[np.int64] | None = None) -> Labelled:
    """Returns rows of a file with their labels, in memory where they are few, else as a source."""
    if positions is None:
        positions = np.arange(file.rows)
    # The order of rows changes no optimum, and a file is fastest read from front to back.
    positions = np.sort(positions)
    labels = file.labels[positions]
    if len(positions) * file.width * 4 > IN_MEMORY:
        return Labelled(FileRows(file, positions), labels)
    # HDF5 picks scattered rows one by one: beyond a quarter of them, reading all is faster.
    dense = 4 * len(positions) > file.rows
    return Labelled(file.read()[positions] if dense else file.read(positions), labels)
