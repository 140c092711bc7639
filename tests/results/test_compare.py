import numpy as np
import pytest

from probebench.results.compare import comparable, compare, rank_shifts
from probebench.results.predictions import Predictions
from tests.results.make import result, trial


def scored(model: str, protocol: str, mean: float | None, **changes: object) -> object:
    return result(model=model, protocol=protocol, mean=mean, ci95=None, ci95_covers=None, **changes)


def test_ranks_under_each_protocol_and_their_agreement() -> None:
    results = [
        scored("a", "one", 0.9), scored("b", "one", 0.8), scored("c", "one", 0.7),
        scored("a", "two", 0.6), scored("b", "two", 0.8), scored("c", "two", 0.8),
    ]  # fmt: skip
    (shift,) = rank_shifts(results, ["one", "two"])  # type: ignore[arg-type]
    assert shift.ranks == {"a at 96 px": (1, 3), "b at 96 px": (2, 1), "c at 96 px": (3, 1)}
    from scipy.stats import kendalltau

    assert list(shift.tau) == pytest.approx([kendalltau([0.9, 0.8, 0.7], [0.6, 0.8, 0.8]).statistic])


def test_only_checkpoints_with_all_scores_are_ranked() -> None:
    """A failed or missing cell is neither last nor first."""
    results = [scored("a", "one", 0.9), scored("b", "one", 0.8), scored("a", "two", 0.6), scored("b", "two", None)]
    assert rank_shifts(results, ["one", "two"]) == []  # type: ignore[arg-type]
    both = [*results[:3], scored("b", "two", 0.6), scored("c", "one", 0.99)]
    (shift,) = rank_shifts(both, ["one", "two"])  # type: ignore[arg-type]
    assert set(shift.ranks) == {"a at 96 px", "b at 96 px"} and shift.tau == (None,)


def test_shots_and_data_sets_are_apart() -> None:
    results = [
        scored(model, protocol, 0.5, shots=shots, dataset=dataset)
        for model in "ab"
        for protocol in ("one", "two")
        for shots in (1, 5)
        for dataset in ("x", "y")
    ]
    assert len(rank_shifts(results, ["one", "two"])) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"shots": 5},
        {"protocol": "other"},
        {"protocol_version": 2},
        {"dataset_fingerprint": "1" * 64},
        {"trials": [trial(draw_digest="1" * 64)]},
        {"trials": [trial(), trial(seed=1)]},
        {"mean": None, "ci95": None, "ci95_covers": None},
    ],
    ids=str,
)
def test_only_the_same_draws_and_images_are_compared(change: dict[str, object]) -> None:
    assert comparable(result(), result(model="other"))
    assert not comparable(result(), result(model="other", **change))


def test_pairs_are_adjusted_together() -> None:
    generator = np.random.default_rng(0)
    truth = np.zeros(200, dtype=np.int64)

    def predicted(rate: float) -> Predictions:
        wrong = (generator.random((1, 200)) > rate).astype(np.int64)
        return Predictions(tuple(map(str, range(200))), truth, wrong)

    pairs = [((result(), predicted(0.9)), (result(model="b"), predicted(rate))) for rate in (0.8, 0.88)]
    first, second = compare(pairs)
    assert first.comparison.difference > 0 and first.holm >= first.comparison.p_value
    assert min(first.holm, second.holm) == pytest.approx(
        2 * min(first.comparison.p_value, second.comparison.p_value), rel=1e-12
    )
