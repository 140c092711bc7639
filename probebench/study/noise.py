"""Sampling noise of scores: of test images and of draws, less what compared checkpoints share."""

from collections.abc import Callable, Sequence

import numpy as np

from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import counted_predictions
from probebench.study.engine import Array
from probebench.study.observations import Observation

# Reads a result's predictions; None where they are not at hand.
Read = Callable[[Result], Predictions | None]


class Noise:
    """Returns the sampling variance of scores that are compared, in squared fractions of 1.

    Where all have the same draws, the part of the draws is the mean square of what is left of the (checkpoint, draw)
    table after its rows and columns: an easy draw moves no difference. Where the predictions of all are at hand, the
    part of the test images is what is left of (checkpoint, image) in the same way: hard images are hard for all.
    Otherwise images are binomial and independent, which is a little too much; ``bounds`` has both extremes.
    """

    def __init__(self, read: Read | None = None) -> None:
        """Takes what reads predictions; without it images are binomial."""
        self._read = read
        self._known: dict[int, tuple[tuple[str, ...], Array] | None] = {}
        self._draws: dict[int, tuple[float, ...]] = {}
        # Over draws, of each image: the same checkpoints are compared under many questions.
        self._means: dict[int, Array] = {}
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, compared: Sequence[Observation], scores: Sequence[float]) -> Array:
        """Returns the variance of each score; NaN where the number of test images is unknown."""
        return self.bounds(compared, scores)[0]

    def bounds(self, compared: Sequence[Observation], scores: Sequence[float]) -> tuple[Array, Array]:
        """Returns the variance of each score, and the least it can be.

        Without predictions nobody knows how far test images are hard for all: at most in full, so that nothing of their
        noise is in a difference.
        """
        images = self._shared_images(compared)
        shared = _shared_draws(compared)
        draws = np.array([shared if shared is not None else _own_draws(cell) for cell in compared])
        if images is not None:
            return draws + images, draws + images
        binomial = np.array([_binomial(score, cell.images) for cell, score in zip(compared, scores, strict=True)])
        return draws + binomial, draws

    def correct(self, cell: Observation) -> tuple[tuple[str, ...], Array] | None:
        """Returns test ids and [draw, image] correctness of a result; None without its predictions."""
        return self._images(cell.results[0]) if len(cell.results) == 1 else None

    def draw_scores(self, result: Result) -> tuple[float, ...] | None:
        """Returns the scores of the draws that count, from a result's predictions; None without these."""
        self._images(result)
        return self._draws.get(id(result))

    def _images(self, result: Result) -> tuple[tuple[str, ...], Array] | None:
        if self._read is None:
            return None
        if id(result) not in self._known:
            held = self._read(result)
            if held is None:
                self._known[id(result)] = None
            else:
                counted = counted_predictions(result, held)
                right = image_scores(result.metric, counted.y_true, counted.y_pred)
                kept: Array = right.astype(np.float32)
                self._known[id(result)] = self._ids.setdefault(counted.test_ids, counted.test_ids), kept
                self._means[id(result)] = kept.mean(axis=0).astype(float)
                self._draws[id(result)] = tuple(right.mean(axis=1).tolist())
        return self._known[id(result)]

    def _shared_images(self, compared: Sequence[Observation]) -> float | None:
        if len(compared) < 2:
            return None
        held = [self.correct(cell) for cell in compared]
        known = [one for one in held if one is not None]
        if len(known) < len(held) or len({id(ids) for ids, _ in known}) != 1:
            return None
        table = np.array([self._means[id(cell.results[0])] for cell in compared])
        rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
        rows, images = table.shape
        return float((rest**2).sum() / ((rows - 1) * (images - 1) * images))


def _binomial(score: float, images: int | None) -> float:
    if not images:
        return float("nan")
    # Agresti and Coull's rate: a score of 0 or 1 on few images is not without noise.
    rate = (score * images + 2) / (images + 4)
    return rate * (1 - rate) / images


def _own_draws(cell: Observation) -> float:
    scores = [score for _, score in cell.draws]
    return float(np.var(scores, ddof=1) / len(scores)) if len(scores) > 1 else 0.0


def _shared_draws(compared: Sequence[Observation]) -> float | None:
    digests = {tuple(digest for digest, _ in cell.draws) for cell in compared}
    if len(digests) != 1 or len(compared) < 2 or len(compared[0].draws) < 2:
        return None
    table = np.array([[score for _, score in cell.draws] for cell in compared])
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    rows, columns = table.shape
    return float((rest**2).sum() / ((rows - 1) * (columns - 1) * columns))
