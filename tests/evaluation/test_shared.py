"""What probes, zero-shot and fine-tuning share: computed once, result or error, and one constructor of results."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probebench.errors import CacheError, ProbebenchError
from probebench.evaluation import ProbeTask
from probebench.evaluation.many import results_or_errors
from probebench.evaluation.record import Measured, measured_result
from probebench.evaluation.stored import stored_or_compute
from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Trial
from probebench.results.stats import interval
from tests.evaluation.conftest import Make

TRUE = np.array([0, 0, 1, 1, 2, 2, 3, 3])
RIGHT, HALF = TRUE.copy(), np.where(np.arange(8) % 2, TRUE, 9)


def trial(number: int, selection: str = "validation", error: str | None = None) -> Trial:
    return Trial.model_validate(
        {
            "draw_seed": number, "draw_digest": f"{number:064x}", "train": 4, "validation": 3, "selection": selection,
            "chosen": {}, "on_edge": None, "validation_loss": None, "validation_score": None, "test_score": None,
            "converged": None, "unconverged": [], "error": error,
        }
    )  # fmt: skip


def measured(*trials: Trial, rows: list[np.ndarray[tuple[int], np.dtype[np.int64]]] | None = None) -> Measured:
    ids = tuple(f"test-{number}" for number in range(8))
    return Measured(
        mode="logistic",
        width=12,
        trained_on=None,
        trials=trials,
        predictions=Predictions(ids, TRUE, np.stack(rows or [RIGHT, HALF][: len(trials)])),
        environment={"extraction": {"device": "cpu"}},
        timings={"total_s": 1.0},
    )


STORED = {"file": "one.npz", "sha256": "0" * 64}


def test_all_that_can_be_derived_is(make: Make, task: Callable[..., ProbeTask]) -> None:
    result = measured_result(task(make()), measured(trial(0, "fixed"), trial(1)), STORED)
    assert [one.test_score for one in result.trials] == [1.0, 0.5] and result.mean == 0.75
    assert result.ci95 == interval(image_scores("accuracy", TRUE, np.stack([RIGHT, HALF])))
    assert (result.selection, result.labels_spent, result.n_test) == ("validation", 7, 8)
    assert result.ci95_covers == "draws and test images" and result.environment["extraction"] == {"device": "cpu"}


@pytest.mark.parametrize(
    ("selections", "said"),
    [(("fixed", "fixed"), "fixed"), (("test", "fixed"), "test"), (("validation", "test"), "test")],
)
def test_the_weakest_choice_names_the_result(
    make: Make, task: Callable[..., ProbeTask], selections: tuple[str, ...], said: str
) -> None:
    trials = [trial(number, selection) for number, selection in enumerate(selections)]
    assert measured_result(task(make()), measured(*trials), STORED).selection == said


def test_what_varies_is_said(make: Make, task: Callable[..., ProbeTask]) -> None:
    few, full = task(make()), replace(task(make()), shots="full")
    assert measured_result(few, measured(trial(0)), STORED).ci95_covers == "test images only"
    seeds = measured_result(full, measured(trial(0), trial(1)), STORED)
    assert seeds.ci95_covers == "training seeds and test images"


def test_a_failed_trial_has_no_score_and_its_result_no_mean(make: Make, task: Callable[..., ProbeTask]) -> None:
    failed = np.full(8, -1)
    result = measured_result(task(make()), measured(trial(0), trial(1, error="it broke"), rows=[RIGHT, failed]), STORED)
    assert [one.test_score for one in result.trials] == [1.0, None]
    assert (result.mean, result.ci95, result.ci95_covers) == (None, None, None)


def test_results_are_computed_where_one_is_missing_and_then_no_more(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path
) -> None:
    one, calls = task(make()), []
    paths = [tmp_path / "a" / "b" / f"{name}.json" for name in ("first", "second")]

    def compute() -> list[Measured]:
        calls.append(1)
        return [measured(trial(0)), measured(trial(1))]

    first, computed = stored_or_compute(one, paths, compute)
    assert computed and [result.trials[0].draw_seed for result in first] == [0, 1]
    assert stored_or_compute(one, paths, compute) == (first, False) and len(calls) == 1
    paths[1].unlink()
    assert stored_or_compute(one, paths, compute) == (first, True) and len(calls) == 2
    assert "left_out" not in json.loads(paths[0].read_text())["trials"][0]


def test_an_error_that_a_user_can_mend_takes_the_place_of_a_result() -> None:
    def run(number: int) -> int:
        if number == 1:
            raise CacheError("no features")
        if number == 3:
            raise OSError("disk full")
        return 10 * number

    assert list(results_or_errors(run, [0, 2])) == [0, 20]
    first, second, third = results_or_errors(run, [0, 1, 2])
    assert (first, str(second), third) == (0, "no features", 20) and isinstance(second, ProbebenchError)
    with pytest.raises(OSError, match="disk full"):
        list(results_or_errors(run, [3]))
