"""Nearest neighbours against scikit-learn's KNeighborsClassifier and against a full sort."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from probebench.arrays import Labels
from probebench.probes import knn
from probebench.probes.base import Labelled, Matrix
from probebench.probes.select import SelectionData, select
from probebench.registry import Registry
from tests.probes.test_ridge import Blocked
from tests.probes.test_sklearn import blobs

T = 0.07


def unit(rows: Matrix) -> Matrix:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    divided: Matrix = rows / np.where(norms > 0, norms, 1.0)
    return divided


def by_sorting(train: Labelled, queries: Matrix, k: int) -> tuple[Labels, Any]:
    """The definition: all cosines, sorted; votes summed class by class. Also says which rows have no near tie."""
    cosines = queries @ train.matrix.T
    order = np.argsort(-cosines, axis=1, kind="stable")
    classes = np.unique(train.labels)
    votes = np.zeros((len(queries), len(classes)))
    for row, near in enumerate(order[:, :k]):
        for place in near:
            votes[row, np.searchsorted(classes, train.labels[place])] += np.exp(cosines[row, place] / T)
    top = np.sort(votes, axis=1)
    sure = top[:, -1] - top[:, -2] > 1e-9 * top[:, -1]
    if k < len(train):
        ranked = np.take_along_axis(cosines, order, axis=1)
        sure &= ranked[:, k - 1] - ranked[:, k] > 1e-12
    return classes[votes.argmax(axis=1)], sure


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(1, 30), st.integers(2, 12), st.integers(1, 60), st.integers(0, 999))
def test_predictions_are_scikit_learns_to_the_last_label(
    classes: int, each: int, width: int, k: int, seed: int
) -> None:
    data = blobs(classes, each, width, seed)
    train, queries = Labelled(unit(data.matrix), data.labels), unit(blobs(classes, 15, width, seed + 1).matrix)
    ((probe,),) = knn.fit_paths([train], [k], temperature=T)
    model = KNeighborsClassifier(min(k, len(train)), metric="cosine", weights=lambda far: np.exp((1 - far) / T))
    predicted = probe.predict(queries)
    expected, sure = by_sorting(train, queries, min(k, len(train)))
    assert np.array_equal(predicted[sure], model.fit(train.features, train.labels).predict(queries)[sure])
    assert np.array_equal(predicted[sure], expected[sure]) and sure.mean() > 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_blocks_change_nothing_and_ties_go_to_the_earlier_row(
    count: int, k: int, rows_a_block: int, queries_a_block: int, seed: int
) -> None:
    """Products of small whole numbers are exact, and full of ties."""
    generator = np.random.default_rng(seed)
    k = min(k, count)
    rows, queries = (
        generator.integers(-2, 3, (count, 3)).astype(float),
        generator.integers(-2, 3, (11, 3)).astype(float),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probebench.probes.base.BLOCK_ROWS", rows_a_block)
        patch.setattr(knn, "QUERIES", queries_a_block)
        source = Blocked(rows)
        products, places = knn.nearest(source, queries, k)
    assert source.most <= rows_a_block
    expected = np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]
    assert np.array_equal(places, expected)
    assert np.array_equal(products, np.take_along_axis(queries @ rows.T, expected, axis=1))


def test_all_k_come_from_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blobs(4, 60, 6)
    train, held = Labelled(unit(data.matrix), data.labels), blobs(4, 10, 6, seed=1)
    searched: list[int] = []
    nearest = knn.nearest

    def counting(rows: Any, queries: Matrix, k: int) -> Any:
        searched.append(k)
        return nearest(rows, queries, k)

    monkeypatch.setattr(knn, "nearest", counting)
    (path,) = knn.fit_paths([train], [200.0, 10.0, 20.0], temperature=T)
    judged = path[0].judge(path, unit(held.matrix), held.labels)
    assert searched == [200]
    for probe, (losses, hits) in zip(path, judged, strict=True):
        assert np.array_equal(hits, probe.predict(unit(held.matrix)) == held.labels)
        assert np.isnan(losses).all()


def test_equal_votes_go_to_the_smaller_label_and_zeros_have_cosine_zero() -> None:
    train = Labelled(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([8, 2]))
    ((probe,),) = knn.fit_paths([train], [2], temperature=T)
    assert probe.predict(unit(np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.9]]))).tolist() == [2, 2, 8]


def test_a_small_temperature_does_not_overflow() -> None:
    data = blobs(3, 5, 4)
    train = Labelled(unit(data.matrix), data.labels)
    ((probe,),) = knn.fit_paths([train], [15], temperature=1e-4)
    ((first,),) = knn.fit_paths([train], [1], temperature=T)
    queries = unit(blobs(3, 20, 4, seed=1).matrix)
    assert np.array_equal(probe.predict(queries), first.predict(queries)), "the nearest row has all the say"


def test_k_above_the_rows_is_left_out_and_the_smallest_stands_for_all(shipped: Registry) -> None:
    protocol = shipped.protocol("knn")

    def chosen(each: int) -> Any:
        fit = lambda *rest: knn.fit_paths(*rest, temperature=T)  # noqa: E731
        (one,) = select([SelectionData(blobs(4, each, 6), blobs(4, 5, 6, seed=1))], protocol, lambda rate, last: fit)
        return one

    assert chosen(60).left_out == () and chosen(60).tried == (10, 200)
    assert chosen(10).left_out == (100, 200) and chosen(10).tried == (10, 20)
    few = chosen(2)
    assert few.left_out == (20, 100, 200) and few.tried == (10, 10) and few.chosen == {"k": 10}
    assert few.how == "validation" and few.score is not None and few.loss is None
    queries = few.preparation(blobs(4, 5, 6, seed=1).matrix)
    ((all_eight,),) = knn.fit_paths([Labelled(few.preparation(blobs(4, 2, 6).matrix), blobs(4, 2, 6).labels)], [8.0],
                                    temperature=T)  # fmt: skip
    assert np.array_equal(few.probe.predict(queries), all_eight.predict(queries))


def test_the_k_of_the_highest_validation_accuracy_is_taken(shipped: Registry) -> None:
    train, held = blobs(4, 60, 3), blobs(4, 40, 3, seed=1)
    (chosen,) = select(
        [SelectionData(train, held)],
        shipped.protocol("knn"),
        lambda rate, last: lambda *rest: knn.fit_paths(*rest, temperature=T),
    )
    scores = {
        k: KNeighborsClassifier(k, metric="cosine", weights=lambda far: np.exp((1 - far) / T))
        .fit(train.features, train.labels)
        .score(held.features, held.labels)
        for k in (10, 20, 100, 200)
    }
    best = max(scores.values())
    assert chosen.score == pytest.approx(best)
    assert chosen.chosen == {"k": min(k for k, score in scores.items() if score == best)}


def test_what_cannot_vote_is_refused() -> None:
    with pytest.raises(ValueError, match="one class only"):
        knn.fit_paths([Labelled(np.ones((3, 2)), np.ones(3, np.int64))], [1], temperature=T)
    train = blobs(2, 3, 4)
    train.features[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        knn.fit_paths([train], [1], temperature=T)
