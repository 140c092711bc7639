"""What each draw gives to choose with, read from the train split (and the set's own validation split)."""

import numpy as np

from probebench.arrays import Labels
from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingSplit
from probebench.evaluation.features import rows_of
from probebench.evaluation.probe_task import ProbeTask
from probebench.probes.select import SelectionData
from probebench.registry.draws import DrawRule
from probebench.registry.schema import Selection

# Validation images choose where at least this share of a draw's classes have one.
COVERED = 0.5


def draw_for(task: ProbeTask, split: TrainingSplit, seed: int | None, own_validation: bool) -> Draw:
    """Returns the draw of a seed under the task's protocol, with what it holds out."""
    return split.draw(DrawRule.of(task.protocol, task.shots, own_validation), seed)


def selection_data_for(
    task: ProbeTask, train: FeatureFile, split: TrainingSplit, draw: Draw, own: FeatureFile | None
) -> SelectionData:
    """Reads what a draw gives to choose with.

    Raises:
        CacheError: A feature file is damaged.
    """
    positions, selection = draw.train, task.selection
    rows = rows_of(train, positions)
    if selection.method == "fixed":
        return SelectionData(rows, value=selection.value)
    held = own.labels if own else split.labels[draw.validation]
    folds = task.folds if selection.method == "k-fold" else _folds_instead(split, draw, held, selection)
    if folds:
        # rows_of sorts rows, and the folds with them.
        return SelectionData(rows, fold=split.folds(draw, folds)[np.argsort(positions, kind="stable")])
    return SelectionData(rows, rows_of(own) if own else rows_of(train, draw.validation), refit=task.refit)


def _folds_instead(split: TrainingSplit, draw: Draw, validation: Labels, selection: Selection) -> int:
    """Returns the folds that choose where too few classes have a validation image; 0 where validation images choose.

    Two classes with two images each are enough for every fold to leave two classes to fit.
    """
    classes, images = np.unique(split.labels[draw.train], return_counts=True)
    held = np.isin(classes, validation).mean()
    if held >= COVERED or (images > 1).sum() < 2:
        return 0
    return min(selection.folds or 0, int(images.max()))
