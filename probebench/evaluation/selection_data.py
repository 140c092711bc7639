"""What each draw gives to choose with, read from the train split (and the set's own validation split)."""

import numpy as np

from probebench.cache.store import FeatureFile
from probebench.datasets.draws import Draw, TrainingSplit
from probebench.evaluation.features import rows_of
from probebench.evaluation.probe_task import ProbeTask
from probebench.probes.select import SelectionData


def draw_for(task: ProbeTask, split: TrainingSplit, seed: int | None, own_validation: bool) -> Draw:
    """Returns the draw of a seed under the task's protocol, with what it holds out."""
    chosen = task.selection
    if task.shots == "full":
        share = 0.0 if chosen.method == "fixed" or own_validation else (chosen.share or 0.0)
        return split.full(share)
    assert seed is not None
    if chosen.method == "holdout":
        assert chosen.share
        return split.few_shot_held_inside(task.shots, chosen.share, seed)
    return split.few_shot(task.shots, min(task.shots, chosen.most or 0), seed)


def selection_data_for(
    task: ProbeTask, train: FeatureFile, split: TrainingSplit, draw: Draw, own: FeatureFile | None
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
        fold = split.folds(draw, task.folds)[np.argsort(positions, kind="stable")]
        return SelectionData(rows_of(train, positions), fold=fold)
    return SelectionData(rows_of(train, positions), rows_of(own) if own else rows_of(train, draw.validation))
