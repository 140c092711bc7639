from typing import Any

import numpy as np
import pytest

from probebench.results.metrics import image_scores, mean_score
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.scores import counted_trials, draw_scores, has_score, score_of
from probebench.results.stats import interval
from tests.results.make import result, trial

TRUE = np.repeat([0, 1, 2], [60, 30, 10])


def drawn(scores: list[float | None], **changes: Any) -> Result:
    trials = [trial(seed, score, error=None if score is not None else "failed") for seed, score in enumerate(scores)]
    known = [score for score in scores if score is not None]
    mean = sum(known) / len(known) if len(known) == len(scores) else None
    return result(**{"trials": trials, "mean": mean, "n_test": 100} | changes)


def predicted(draws: int) -> Predictions:
    random = np.random.default_rng(draws)
    guesses = np.where(random.random((draws, len(TRUE))) < 0.7, TRUE, (TRUE + 1) % 3)
    return Predictions(tuple(map(str, range(len(TRUE)))), TRUE, guesses)


@pytest.mark.parametrize("metric", ["accuracy", "mean-per-class"])
@pytest.mark.parametrize("draws", [1, 3, 5, 8])
def test_a_score_comes_from_the_predictions_of_the_first_five_draws(draws: int, metric: Any) -> None:
    held = predicted(draws)
    scores = image_scores(metric, TRUE, held.y_pred[:5])
    told = drawn([0.0] * draws, metric=metric, mean=0.99)
    found = score_of(told, held)
    assert found.mean == round(mean_score(scores), 9) and found.ci95 == interval(scores)


def test_without_predictions_a_score_comes_from_the_draws_in_whole_images() -> None:
    assert score_of(drawn([0.5, 0.7], mean=0.99)).mean == 0.6
    for nudge in (9e-10, -9e-10):
        assert score_of(drawn([0.5 + nudge, 0.7 + nudge], mean=0.6 + nudge)).mean == 0.6
    assert draw_scores(drawn([0.123456])) == [0.123456]


def test_more_draws_are_scored_on_the_first_five() -> None:
    many = drawn([0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9])
    assert counted_trials(many) == (0, 1, 2, 3, 4) and score_of(many).mean == 0.5
    # Its own interval is of all draws; that of five takes predictions.
    assert score_of(many).ci95 is None and score_of(drawn([0.5] * 5)).ci95 == (0.7, 0.9)


def test_only_whole_sets_of_the_first_five_are_cut_down_to_them() -> None:
    others = result(trials=[trial(seed) for seed in (0, 1, 2, 3, 5, 6)])
    assert counted_trials(others) == (0, 1, 2, 3, 4, 5)
    seeds = result(shots="full", kind="finetune", trials=[trial(None)] * 7)
    assert counted_trials(seeds) == tuple(range(7))


def test_a_failed_draw_leaves_no_score_unless_it_is_beyond_the_fifth() -> None:
    assert not has_score(drawn([0.5, None])) and score_of(drawn([0.5, None])).mean is None
    assert not has_score(drawn([0.5, None], mean=0.5)), "whatever the file says"
    assert score_of(drawn([0.5] * 5 + [None])).mean == 0.5
    assert not has_score(drawn([0.5], mean=None))


def test_published_figures_are_taken_as_they_stand() -> None:
    told = result(provenance="published", trials=[], predictions=None, mean=0.123456789123, ci95=(0.1, 0.2))
    assert (score_of(told).mean, score_of(told).ci95) == (0.123456789123, (0.1, 0.2))


def test_another_metric_takes_predictions() -> None:
    with pytest.raises(ValueError, match="takes predictions"):
        score_of(drawn([0.5]), None, "mean-per-class")
