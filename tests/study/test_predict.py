import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from probebench.study.answer import Answer, Estimate
from probebench.study.observations import observations
from probebench.study.predict import predict_answer, track_pairs
from tests.study.make import DATASETS, Pretraining, alarms, results

GRID = [Pretraining(f"source {number}") for number in range(12)]


def answer(seed: int, share: float) -> Answer:
    """Few-shot and full scores that correlate to ``share`` between checkpoints, within every data set."""
    generator = np.random.default_rng(seed)
    both = {
        (one, dataset): generator.multivariate_normal([0, 0], [[1, share], [share, 1]])
        for one in GRID
        for dataset in DATASETS
    }
    shift = dict(zip(DATASETS, (0.0, 0.1, 0.2, -0.1, -0.2), strict=True))

    def truth(one: Pretraining, dataset: str, shots: int | str) -> float:
        few, full = both[one, dataset]
        return float(0.5 + shift[dataset] + 0.04 * (full if shots == "full" else few))

    few = results(generator, GRID, truth, levels=[5], images=200_000, draw_noise=0.0)
    full = results(generator, GRID, truth, levels=["full"], images=200_000, kind="finetune", mode="full")
    return predict_answer(observations(few), observations(full))


def row(found: Answer) -> dict[str, object]:
    table = found.table("correlations")
    assert table is not None
    return dict(table.rows[0])


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_the_planted_correlation_lies_within_the_interval(share: float) -> None:
    rank = 6 / np.pi * np.arcsin(share / 2)
    repetitions, held = 60, {"linear": 0, "rank": 0}
    for seed in range(repetitions):
        found = row(answer(seed, share))
        for key, truth in (("linear", share), ("rank", rank)):
            estimate = found[key]
            assert isinstance(estimate, Estimate) and estimate.low is not None and estimate.high is not None
            held[key] += estimate.low <= truth <= estimate.high
    assert min(held.values()) >= 0.9 * repetitions, held


def test_no_correlation_is_reported_where_there_is_none() -> None:
    """Data sets differ in difficulty, so a correlation over all points at once would be high."""
    assert alarms([answer(seed, 0.0).found for seed in range(200)]) <= 16


def test_on_one_data_set_they_are_scipys() -> None:
    found = answer(0, 0.6)
    single, points = found.table("datasets"), found.table("points")
    assert single is not None and points is not None
    for one in single.rows:
        pairs = np.array([[p["few"], p["full"]] for p in points.rows if p["dataset"] == one["dataset"]], dtype=float)
        linear, rank = one["linear"], one["rank"]
        assert isinstance(linear, Estimate) and isinstance(rank, Estimate)
        assert linear.value == pytest.approx(pearsonr(*pairs.T).statistic)
        assert rank.value == pytest.approx(spearmanr(*pairs.T).statistic)
        interval = pearsonr(*pairs.T).confidence_interval()
        assert (linear.low, linear.high) == pytest.approx((interval.low, interval.high), abs=1e-4)


def test_few_shots_are_held_against_their_own_full_data_and_full_fine_tuning() -> None:
    made = [
        *results(np.random.default_rng(0), GRID[:1], lambda *_: 0.5, datasets=["dtd"]),
        *results(np.random.default_rng(0), GRID[:1], lambda *_: 0.5, datasets=["dtd"], kind="finetune", mode="full"),
        *results(np.random.default_rng(0), GRID[:1], lambda *_: 0.5, datasets=["dtd"], kind="finetune", mode="lp-ft"),
        *results(np.random.default_rng(0), GRID[:1], lambda *_: 0.5, levels=[0], datasets=["dtd"], kind="zeroshot"),
    ]
    pairs = track_pairs(sorted({cell.track for cell in observations(made)}))
    assert {((few.kind, few.mode), (full.kind, full.mode)) for few, full in pairs} == {
        (("probe", "logistic"), ("probe", "logistic")),
        (("probe", "logistic"), ("finetune", "full")),
        (("finetune", "full"), ("finetune", "full")),
        (("finetune", "lp-ft"), ("finetune", "lp-ft")),
        (("finetune", "lp-ft"), ("finetune", "full")),
    }


def test_four_checkpoints_are_refused() -> None:
    generator = np.random.default_rng(0)
    made = observations(results(generator, GRID[:4], lambda *_: 0.5))
    found = predict_answer(made, made)
    assert found.refused and found.verdict.startswith("not enough matched pairs")
