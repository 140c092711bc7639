"""Scores by either metric, and paired comparisons, from the predictions of results."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from probebench.errors import ResultError
from probebench.leaderboard.ranking import Cell, Paired, why_unranked
from probebench.results.compare import comparable
from probebench.results.metrics import Metric, image_scores, mean_score
from probebench.results.schema import Result
from probebench.results.stats import Comparison, interval, paired
from probebench.results.store import Predictions

Scoring = Metric | Literal["own"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Scores:
    """Reads predictions when they are needed and keeps only those of the checkpoint that others are compared with.

    Predictions that cannot be read count as not to be had: ``leaderboard verify`` says what is wrong with them.
    """

    def __init__(self, predictions: Callable[[Result], Predictions | None] | None) -> None:
        """Takes what gives the predictions of a result, or None where there are none to be had."""
        self._predictions = predictions
        self._held: tuple[Result, Predictions | None] | None = None

    def cell(self, result: Result, scoring: Scoring) -> Cell | None:
        """Returns a result's score by a metric; None where it needs predictions that are not to be had."""
        note = why_unranked(result)
        if scoring in ("own", result.metric) or result.mean is None:
            return Cell(result, result.mean, result.ci95, note)
        predictions = self._read(result)
        if predictions is None:
            return None
        scores = _scores(scoring, result, predictions)
        return Cell(result, mean_score(scores), interval(scores), note)

    def paired(self, scoring: Scoring) -> Paired:
        """Returns the comparison of two results by a metric, on draws and images that both share."""

        def compare(first: Result, second: Result) -> Comparison | None:
            if first.metric != second.metric or not comparable(first, second):
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
            return self._predictions(result)
        except (ResultError, OSError):
            return None


def _scores(scoring: Scoring, result: Result, predictions: Predictions) -> npt.NDArray[np.float64]:
    metric = result.metric if scoring == "own" else scoring
    return image_scores(metric, predictions.y_true, predictions.y_pred)
