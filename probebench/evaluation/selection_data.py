"""What each draw gives to choose with, read from the training part (and the set's own validation part)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingSplit
from probebench.evaluation.probe_task import ProbeTask
from probebench.probes.base import Labelled
from probebench.probes.select import SelectionData

# Rows of up to this many bytes are held in memory; larger parts are read again, block by block, whenever they are used.
IN_MEMORY = 4 << 30


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


def draw_for(task: ProbeTask, part: TrainingSplit, seed: int | None, own_validation: bool) -> Draw:
    """Returns the draw of a seed under the task's protocol, with what it holds out."""
    chosen = task.selection
    if task.shots == "full":
        share = 0.0 if chosen.method == "fixed" or own_validation else (chosen.share or 0.0)
        return part.full(share)
    assert seed is not None
    if chosen.method == "holdout":
        assert chosen.share
        return part.few_shot_held_inside(task.shots, chosen.share, seed)
    return part.few_shot(task.shots, min(task.shots, chosen.most or 0), seed)


def selection_data_for(
    task: ProbeTask, train: FeatureFile, part: TrainingSplit, draw: Draw, own: FeatureFile | None
) -> SelectionData:
    """Reads what a draw gives to choose with.

    Raises:
        CacheError: A feature file is damaged.
    """
    positions = draw.train
    if task.selection.method == "fixed":
        return SelectionData(rows_of(train, positions), value=task.selection.value)
    if task.selection.method == "k-fold":
        # rows_of sorts rows, and the folds with them.
        fold = part.folds(draw, task.folds)[np.argsort(positions, kind="stable")]
        return SelectionData(rows_of(train, positions), fold=fold)
    return SelectionData(rows_of(train, positions), rows_of(own) if own else rows_of(train, draw.validation))
