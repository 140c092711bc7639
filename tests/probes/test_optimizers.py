import numpy as np
import pytest
import torch

from probebench.probes.base import Labelled
from probebench.probes.optimizers import fit_paths
from probebench.registry import Registry
from tests.arithmetic import tf32_asked_for
from tests.probes.test_sklearn import blobs


def test_adamw_by_hand(shipped: Registry) -> None:
    """Decoupled weight decay and the cosine schedule, written out for one batch an epoch."""
    data = blobs(3, 8, 4)
    solver = shipped.protocol("clip_benchmark").solver
    ((probe,),) = fit_paths([data], [0.01], solver=solver, rate=0.1, epochs=4)
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    x, y = (
        torch.as_tensor(data.matrix, dtype=torch.float32),
        torch.as_tensor(np.unique(data.labels, return_inverse=True)[1]),
    )
    moments = [[torch.zeros_like(value), torch.zeros_like(value)] for value in layer.parameters()]
    for step in range(4):
        rate = 0.1 * 0.5 * (1 + np.cos(np.pi * step / 4))
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(layer(x), y), list(layer.parameters()))
        with torch.no_grad():
            for value, gradient, (first, second) in zip(layer.parameters(), gradients, moments, strict=True):
                value.mul_(1 - rate * 0.01)
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient**2)
                unbiased = second / (1 - 0.999 ** (step + 1))
                value.sub_(rate * (first / (1 - 0.9 ** (step + 1))) / (unbiased.sqrt() + 1e-8))
    assert np.allclose(probe.coef, layer.weight.detach().numpy(), atol=1e-5)
    assert np.allclose(probe.intercept, layer.bias.detach().numpy(), atol=1e-5)


def test_sgd_learns_and_is_the_same_every_time(shipped: Registry) -> None:
    data = blobs(3, 40, 8)
    solver = shipped.protocol("elevater").solver
    state = torch.get_rng_state()
    one, other = (fit_paths([data], [1e-4], solver=solver, rate=0.01, epochs=20)[0][0] for _ in range(2))
    assert np.array_equal(one.coef, other.coef) and one.converged is None
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert (one.predict(data.matrix) == data.labels).mean() > 0.8


@pytest.mark.parametrize("decay", [1e3])
def test_training_that_diverges_says_so(shipped: Registry, decay: float) -> None:
    data = blobs(3, 200, 8)
    ((probe,),) = fit_paths([data], [decay], solver=shipped.protocol("clip_benchmark").solver, rate=0.1, epochs=10)
    assert probe.converged is False and not np.isfinite(probe.coef).all()


def test_labels_keep_their_names(shipped: Registry) -> None:
    data = blobs(3, 10, 4)
    ((probe,),) = fit_paths(
        [Labelled(data.features, data.labels * 10)],
        [0.0],
        solver=shipped.protocol("elevater").solver,
        rate=0.1,
        epochs=5,
    )
    assert set(probe.predict(data.matrix)) <= set(data.labels * 10)


def test_training_is_in_float32_whatever_is_asked_for_outside(shipped: Registry) -> None:
    solver = shipped.protocol("elevater").solver
    with tf32_asked_for() as watched:
        fit_paths([blobs(2, 4, 3)], [0.0], solver=solver, rate=0.1, epochs=1)
    assert watched.arithmetic == {"ieee"}
