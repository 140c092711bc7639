"""Planted spreads and fading are found within their intervals; where there are none, none is reported."""

import numpy as np
import pytest

from probebench.results.schema import Result
from probebench.study.answer import Answer, Estimate
from probebench.study.observations import observations
from probebench.study.spread import spread_answer
from tests.study.make import DATASETS, LEVELS, SOURCES, Pretraining, Truth, results

GRID = [Pretraining(source) for source in SOURCES]
BASE: dict[int | str, float] = {1: 0.35, 5: 0.5, 10: 0.6, 20: 0.68, "full": 0.8}
OFFSET = dict(zip(SOURCES, (-0.05, -0.03, -0.01, 0.02, 0.03, 0.04), strict=True))


def planted(scale: dict[int | str, float]) -> Truth:
    return lambda one, dataset, shots: BASE[shots] + scale[shots] * OFFSET[one.source]


def same(one: Pretraining, dataset: str, shots: int | str) -> float:
    return BASE[shots]


def answer(seed: int, truth: Truth, **changes: object) -> Answer:
    return spread_answer(observations(results(np.random.default_rng(seed), GRID, truth, **changes)))  # type: ignore[arg-type]


def holds(estimate: object, truth: float) -> bool:
    assert isinstance(estimate, Estimate) and estimate.low is not None and estimate.high is not None
    return estimate.low <= truth <= estimate.high


STEADY: dict[int | str, float] = dict.fromkeys(LEVELS, 1.0)
FADING: dict[int | str, float] = {1: 1.0, 5: 0.8, 10: 0.6, 20: 0.4, "full": 0.1}


def slope(scale: dict[int | str, float], log: bool) -> float:
    deviations = []
    for level in LEVELS:
        scores = np.array([BASE[level] + scale[level] * offset for offset in OFFSET.values()])
        deviations.append(np.std(np.log(1 - scores) if log else scores, ddof=1))
    return float(np.polyfit(np.arange(len(LEVELS)), deviations, 1)[0] * (len(LEVELS) - 1))


@pytest.mark.parametrize("scale", [STEADY, FADING], ids=["steady", "fading"])
def test_planted_spread_and_trend_lie_within_their_intervals(scale: dict[int | str, float]) -> None:
    deviation = float(np.std(list(OFFSET.values()), ddof=1))
    held: dict[object, int] = dict.fromkeys([*LEVELS, "points", "log"], 0)
    repetitions, faded = 60, 0
    for seed in range(repetitions):
        found = answer(seed, planted(scale))
        overall, trend = found.table("overall"), found.table("trend")
        assert overall is not None and trend is not None
        for level, row in zip(LEVELS, overall.rows, strict=True):
            held[level] += holds(row["deviation"], scale[level] * deviation)
        held["points"] += holds(trend.rows[0]["points"], slope(scale, log=False))
        held["log"] += holds(trend.rows[0]["log"], slope(scale, log=True))
        faded += "fades" in found.found
    assert min(held.values()) >= 0.9 * repetitions, held
    assert faded >= 0.9 * repetitions if scale is FADING else faded == 0


def test_no_spread_is_reported_where_there_is_none() -> None:
    alarms = sum(bool(answer(seed, same, levels=[1, 10, "full"]).found) for seed in range(200))
    assert alarms <= 16


def test_no_fading_is_reported_where_the_spread_stays() -> None:
    """More draw noise at few shots makes max - min fall, and the ceiling makes points fall; neither is fading."""
    near_ceiling: dict[int | str, float] = {level: (1 - BASE[level]) / 0.65 for level in LEVELS}
    alarms = sum(
        bool({"fades", "grows"} & set(answer(seed, planted(near_ceiling), draw_noise=0.05).found))
        for seed in range(100)
    )
    assert alarms <= 8


def test_easy_and_hard_draws_that_all_share_are_no_noise() -> None:
    """The draws of one data set move all sources alike; taking their variance off would hide the spread."""
    generator = np.random.default_rng(0)
    made = results(generator, GRID, planted(STEADY), levels=[1], draw_noise=0.0, images=100_000)
    shifted = [
        one.model_copy(
            update={
                "trials": [
                    trial.model_copy(update={"test_score": (trial.test_score or 0) + 0.1 * (place - 2)})
                    for place, trial in enumerate(one.trials)
                ]
            }
        )
        for one in made
    ]
    plain, moved = (spread_answer(observations(one)).table("overall") for one in (made, shifted))
    assert plain is not None and moved is not None
    assert moved.rows[0]["deviation"].value == pytest.approx(plain.rows[0]["deviation"].value, abs=1e-6)  # type: ignore[union-attr]


def test_only_data_sets_and_sources_at_every_number_of_shots_count() -> None:
    made = results(np.random.default_rng(0), GRID, planted(STEADY))
    kept = [
        one
        for one in made
        if not (one.dataset == DATASETS[0] and one.shots == 5)
        and not (one.dataset == DATASETS[1] and one.shots == "full" and "laion" in one.model)
    ]
    found = spread_answer(observations(kept))
    assert DATASETS[0] not in found.basis.datasets
    assert any(DATASETS[0] in note for note in found.notes)
    table = found.table("datasets")
    assert table is not None
    assert {row["sources"] for row in table.rows if row["dataset"] == DATASETS[1]} == {5}


def test_the_best_of_several_settings_is_marked_as_selected_on_test() -> None:
    made = results(np.random.default_rng(0), GRID, planted(STEADY), datasets=["dtd"])

    def tuned(one: Result, rate: str, less: float | None) -> Result:
        """A run of a published table: what sets tunings of one checkpoint apart are its hyper-parameters."""
        mean = None if less is None else (one.mean or 0) - less
        published = {"provenance": "published", "trials": [], "environment": {"settings": {"lr": rate}}}
        return one.model_copy(update={**published, "mean": mean})

    again, failed = [tuned(one, "0.2", 0.1) for one in made], [tuned(one, "0.3", None) for one in made]
    made = [tuned(one, "0.1", 0.0) for one in made]
    found = spread_answer(observations([*failed, *again, *made]))
    table = found.table("datasets")
    assert table is not None
    assert {(row["settings"], row["selection"]) for row in table.rows} == {("3", "test")}
    assert any("Selected on test" in note for note in found.notes)
    first = spread_answer(observations(made)).table("datasets")
    assert first is not None and [row["range"] for row in first.rows] == [row["range"] for row in table.rows]


def test_without_test_images_there_is_max_less_min_only() -> None:
    found = answer(0, planted(FADING), n_test=None, provenance="published")
    table = found.table("overall")
    assert table is not None
    assert table.rows[0]["deviation"] is None and table.rows[0]["range"] is not None
    assert "cannot be judged" in found.verdict and not found.found


@pytest.mark.parametrize("change", ["method", "objective", "architecture", "samples"])
def test_sources_that_match_in_nothing_are_refused(change: str) -> None:
    values = {"samples": (1, 2)}.get(change, ("one", "other"))
    grid = [Pretraining(source, **{change: value}) for source, value in zip("AB", values, strict=True)]  # type: ignore[arg-type]
    found = spread_answer(observations(results(np.random.default_rng(0), grid, lambda *_: 0.5)))
    assert found.refused and found.verdict.startswith("not enough matched pairs")
