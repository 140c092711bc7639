"""Scores by either metric, and paired comparisons, from the predictions of results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.errors import ResultError
from probebench.leaderboard.check_published import not_verifiable
from probebench.leaderboard.check_shift import other_not_verifiable, own_side
from probebench.leaderboard.ranking import CellScore, Paired, why_unranked
from probebench.leaderboard.reproduction import Reproduced
from probebench.registry.dataset import DatasetSpec
from probebench.registry.entry import Metric
from probebench.results.cells import Cell
from probebench.results.compare import comparable
from probebench.results.metrics import right_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import DECIMALS, Score, counted_predictions, has_score, score_of
from probebench.results.stats import Comparison, paired

Scoring = Metric | Literal["own"]
# Share of the test images that may be left out; above it they count as wrong.
LEFT_OUT = 0.01
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class _Images:
    """The test images of results, one object for all that have the same, with their labels (N,)."""

    test_ids: tuple[str, ...]
    y_true: Labels


@dataclass(frozen=True)
class _Right:
    """Which test images each draw that counts is right on (R, N / 8): bits, as a board has thousands of results."""

    images: _Images
    bits: npt.NDArray[np.uint8]

    def scores(self, metric: Metric) -> npt.NDArray[np.float64]:
        """Returns the scores of the images (R, N)."""
        y_true = self.images.y_true
        return right_scores(metric, y_true, np.unpackbits(self.bits, axis=1, count=len(y_true)).astype(bool))


class Scores:
    """Reads the predictions of each result once, and keeps which images they are right on.

    Predictions that cannot be read count as not to be had: ``leaderboard verify`` says what is wrong with them.
    """

    def __init__(
        self,
        predictions: Callable[[Result], Predictions | None] | None,
        versions: Mapping[str, int] | None = None,
        datasets: Mapping[str, DatasetSpec] | None = None,
        reproduced: Reproduced | None = None,
    ) -> None:
        """Takes what gives the predictions of a result, and what it is judged by.

        Args:
            predictions: None where there are none.
            versions: The present version of each protocol.
            datasets: Entries of data sets.
            reproduced: What was run again; a board without any holds its owner's results, who has the data.
        """
        self._predictions, self._versions = predictions, versions or {}
        self._datasets, self._reproduced = datasets or {}, reproduced or Reproduced()
        self._scored: dict[int, tuple[Cell, dict[Scoring, CellScore]]] = {}
        self._right: dict[int, tuple[Result, _Right | None]] = {}
        self._images: dict[tuple[tuple[str, ...], bytes], _Images] = {}
        # Views of other sizes and of other results have mostly the same pairs.
        self._compared: dict[tuple[int, int, Metric], Comparison | None] = {}

    def score(self, cell: Cell, scoring: Scoring) -> CellScore | None:
        """Returns a cell's score by a metric; None where it needs predictions that are not to be had."""
        if id(cell) not in self._scored:
            # By all metrics at once: each file of predictions is read for it once.
            self._scored[id(cell)] = cell, self._by_metric(cell)
        return self._scored[id(cell)][1].get(scoring)

    def _by_metric(self, cell: Cell) -> dict[Scoring, CellScore]:
        result, note = cell.result, why_unranked(cell.result, self._versions)
        again = self._reproduced.by(result) is not None
        if not note and self._reproduced.known and not again and self._unverifiable(result):
            note = "not verifiable"
        predictions = self._read(result)
        self._keep(result, predictions)
        found: dict[Scoring, CellScore] = {}
        for metric in METRICS:
            if predictions is not None or metric == result.metric or not has_score(result):
                score = score_of(result, predictions, metric)
                mean, ci95 = self._with_left_out(result, score)
                found[metric] = CellScore(cell, mean, ci95, note, again)
        found["own"] = found[result.metric]
        return found

    def _unverifiable(self, result: Result) -> bool:
        named = self._datasets.get(result.dataset)
        if result.test_dataset and other_not_verifiable(result, self._datasets.get(result.test_dataset)):
            return True
        return named is None or not_verifiable(own_side(result), named) is not None

    def _with_left_out(self, result: Result, score: Score) -> tuple[float | None, tuple[float, float] | None]:
        """Counts test images that were left out as wrong where they are more than a few."""
        named = self._datasets.get(result.test_dataset or result.dataset)
        if score.mean is None or named is None or result.n_test is None:
            return score.mean, score.ci95
        share = result.n_test / named.splits.test
        if share >= 1 - LEFT_OUT:
            return score.mean, score.ci95
        ci95 = None if score.ci95 is None else (share * score.ci95[0], share * score.ci95[1])
        return round(share * score.mean, DECIMALS), ci95

    def paired(self, scoring: Scoring) -> Paired:
        """Returns the comparison of two results by a metric, on draws and images that both share."""

        def compare(first: Result, second: Result) -> Comparison | None:
            one, two = self._held(first), self._held(second)
            if one is None or two is None or one.images is not two.images:
                return None
            metric = first.metric if scoring == "own" else scoring
            place = id(first), id(second), metric
            if place not in self._compared:
                alike = comparable(first, second)
                self._compared[place] = paired(one.scores(metric), two.scores(metric)) if alike else None
            return self._compared[place]

        return compare

    def _held(self, result: Result) -> _Right | None:
        if id(result) not in self._right:
            self._keep(result, self._read(result))
        return self._right[id(result)][1]

    def _keep(self, result: Result, predictions: Predictions | None) -> None:
        right = None
        if predictions is not None and has_score(result):
            held = counted_predictions(result, predictions)
            images = _Images(held.test_ids, held.y_true)
            images = self._images.setdefault((held.test_ids, held.y_true.tobytes()), images)
            right = _Right(images, np.packbits(held.y_pred == held.y_true, axis=1))
        self._right[id(result)] = result, right

    def _read(self, result: Result) -> Predictions | None:
        if self._predictions is None or result.predictions is None:
            return None
        try:
            found = self._predictions(result)
        except (ResultError, OSError):
            return None
        # An image at least: no score is the mean of none.
        return found if found is None or (len(found.y_pred) == len(result.trials) and found.test_ids) else None
