from collections.abc import Sequence

import numpy as np
import pytest

from probebench.probes import sklearn_
from probebench.probes.base import FittedProbe, Labelled
from probebench.probes.select import Scaling, choose, log_loss, select, strengths
from probebench.registry import ProtocolSpec, Registry
from tests.probes.test_sklearn import blobs


@pytest.fixture
def protocol(shipped: Registry) -> ProtocolSpec:
    return shipped.protocol("default")


def test_default_grid(protocol: ProtocolSpec) -> None:
    assert np.allclose(strengths(protocol), np.logspace(-4, 4, 17), rtol=1e-12)


def test_rms_is_the_norm_of_centred_rows() -> None:
    features = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]]) + 50
    assert Scaling.of(features, "rms").divisor == pytest.approx(np.sqrt((9 + 9 + 16 + 16) / 4))
    assert Scaling.of(features, "none").divisor == 1.0
    assert np.array_equal(Scaling(2.0)(features), features / 2)
    assert Scaling.of(np.ones((3, 2)), "rms").divisor == 1.0


def test_scale_of_a_checkpoint_does_not_matter(protocol: ProtocolSpec) -> None:
    train, held = blobs(3, 6, 8), blobs(3, 6, 8, seed=1)
    plain = select(train, held, protocol, sklearn_.fit_path)
    large = select(
        Labelled(train.features * 1000, train.labels),
        Labelled(held.features * 1000, held.labels),
        protocol,
        sklearn_.fit_path,
    )
    assert plain.probe.C == large.probe.C
    assert plain.loss == pytest.approx(large.loss, rel=1e-4)


def test_the_choice_has_the_smallest_validation_log_loss(protocol: ProtocolSpec) -> None:
    from sklearn.metrics import log_loss as reference

    train, held = blobs(3, 6, 8), blobs(3, 6, 8, seed=1)
    chosen = select(train, held, protocol, sklearn_.fit_path)
    scaled = Labelled(chosen.scaling(train.features), train.labels)
    losses = [
        reference(held.labels, np.exp(probe.log_probabilities(chosen.scaling(held.features))))
        for probe in sklearn_.fit_path(scaled, strengths(protocol))
    ]
    assert chosen.probe.C == strengths(protocol)[int(np.argmin(losses))]
    assert chosen.loss == pytest.approx(min(losses))
    assert chosen.how == "validation" and chosen.on_edge == (np.argmin(losses) in (0, 16))


def test_ties_go_to_the_smaller_strength() -> None:
    assert choose([0.5, 0.3, 0.3, 0.4]) == 1


def constant(train: Labelled, grid: Sequence[float]) -> list[FittedProbe]:
    """A backend whose probes are all alike, at every strength."""
    classes = np.unique(train.labels)
    zero = np.zeros((len(classes), train.features.shape[1]))
    return [FittedProbe(strength, classes, zero, np.zeros(len(classes)), strength < 1) for strength in grid]


def test_equal_losses_take_the_edge_and_say_so(protocol: ProtocolSpec) -> None:
    chosen = select(blobs(3, 2, 4), blobs(3, 2, 4, seed=1), protocol, constant)
    assert chosen.probe.C == pytest.approx(1e-4) and chosen.on_edge
    assert chosen.loss == pytest.approx(np.log(3))
    assert chosen.unconverged == tuple(one for one in strengths(protocol) if one >= 1)


def test_without_validation_images_the_strength_is_fixed(protocol: ProtocolSpec) -> None:
    train = blobs(3, 2, 4)
    none = Labelled(np.empty((0, 4)), np.empty(0, np.int64))
    foreign = Labelled(np.ones((2, 4)), np.array([99, 99]))
    for held in (none, foreign):
        chosen = select(train, held, protocol, sklearn_.fit_path)
        assert (chosen.how, chosen.probe.C) == ("fixed", 1.0)
        assert chosen.loss is chosen.score is chosen.on_edge is None


def test_validation_rows_of_absent_classes_are_left_out(protocol: ProtocolSpec) -> None:
    train, held = blobs(3, 6, 8), blobs(3, 6, 8, seed=1)
    more = Labelled(np.vstack([held.features, np.ones((4, 8))]), np.append(held.labels, [99] * 4))
    assert (
        select(train, more, protocol, sklearn_.fit_path).loss == select(train, held, protocol, sklearn_.fit_path).loss
    )


def test_log_loss_of_a_sure_probe_stays_finite() -> None:
    probe = FittedProbe(1.0, np.array([0, 1]), np.array([[-1e4], [1e4]]), np.zeros(2), True)
    assert log_loss(probe, Labelled(np.array([[1.0]]), np.array([0]))) == pytest.approx(2e4)
