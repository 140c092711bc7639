"""Probabilities of logistic probes: what they say of each image, and the temperature that fits them to validation rows.

A probe with scores z (N, K) gives the probabilities softmax(z / T); T = 1 is the fit itself. Temperature scaling (Guo,
Pleiss, Sun and Weinberger, 2017) takes the T of the smallest mean log-loss on validation rows, and changes no label.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.probes.base import FittedProbe, Labelled, Matrix, Probe, blocks, log_softmax
from probebench.probes.prepare import Preparation

# Temperatures that are tried: where every validation row is right by far, the best would be 0. Of those that fit
# equally well, to about a millionth of a nat, the nearest to 1 is taken.
SMALLEST, LARGEST = 0.05, 20.0
_TIE = 1e-6
# Scores that a temperature is fitted on, 200 MB of float32; more rows are thinned evenly, since one number takes few.
_SCORES = 50_000_000


def said_of_images(scores: Matrix, classes: Labels, labels: Labels) -> tuple[npt.NDArray[np.float32], ...]:
    """Returns p(true label), p(predicted label) and the sum of p squared over classes of each image, (N,) each.

    Args:
        scores: (N, K), already divided by a temperature.
        classes: The K labels that the probe knows, ascending; any other has probability 0.
        labels: True labels (N,).
    """
    p = np.exp(log_softmax(scores))
    place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    true = np.where(classes[place] == labels, p[np.arange(len(p)), place], 0.0)
    return tuple(one.astype(np.float32) for one in (true, p.max(axis=1), (p * p).sum(axis=1)))


def fit_temperature(folds: Sequence[tuple[Probe, Preparation, Labelled]]) -> float | None:
    """Returns the temperature of the smallest mean log-loss over validation rows.

    Args:
        folds: Of each fold its probe, what prepares rows for it, and its validation rows, of classes that it knows.

    Returns:
        A temperature between ``SMALLEST`` and ``LARGEST``; None for probes without probabilities.
    """
    from scipy.optimize import minimize_scalar

    if not all(isinstance(probe, FittedProbe) for probe, _, _ in folds):
        return None
    found = [one for probe, prepared, held in folds for one in _scores(probe, prepared, held, len(folds))]

    def loss(log_temperature: float) -> float:
        temperature = np.float32(np.exp(log_temperature))
        total = sum(float(-_true(log_softmax(scores / temperature), place).sum()) for scores, place in found)
        return total / sum(len(place) for _, place in found) + _TIE * log_temperature**2

    # The log-loss is convex in 1 / T, and so has one valley in log T.
    best = minimize_scalar(loss, bounds=(np.log(SMALLEST), np.log(LARGEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))


def _scores(
    probe: Any, prepared: Preparation, held: Labelled, folds: int
) -> Iterator[tuple[npt.NDArray[np.float32], Labels]]:
    """Yields scores (n, K), the largest of each row 0, and the column of each row's label, block by block."""
    every = max(1, -(-len(held) * len(probe.classes) * folds // _SCORES))
    for rows, block in blocks(held.features):
        kept = np.arange(rows.start, rows.stop) % every == 0
        scores = probe.scores(prepared(block[kept]))
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        yield scores.astype(np.float32), np.searchsorted(probe.classes, held.labels[rows][kept])


def _true(logs: npt.NDArray[Any], place: Labels) -> npt.NDArray[Any]:
    return logs[np.arange(len(place)), place].astype(np.float64)
