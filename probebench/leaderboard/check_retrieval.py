"""What a result says of ranks: recall and average precision follow from its arrays, and these from some ranking."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from probebench.leaderboard.rules import in_words_of
from probebench.registry.probes import OF_KIND
from probebench.results.predictions import RANKS, Predictions
from probebench.results.retrieval import summary
from probebench.results.schema import Result, Trial

# Sums of other machines and versions differ in the last digits, and no honest number by more.
_CLOSE = 1e-9
# Average precisions are stored in float32.
_ROUNDED = 1e-6

Values = npt.NDArray[np.float64]


def check_retrieval(result: Result, predictions: Predictions) -> Iterator[str]:
    """Yields every number on ranks that does not follow from the arrays, and arrays that no ranking gives."""
    held = set(RANKS) & predictions.measures.keys()
    if result.kind not in OF_KIND or not OF_KIND[result.kind].ranks:
        if held or result.retrieval is not None:
            yield f"tells of ranks, and kind {result.kind} ranks nothing"
        return
    if result.retrieval is None or held != set(RANKS):
        yield f"retrieval, {' or '.join(RANKS)} is missing, and kind {result.kind} has them"
        return
    arrays = [predictions.measures[name].astype(np.float64) for name in RANKS]
    if not all(np.isfinite(values).all() for values in arrays):
        yield f"{' or '.join(RANKS)} is no number"
        return
    for trial, predicted, first, precision in zip(result.trials, predictions.y_pred, *arrays, strict=True):
        right = predicted == predictions.y_true
        for fault in _impossible(result, trial, predictions.y_true, right, first, precision):
            yield f"{in_words_of(trial)}: {fault}"
    found = summary(predictions)
    assert found is not None
    for name, value in found.model_dump().items():
        told = getattr(result.retrieval, name)
        if abs(told - value) > _CLOSE:
            yield f"{name} is {told:.6f}, and the ranks give {value:.6f}"


def _impossible(
    result: Result, trial: Trial, labels: npt.NDArray[np.int64], right: npt.NDArray[np.bool_], first: Values, ap: Values
) -> Iterator[str]:
    """Yields what no ranking of the draw gives: of each image whether it is right, its first hit, and its precision."""
    if (first != np.rint(first)).any() or first.min() < 0 or first.max() > trial.train:
        yield f"a first hit is no rank among {trial.train} images"
        return
    if ((first == 1) != right).any():
        yield "first hits and predictions differ on whose nearest image is of its class"
    absent = first == 0
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if not np.isin(np.bincount(place, weights=absent) / counts, (0, 1)).all():
        yield "a class is in the gallery for some images and not for others"
    if (ap[absent] != 0).any():
        yield "an average precision without a hit"
    # With R images of its class, from rank f on at best; more of them raise the best and lower the worst.
    most = trial.train if result.shots == "full" else int(result.shots)
    ranks, of = np.unique(first[~absent], return_inverse=True)
    best = np.ones(len(ranks))
    if result.shots != "full":
        nth = np.arange(most)
        best = ((nth + 1) / (ranks[:, None] + nth)).mean(axis=1)
    low, high = ((1 - _ROUNDED) / (most * ranks))[of], best[of] + _ROUNDED
    if ((ap[~absent] < low) | (ap[~absent] > high)).any():
        yield "an average precision that no ranking with its first hit has"
