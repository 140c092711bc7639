"""The score of a result, computed again from its predictions or else from its draws, never the number that it tells."""

from dataclasses import dataclass

import numpy as np

from probebench.registry.entry import Metric
from probebench.results.metrics import image_scores, mean_score
from probebench.results.predictions import Predictions
from probebench.results.schema import Result, Trial
from probebench.results.stats import dropped, interval

# Few-shot results of more draws are scored on the first of them, so that everybody is on the same ones.
COUNTED_DRAWS = 5
# Means are rounded to so many decimals: closer ones are equal, and share their rank.
DECIMALS = 9
# How far a score may lie from a whole number of test images and still mean it.
_WHOLE = 1e-8


@dataclass(frozen=True)
class Score:
    """A recomputed score.

    Attributes:
        mean: Over the draws that count; None where one of them failed.
        ci95: Its 95% interval; None where there is none, or where it takes predictions that are not at hand.
    """

    mean: float | None
    ci95: tuple[float, float] | None


def counted_trials(result: Result) -> tuple[int, ...]:
    """Returns the positions of the draws that a result is scored on: seeds 0 to 4 where it has these and more."""
    seeds = [trial.draw_seed for trial in result.trials]
    few = [place for place, seed in enumerate(seeds) if seed is not None and seed < COUNTED_DRAWS]
    whole = {seeds[place] for place in few} == set(range(COUNTED_DRAWS)) and len(few) == COUNTED_DRAWS
    return tuple(few) if whole else tuple(range(len(seeds)))


def has_score(result: Result) -> bool:
    """Says whether a result has a score; a failed trial among those that count leaves none."""
    if not result.trials:
        return result.mean is not None
    places = counted_trials(result)
    if result.mean is None and len(places) == len(result.trials):
        return False
    return all(_succeeded(result.trials[place]) for place in places)


def score_of(result: Result, predictions: Predictions | None = None, metric: Metric | None = None) -> Score:
    """Returns a result's score.

    Args:
        result: The result.
        predictions: Its own; without them the scores of its draws are taken as they stand, rounded to whole test images
            where they are that close to one.
        metric: None is the result's own; another takes predictions.

    Raises:
        ValueError: Another metric was asked for without predictions.
    """
    if not has_score(result):
        return Score(None, None)
    if not result.trials:
        return Score(result.mean, result.ci95)
    places = counted_trials(result)
    if predictions is not None:
        scores = image_scores(metric or result.metric, predictions.y_true, predictions.y_pred[list(places)])
        return Score(round(mean_score(scores), DECIMALS), interval(scores))
    if metric not in (None, result.metric):
        raise ValueError(f"a score by {metric} takes predictions")
    mean = round(float(np.mean(draw_scores(result))), DECIMALS)
    return Score(mean, result.ci95 if len(places) == len(result.trials) else None)


def drop_of(result: Result, predictions: Predictions | None = None) -> tuple[float, tuple[float, float]] | None:
    """Returns how far a result on another data set's test part lies below its own, with the 95% interval.

    Args:
        result: The result.
        predictions: Its own; without them the drop is taken as it stands, where all draws count.

    Returns:
        None where there is no drop, or where it takes predictions that are not at hand.
    """
    if result.shift is None or not has_score(result):
        return None
    places = counted_trials(result)
    if predictions is not None and predictions.own is not None:
        own, other = predictions.own.of_trials(list(places)), predictions.of_trials(list(places))
        return dropped(*(image_scores(result.metric, one.y_true, one.y_pred) for one in (own, other)))
    if len(places) < len(result.trials) or result.shift.drop is None or result.shift.drop_ci95 is None:
        return None
    return result.shift.drop, result.shift.drop_ci95


def draw_scores(result: Result) -> list[float]:
    """Returns the scores of the draws that count, of a result that has a score."""
    found = [result.trials[place].test_score or 0.0 for place in counted_trials(result)]
    if result.metric != "accuracy" or not result.n_test:
        return found
    whole = [round(score * result.n_test) / result.n_test for score in found]
    return [near if abs(near - score) <= _WHOLE else score for near, score in zip(whole, found, strict=True)]


def counted_predictions(result: Result, predictions: Predictions) -> Predictions:
    """Returns the predictions of the draws that count."""
    return predictions.of_trials(list(counted_trials(result)))


def _succeeded(trial: Trial) -> bool:
    return trial.error is None and trial.test_score is not None
