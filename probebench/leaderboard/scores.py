"""Scores by either metric, and paired comparisons, from the predictions of results."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from probebench.errors import ResultError
from probebench.leaderboard.ranking import CellScore, Paired, why_unranked
from probebench.registry.entry import Metric
from probebench.results.cells import Cell
from probebench.results.compare import comparable
from probebench.results.metrics import image_scores
from probebench.results.schema import Result
from probebench.results.scores import counted_predictions, has_score, score_of
from probebench.results.stats import Comparison, paired
from probebench.results.store import Predictions

Scoring = Metric | Literal["own"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Scores:
    """Reads predictions when they are needed and keeps only those of the checkpoint that others are compared with.

    Predictions that cannot be read count as not to be had: ``leaderboard verify`` says what is wrong with them.
    """

    def __init__(
        self, predictions: Callable[[Result], Predictions | None] | None, versions: Mapping[str, int] | None = None
    ) -> None:
        """Takes what gives the predictions of a result, or None where there are none; and protocols' versions now."""
        self._predictions, self._versions = predictions, versions or {}
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
        predictions = self._read(result)
        found: dict[Scoring, CellScore] = {}
        for metric in METRICS:
            if predictions is not None or metric == result.metric or not has_score(result):
                score = score_of(result, predictions, metric)
                found[metric] = CellScore(cell, score.mean, score.ci95, note)
        found["own"] = found[result.metric]
        return found

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
