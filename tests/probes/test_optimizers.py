from functools import partial

import numpy as np
import pytest
import torch

from probebench.probes.base import Labelled
from probebench.probes.optimizers import fit_paths
from probebench.registry import Registry
from probebench.registry.schema import Solver
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


def test_training_that_diverges_has_no_probe(shipped: Registry) -> None:
    """It has no optimum to reach either, so that ``converged`` says nothing."""
    data = blobs(3, 200, 8)
    ((probe,),) = fit_paths([data], [1e3], solver=shipped.protocol("clip_benchmark").solver, rate=0.1, epochs=10)
    assert probe.converged is None and not probe.finite


def by_hand(data: Labelled, solver: Solver, rate: float, decay: float, epochs: int) -> torch.nn.Module:
    """SGD with a DataLoader and torch's modules, written as the procedures' own code has it."""
    torch.manual_seed(0)
    targets = torch.as_tensor(np.unique(data.labels, return_inverse=True)[1])
    rows = torch.as_tensor(data.matrix, dtype=torch.float32)
    norm, layer = (
        torch.nn.BatchNorm1d(rows.shape[1], affine=False),
        torch.nn.Linear(rows.shape[1], int(targets.max()) + 1),
    )
    head = torch.nn.Sequential(norm, layer) if solver.batch_norm else layer
    adamw = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=decay)
    sgd = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    optimizer = adamw if solver.name == "adamw" else sgd
    own = None if solver.name == "adamw" else torch.Generator().manual_seed(0)
    assert solver.batch_size
    batches = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(rows, targets), solver.batch_size, shuffle=True, generator=own
    )
    steps = epochs * len(batches)
    for step, (x, y) in enumerate(batch for _ in range(epochs) for batch in batches):
        if len(x) == 1 and solver.batch_norm:
            continue
        if solver.schedule == "cosine":
            optimizer.param_groups[0]["lr"] = 0.5 * (1 + np.cos(np.pi * step / steps)) * rate
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.eval()


@pytest.mark.parametrize("name", ["elevater", "clip_benchmark"])
@pytest.mark.parametrize("each", [43, 10])
def test_steps_are_those_of_a_data_loader(shipped: Registry, name: str, each: int) -> None:
    """The same first weights, batches and steps; of 129 rows the last batch of 64 has one, which has no variance."""
    data, solver = blobs(3, each, 8), shipped.protocol(name).solver
    ((probe,),) = fit_paths([data], [0.1], solver=solver, rate=0.1, epochs=3)
    with torch.random.fork_rng():
        head = by_hand(data, solver, 0.1, 0.1, 3)
    with torch.inference_mode():
        expected = head(torch.as_tensor(data.matrix, dtype=torch.float32)).double().numpy()
    assert np.allclose(probe.scores(data.matrix), expected, atol=1e-5)


def test_every_epoch_and_the_last_alone(shipped: Registry) -> None:
    data, solver = blobs(3, 20, 8), shipped.protocol("elevater").solver
    fit = partial(fit_paths, [data], [0.1, 1.0], solver=solver, rate=0.1)
    (path,) = fit(epochs=4, every=True)
    assert [probe.strength for probe in path] == [0.1] * 4 + [1.0] * 4
    assert np.array_equal(path[3].coef, fit(epochs=4)[0][0].coef) and np.array_equal(
        path[5].coef, fit(epochs=2)[0][1].coef
    )


def test_heads_start_from_what_is_given(shipped: Registry) -> None:
    """At a rate that moves nothing, the head is still the vectors of its own labels, behind the running statistics."""
    data, solver = blobs(3, 20, 8), shipped.protocol("elevater").solver
    start = np.random.default_rng(1).normal(size=(8, 8))
    ((probe,),) = fit_paths([data], [0.0], solver=solver, rate=1e-12, epochs=300, start=start)
    rows = data.matrix
    centred = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0, ddof=1) + 1e-5)
    assert np.allclose(probe.scores(rows), centred @ start[probe.classes].T, atol=1e-2)


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
