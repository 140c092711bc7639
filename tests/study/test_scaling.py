import numpy as np
import pytest

from probebench.study.answer import Answer, Estimate
from probebench.study.observations import observations
from probebench.study.scaling import scaling_answer
from tests.study.make import DATASETS, Pretraining, alarms, results

SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000)
LINE = [Pretraining("LAION", size) for size in SIZES]
OTHER = Pretraining("ImageNet-1k", 1_300_000, method="supervised", objective="cross-entropy", labels="human")


def error(samples: float) -> float:
    return float(0.5 * (samples / 1e6) ** -0.2)


def answer(seed: int, multiple: float, *others: Pretraining, **changes: object) -> Answer:
    """LAION's error falls as a power of its size; the others do as well as ``multiple`` times as much LAION."""

    def truth(one: Pretraining, *_: object) -> float:
        return 1 - error(one.samples * (1.0 if one.source == "LAION" else multiple))

    made = results(np.random.default_rng(seed), [*LINE, *others], truth, levels=["full"], **changes)  # type: ignore[arg-type]
    return scaling_answer(observations(made))


def overall(found: Answer) -> list[dict[str, object]]:
    table = found.table("multiples")
    assert table is not None
    return [dict(row) for row in table.rows if str(row["dataset"]).startswith("mean of all")]


def inside(estimate: object, truth: float) -> bool:
    assert isinstance(estimate, Estimate)
    return (estimate.low is None or estimate.low <= truth) and (estimate.high is None or truth <= estimate.high)


@pytest.mark.parametrize("multiple", [2.0, 8.0])
def test_the_planted_multiple_lies_within_the_interval(multiple: float) -> None:
    repetitions, held = 60, 0
    for seed in range(repetitions):
        (row,) = overall(answer(seed, multiple, OTHER))
        assert row["state"] == "reached"
        held += inside(row["multiple"], multiple)
        estimate = row["multiple"]
        assert isinstance(estimate, Estimate) and estimate.low is not None and estimate.high is not None
        assert estimate.high / estimate.low < 3
    assert held >= 0.9 * repetitions


def test_no_difference_is_reported_between_equal_sources() -> None:
    others = [Pretraining(name, 2_700_000) for name in ("YFCC", "WIT", "RedCaps")]
    assert alarms([answer(seed, 1.0, *others).found for seed in range(200)]) <= 16


def test_a_planted_difference_is_found() -> None:
    assert all(answer(seed, 8.0, OTHER).found for seed in range(10))


def test_beyond_the_measured_sizes_it_is_not_reached() -> None:
    (row,) = overall(answer(0, 200.0, OTHER))
    estimate = row["multiple"]
    assert row["state"] == "not reached" and isinstance(estimate, Estimate)
    assert (estimate.value, estimate.high) == (None, None)
    assert estimate.low == pytest.approx(SIZES[-1] / OTHER.samples)


def test_below_the_measured_sizes_it_says_at_most() -> None:
    (row,) = overall(answer(0, 0.05, OTHER))
    estimate = row["multiple"]
    assert row["state"] == "below the smallest size" and isinstance(estimate, Estimate)
    assert (estimate.value, estimate.low) == (None, None)
    assert estimate.high == pytest.approx(SIZES[0] / OTHER.samples)


def test_crossing_methods_is_labelled_and_architectures_are_never_crossed() -> None:
    elsewhere = Pretraining("CC12M", 2_700_000, architecture="timm/resnet50")
    rows = overall(answer(0, 2.0, OTHER, Pretraining("YFCC", 2_700_000), elsewhere))
    assert {str(row["other"]).split(" ")[0]: row["across"] for row in rows} == {
        "ImageNet-1k": "across methods: language-image against supervised",
        "YFCC": "within one method",
    }


def test_two_sizes_are_refused() -> None:
    made = results(np.random.default_rng(0), [*LINE[:2], OTHER], lambda *_: 0.5, levels=["full"])
    found = scaling_answer(observations(made))
    assert found.refused and found.verdict.startswith("not enough matched pairs")


def test_a_data_set_without_every_size_is_left_out_of_the_mean_only() -> None:
    made = results(np.random.default_rng(0), [*LINE, OTHER], lambda one, *_: 1 - error(one.samples), levels=["full"])
    kept = [one for one in made if not (one.dataset == DATASETS[0] and "1000000_" in one.model)]
    table = scaling_answer(observations(kept)).table("multiples")
    assert table is not None
    assert {str(row["dataset"]) for row in table.rows} == {f"mean of all {len(DATASETS) - 1} data sets", *DATASETS}
