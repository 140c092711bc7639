from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from probebench.leaderboard.page import page_data
from probebench.leaderboard.ranking import (
    CellScore,
    CellScores,
    Interval,
    Ranking,
    arrange,
    mean_interval,
    rank,
    shared_datasets,
    why_unranked,
)
from probebench.results.cells import Cell, CellKey, DataSet, Entrant, gather
from probebench.results.schema import Result
from probebench.results.stats import Comparison
from tests.results.make import DIGEST, result, trial

A, B, C = (DataSet(name, DIGEST) for name in "abc")


def entrant(model: str) -> Entrant:
    return Entrant(model=model, weights_digest=DIGEST, input_size=96)


def cell(mean: float | None, ci95: Interval | None = None, **changes: object) -> CellScore:
    found = result(mean=mean, ci95=ci95, **changes)
    return CellScore(Cell(CellKey.of(found), found), mean, ci95, why_unranked(found, {"default": 1}))


def cells(**scores: dict[DataSet, float | None]) -> CellScores:
    return {entrant(name): {dataset: cell(mean) for dataset, mean in own.items()} for name, own in scores.items()}


def p_value(value: float) -> Comparison:
    difference = float(norm.isf(value / 2))
    return Comparison(difference, (difference - 2, difference + 2), value, 1.0, 1e9)


def never(_: Result, __: Result) -> None:
    return None


def lines(ranking: Ranking) -> list[tuple[str, int | None, str]]:
    return [(place.entrant.model, place.rank, place.note) for place in ranking.places]


def test_the_best_mean_is_first_and_equal_means_share_their_rank() -> None:
    ranking = rank(cells(x={A: 0.6, B: 0.8}, y={A: 0.9, B: 0.9}, z={A: 0.8, B: 0.6}, w={A: 0.1, B: 0.2}), never)
    assert [(place.entrant.model, place.rank) for place in ranking.places] == [("y", 1), ("x", 2), ("z", 2), ("w", 4)]
    assert [place.mean for place in ranking.places] == pytest.approx([0.9, 0.7, 0.7, 0.15])


def test_mean_ranks_are_scipys() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (9, 3)) / 6
    table: dict[str, dict[DataSet, float | None]]
    table = {f"m{row}": dict(zip((A, B, C), own, strict=True)) for row, own in enumerate(scores.tolist())}
    expected = np.mean([rankdata(-column, method="average") for column in scores.T], axis=0)
    found = {place.entrant.model: place.mean_rank for place in rank(cells(**table), never).places}
    assert [found[f"m{row}"] for row in range(9)] == pytest.approx(expected)


def test_a_missing_cell_is_no_zero_and_no_help() -> None:
    whole: dict[str, dict[DataSet, float | None]] = {"best": {A: 0.5, B: 0.3}, "other": {A: 0.4, B: 0.2}}
    ranking = rank(cells(**whole, easy={A: 0.99}), never)
    assert lines(ranking)[-1] == ("easy", None, "incomplete")
    assert ranking.places[-1].mean is None and ranking.places[-1].present == 1
    assert ranking.places[:-1] == rank(cells(**whole), never).places


def test_a_data_set_of_few_is_left_out_of_the_mean() -> None:
    held = cells(x={A: 0.5, B: 0.1}, y={A: 0.4}, z={A: 0.3})
    assert shared_datasets(held) == (A,)
    assert [(name, place) for name, place, _ in lines(rank(held, never))] == [("x", 1), ("y", 2), ("z", 3)]
    assert shared_datasets(cells(x={A: 0.5, B: 0.1}, y={A: 0.4})) == (A, B)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"selection": "test"}, "test-selected"),
        ({"trials": [trial(selection="test")]}, "test-selected"),
        ({"provenance": "published"}, "published"),
        ({"mean": None}, "failed"),
    ],
)
def test_what_may_not_be_ranked_is_shown_and_moves_nobody(changes: dict[str, object], note: str) -> None:
    plain = {entrant("x"): {A: cell(0.5)}, entrant("y"): {A: cell(0.4)}}
    odd = {entrant("odd"): {A: cell(**{"mean": 1.0, "ci95": (0.9, 1.0)} | changes)}}  # type: ignore[arg-type]
    ranking = rank(plain | odd, never)
    assert lines(ranking)[-1] == ("odd", None, note)
    assert ranking.places[-1].mean == changes.get("mean", 1.0)
    assert ranking.places[:-1] == rank(plain, never).places


def test_one_test_selected_score_keeps_the_whole_mean_from_being_ranked() -> None:
    mixed = {entrant("x"): {A: cell(0.5), B: cell(0.9, selection="test")}, entrant("y"): {A: cell(0.4), B: cell(0.4)}}
    assert lines(rank(mixed, never)) == [("y", 1, "leader"), ("x", None, "test-selected")]


def test_nothing_that_may_be_ranked() -> None:
    ranking = rank({entrant("x"): {A: cell(0.5, selection="test")}}, never)
    assert ranking.datasets == () and lines(ranking) == [("x", None, "test-selected")]
    assert rank({}, never).places == ()


def test_ties_are_what_holms_correction_leaves() -> None:
    raw = {"second": 0.03, "third": 0.02, "fourth": 0.001}
    table = {"first": {A: 0.9}, "second": {A: 0.8}, "third": {A: 0.7}, "fourth": {A: 0.6}, "fifth": {A: 0.5}}
    held = {entrant(name): {A: cell(own[A], model=name)} for name, own in table.items()}

    def paired(first: Result, other: Result) -> Comparison | None:
        assert first.model == "first"
        return p_value(raw[other.model]) if other.model in raw else None

    # Holm: 0.001 * 3, 0.02 * 2 and 0.03; without the correction all three are told apart, and so they are here.
    assert [note for *_, note in lines(rank(held, paired))] == ["leader", "apart", "apart", "apart", "not compared"]
    raw["third"] = 0.026
    assert [note for *_, note in lines(rank(held, paired))] == ["leader", "tied", "tied", "apart", "not compared"]


def test_one_data_set_without_a_comparison_leaves_the_mean_not_compared() -> None:
    held = {
        entrant(name): {A: cell(mean, model=name, dataset="a"), B: cell(mean, model=name, dataset="b")}
        for name, mean in (("x", 0.9), ("y", 0.8))
    }
    ranking = rank(held, lambda one, _: p_value(1.0) if one.dataset == "a" else None)
    assert lines(ranking)[1] == ("y", 2, "not compared")


def test_the_interval_of_a_mean_covers_it() -> None:
    """Two data sets of 400 and 100 images: the mean of two rates lies in the interval in about 95% of repetitions."""
    from probebench.results.stats import wilson

    random = np.random.default_rng(1)
    rates, counts = (0.9, 0.6), (400, 100)
    inside = 0
    for _ in range(2000):
        means: Sequence[float] = [float(random.binomial(n, p) / n) for n, p in zip(counts, rates, strict=True)]
        found = mean_interval(means, [wilson(mean, n) for mean, n in zip(means, counts, strict=True)])
        assert found is not None
        inside += found[0] <= 0.75 <= found[1]
    assert 0.935 <= inside / 2000 <= 0.965


def test_the_interval_of_one_data_set_is_its_own_and_a_gap_leaves_none() -> None:
    assert mean_interval([0.5], [(0.4, 0.7)]) == pytest.approx((0.4, 0.7))
    assert mean_interval([0.5, 0.5], [(0.4, 0.7), None]) is None
    assert mean_interval([], []) is None


def test_an_older_version_of_a_protocol_is_shown_and_has_no_rank() -> None:
    """Also where all are of it; a protocol that nobody knows has no older version."""
    assert why_unranked(result(), {"default": 2}) == "older version"
    assert why_unranked(result(), {"default": 1}) == why_unranked(result(), {}) == ""
    assert why_unranked(result(protocol_version=99), {"default": 1}) == "unknown version"
    older = {entrant(name): {A: replace(cell(mean), note="older version")} for name, mean in (("x", 0.9), ("y", 0.8))}
    assert lines(rank(older, never)) == [("x", None, "older version"), ("y", None, "older version")]
    page = page_data([result(model=name) for name in "ab"], versions={"default": 2})
    assert [row[1] for view in page["views"] for row in view["rows"]] == [None, None]
    assert {page["notes"][row[6]] for view in page["views"] for row in view["rows"]} == {"older version"}
    every = [result(protocol_version=version) for version in (1, 2, 99)]
    settings = page_data(every, versions={"default": 2})["settings"]
    assert [one["id"].split("-")[-1] for one in settings] == ["2", "99", "1"]


def test_results_find_their_places() -> None:
    found = arrange(
        gather(
            [
                result(),
                result(dataset="dtd"),
                result(input_size=224),
                result(shots=5),
                result(kind="knn"),
                result(model="b"),
            ]
        )
    )
    assert len(found) == 3
    (held,) = [own for (setting, shots), own in found.items() if setting.kind == "probe" and shots == 1]
    assert {(one.model, one.input_size): {data.name for data in own} for one, own in held.items()} == {
        ("net", 96): {"digits", "dtd"},
        ("net", 224): {"digits"},
        ("b", 96): {"digits"},
    }


def test_other_images_under_one_name_are_another_data_set() -> None:
    (own,) = arrange(gather([result(), result(dataset_fingerprint="1" * 64)])).values()
    assert len(next(iter(own.values()))) == 2


def test_published_figures_stand_beside_measured_ones_and_apart() -> None:
    published = result(provenance="published", dataset_fingerprint=None, weights_digest=None)
    (own,) = arrange(gather([result(), published])).values()
    assert sorted(one.provenance for one in own) == ["measured", "published"]
    assert {dataset for held in own.values() for dataset in held} == {DataSet("digits", DIGEST)}
