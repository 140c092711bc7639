"""Retrieval against a plain NumPy ranking: the whole matrix of cosines, a stable sort, and the definitions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.arrays import Labels
from probebench.probes import retrieval
from probebench.probes.base import Labelled, Matrix
from probebench.probes.select import SelectionData, select
from probebench.registry import Registry
from tests.probes.test_knn import unit
from tests.probes.test_ridge import Blocked
from tests.probes.test_sklearn import blobs


def plain(rows: Matrix, labels: Labels, queries: Matrix, wanted: Labels) -> tuple[Labels, Matrix, Matrix]:
    """The nearest row's label, the rank of the first of the own class, and average precision, query by query."""
    nearest, first, precision = [], [], []
    for query, label in zip(queries, wanted, strict=True):
        steps = np.rint(rows @ query * 2.0**38)
        order = np.argsort(-steps, kind="stable")
        ranks = np.flatnonzero(labels[order] == label) + 1
        nearest.append(labels[order[0]])
        first.append(ranks[0] if len(ranks) else 0)
        found = np.arange(1, len(ranks) + 1)
        precision.append((found / ranks).mean() if len(ranks) else 0.0)
    return np.array(nearest), np.array(first, float), np.array(precision, float)


def gallery(train: Labelled) -> retrieval.Gallery:
    ((probe,),) = retrieval.fit_paths([train], [0.0])
    return probe


def agrees(train: Labelled, queries: Matrix, wanted: Labels) -> None:
    probe = gallery(train)
    labels, found = probe.measured(queries, wanted)
    nearest, first, precision = plain(train.matrix, train.labels, queries, wanted)
    assert np.array_equal(labels, nearest) and np.array_equal(probe.predict(queries), nearest)
    assert np.array_equal(found["first_hit"], first)
    assert np.allclose(found["average_precision"], precision, rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 25), st.integers(2, 12), st.integers(0, 999))
def test_ranks_are_those_of_a_plain_sort(classes: int, each: int, width: int, seed: int) -> None:
    data, test = blobs(classes, each, width, seed), blobs(classes + 1, 6, width, seed + 1)
    agrees(Labelled(unit(data.matrix), data.labels), unit(test.matrix), test.labels)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 60),
       st.integers(0, 999))  # fmt: skip
def test_blocks_and_groups_change_nothing_and_ties_go_to_the_earlier_row(
    count: int, rows_a_block: int, queries_a_block: int, few: int, held: int, seed: int
) -> None:
    """Rows of small whole numbers are full of equal ones, of zeros, and of classes that are not in the gallery."""
    generator = np.random.default_rng(seed)
    rows = unit(generator.integers(-1, 2, (count, 3)).astype(float))
    labels = generator.integers(0, 4, count)
    labels[:2] = [0, 3]
    queries, wanted = unit(generator.integers(-1, 2, (17, 3)).astype(float)), generator.integers(0, 6, 17)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probebench.probes.base.BLOCK_ROWS", rows_a_block)
        patch.setattr(retrieval, "QUERIES", queries_a_block)
        patch.setattr(retrieval, "FEW_QUERIES", few)
        patch.setattr(retrieval, "RELEVANT", held)
        patch.setattr(retrieval, "_SUMMED", held)
        source = Blocked(rows)
        labels_found, found = gallery(Labelled(source, labels)).measured(queries, wanted)
    assert source.most <= rows_a_block
    nearest, first, precision = plain(rows, labels, queries, wanted)
    assert np.array_equal(labels_found, nearest) and np.array_equal(found["first_hit"], first)
    assert np.allclose(found["average_precision"], precision, rtol=1e-12, atol=0)


def test_a_case_by_hand() -> None:
    """Ranks 2, 3 and 4 are worth 1/2, 2/3 and 3/4; no row is of class 9; zeros are ranked as the file has them."""
    rows = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    probe = gallery(Labelled(rows, np.array([5, 7, 5, 5])))
    queries = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    labels, found = probe.measured(queries, np.array([5, 9, 7]))
    assert labels.tolist() == [7, 7, 5] and found["first_hit"].tolist() == [2, 0, 2]
    assert found["average_precision"] == pytest.approx([(1 / 2 + 2 / 3 + 3 / 4) / 3, 0, 1 / 2], abs=1e-15)


def test_equal_rows_keep_their_order_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product may differ in its last digit with its place in a block; rows that are alike must not change places."""
    generator = np.random.default_rng(0)
    rows = unit(np.repeat(generator.normal(size=(1, 301)), 97, axis=0))
    labels = np.arange(97) % 2
    for size in (97, 13, 5, 1):
        monkeypatch.setattr("probebench.probes.base.BLOCK_ROWS", size)
        nearest, found = gallery(Labelled(rows, labels)).measured(
            unit(generator.normal(size=(9, 301))), np.ones(9, np.int64)
        )
        assert not nearest.any() and found["first_hit"].tolist() == [2.0] * 9


def test_rows_of_one_direction_are_equally_near() -> None:
    """Made unit vectors, multiples of a row differ in their last digits, and so do their cosines with it: all are 1."""
    generator = np.random.default_rng(1)
    row = generator.normal(size=301)
    rows = unit(row * generator.uniform(0.1, 10, size=(60, 1)))
    assert len(np.unique(rows @ rows[0])) > 1
    nearest, found = gallery(Labelled(rows, np.arange(60) % 2)).measured(rows, np.ones(60, np.int64))
    assert not nearest.any() and found["first_hit"].tolist() == [2.0] * 60


def test_memory_is_bounded_by_what_is_held_of_own_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queries are taken in groups whose own keys fit."""
    data = blobs(2, 40, 4)
    held: list[tuple[int, int]] = []
    own_keys = retrieval._own_keys

    def noted(*given: Any) -> Any:
        keys = own_keys(*given)
        held.append(tuple(keys.shape))
        return keys

    monkeypatch.setattr(retrieval, "RELEVANT", 200)
    monkeypatch.setattr(retrieval, "_own_keys", noted)
    gallery(Labelled(unit(data.matrix), data.labels)).measured(unit(data.matrix), data.labels)
    assert held == [(5, 40)] * 16


def test_the_protocol_chooses_nothing_and_takes_cosines(shipped: Registry) -> None:
    train, test = blobs(4, 6, 5, shift=3.0), blobs(4, 9, 5, seed=1, shift=3.0)
    fitters = retrieval.fitters(shipped.protocol("retrieval"), "numpy")
    (one,) = select([SelectionData(train)], shipped.protocol("retrieval"), fitters)
    assert (one.how, one.chosen, one.tried, one.on_edge, one.score, one.loss) == ("fixed", {}, None, None, None, None)
    predicted = one.probe.predict(one.preparation(test.matrix))
    expected, *_ = plain(unit(train.matrix), train.labels, unit(test.matrix), test.labels)
    assert np.array_equal(predicted, expected)
    ((_, hits),) = one.probe.judge([one.probe], one.preparation(test.matrix), test.labels)
    assert np.array_equal(hits, expected == test.labels)


def test_what_cannot_be_ranked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="one class only"):
        gallery(Labelled(np.ones((3, 2)), np.ones(3, np.int64)))
    train = blobs(2, 3, 4)
    monkeypatch.setattr(retrieval, "MOST", 5)
    with pytest.raises(ValueError, match="a gallery of 6 images; at most 5"):
        gallery(train)
    monkeypatch.undo()
    train.features[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        gallery(train)
