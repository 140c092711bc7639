import numpy as np
import pytest
from sklearn.preprocessing import Normalizer, StandardScaler

from probebench.probes.prepare import Joined, Picked, Preparation, PreparedRows
from probebench.registry import ProtocolSpec, Registry

ROWS = np.random.default_rng(0).normal(size=(40, 6)) * 3 + 20


def protocol(shipped: Registry, **changes: object) -> ProtocolSpec:
    return shipped.protocol("default").model_copy(update={"scale": "none", **changes})


def test_rms_is_the_norm_of_centred_rows(shipped: Registry) -> None:
    features = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]]) + 50
    preparation = Preparation.of(features, shipped.protocol("default"))
    assert preparation.divisor == pytest.approx(np.sqrt((9 + 9 + 16 + 16) / 4))
    assert np.allclose(preparation(features), features / preparation.divisor)
    assert Preparation.of(np.ones((3, 2)), shipped.protocol("default")).divisor == 1.0


def test_standardising_is_scikit_learns(shipped: Registry) -> None:
    rows = ROWS.copy()
    rows[:, 2] = 7.0
    preparation = Preparation.of(rows, protocol(shipped, standardize=True))
    scaler = StandardScaler().fit(rows)
    assert np.allclose(preparation(rows), scaler.transform(rows))
    assert np.allclose(preparation(ROWS), scaler.transform(ROWS)), "measured on the training rows only"


def test_normalising_is_scikit_learns_and_leaves_zeros(shipped: Registry) -> None:
    rows = np.vstack([ROWS, np.zeros((1, 6))])
    preparation = Preparation.of(rows, protocol(shipped, normalize="l2"))
    assert np.allclose(preparation(rows), Normalizer().fit_transform(rows))


def test_all_three_come_in_order(shipped: Registry) -> None:
    preparation = Preparation.of(ROWS, protocol(shipped, normalize="l2", standardize=True, scale="rms"))
    expected = StandardScaler().fit_transform(Normalizer().fit_transform(ROWS))
    assert np.allclose(preparation(ROWS), expected / np.sqrt((expected**2).sum(axis=1).mean()))


def test_rows_are_prepared_as_they_are_read_and_joined() -> None:
    prepared = PreparedRows(ROWS, Preparation(divisor=2.0))
    assert prepared.shape == (40, 6)
    assert np.array_equal(prepared.read(np.array([3, 1])), ROWS[[3, 1]] / 2)
    joined = Joined(ROWS[:10], ROWS[10:])
    assert joined.shape == (40, 6)
    assert np.array_equal(joined.read(np.array([12, 3, 39, 0])), ROWS[[12, 3, 39, 0]])
    picked = Picked(joined, np.array([1, 9, 10, 38]))
    assert picked.shape == (4, 6)
    assert np.array_equal(picked.read(np.array([2, 0])), ROWS[[10, 1]])
