"""Scores by either metric, and paired comparisons, from the predictions of results."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from probebench.errors import ResultError
from probebench.leaderboard.check_published import not_verifiable
from probebench.leaderboard.check_shift import other_not_verifiable, own_side
from probebench.leaderboard.ranking import CellScore, Paired, why_unranked
from probebench.leaderboard.reproduction import Reproduced
from probebench.registry.dataset import DatasetSpec
from probebench.registry.entry import Metric
from probebench.results.cells import Cell
from probebench.results.compare import comparable
from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import DECIMALS, Score, counted_predictions, has_score, score_of
from probebench.results.stats import Comparison, paired

Scoring = Metric | Literal["own"]
# Share of the test images that may be left out; above it they count as wrong.
LEFT_OUT = 0.01
METRICS: tuple[Metric, ...] = get_args(Metric)


class Scores:
    """Reads predictions when they are needed and keeps only those of the checkpoint that others are compared with.

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
        self._held: tuple[Result, Predictions | None] | None = None
        self._scored: dict[int, tuple[Cell, dict[Scoring, CellScore]]] = {}

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
            if not comparable(first, second):
                return None
            one, two = self._keep(first), self._read(second)
            if one is None or two is None or one.test_ids != two.test_ids:
                return None
            return paired(_scores(scoring, first, one), _scores(scoring, second, two))

        return compare

    def images(self, result: Result) -> npt.NDArray[np.float64] | None:
        """Returns a result's scores by its own metric, (draws, images); None without its predictions."""
        held = self._read(result)
        return None if held is None else _scores("own", result, held)

    def _keep(self, result: Result) -> Predictions | None:
        if self._held is None or self._held[0] is not result:
            self._held = result, self._read(result)
        return self._held[1]

    def _read(self, result: Result) -> Predictions | None:
        if self._predictions is None or result.predictions is None:
            return None
        try:
            found = self._predictions(result)
        except (ResultError, OSError):
            return None
        return found if found is None or len(found.y_pred) == len(result.trials) else None


def _scores(scoring: Scoring, result: Result, predictions: Predictions) -> npt.NDArray[np.float64]:
    held = counted_predictions(result, predictions)
    return image_scores(result.metric if scoring == "own" else scoring, held.y_true, held.y_pred)
