"""Linear probes trained by AdamW or SGD for a fixed number of epochs, as published procedures do it.

The optimizers and schedules are torch's own. They stop after their epochs, wherever that is.

Batches come in the order of torch's DataLoader for the same seed, so that a published procedure that starts from the
same weights takes the same steps. With batch normalisation a fit is what predicts afterwards, on running mean m and
variance v: scores W (x - m) / sqrt(v + eps) + b, which is linear again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from probebench.device import full_float32
from probebench.probes.base import FittedProbe, Labelled, Matrix, OnProgress, host
from probebench.probes.stream import pick_device
from probebench.registry.schema import Solver

# The one seed of the initial weights and of the order of batches.
SEED = 0
MOMENTUM = 0.9


def fit_paths(
    trains: Sequence[Labelled],
    strengths: Sequence[float],
    on_progress: OnProgress = lambda fits: None,
    *,
    solver: Solver,
    rate: float,
    epochs: int,
    every: bool = False,
    start: Matrix | None = None,
) -> list[list[FittedProbe]]:
    """Trains one probe per draw and weight decay, in float32, on a GPU where there is one.

    Args:
        trains: The rows of each draw.
        strengths: Weight decays.
        on_progress: Called with the number of fits just finished.
        solver: Optimizer, batch size and schedule.
        rate: Learning rate.
        epochs: Passes over the rows.
        every: Whether to return the probe after each epoch, and not after the last alone.
        start: Vectors that the head starts from, one for each label 0, 1, ..., with a bias of zero, (labels, D); None:
            torch's random weights.

    Returns:
        A probe a draw and weight decay, or one an epoch in order; where training diverged it holds NaN.
    """
    paths, device = [], pick_device("auto")
    for train in trains:
        rows = torch.as_tensor(train.matrix, dtype=torch.float32, device=device)
        classes, own = np.unique(train.labels, return_inverse=True)
        targets = torch.as_tensor(own, device=device)
        own_start = None if start is None else torch.as_tensor(start[classes], dtype=torch.float32)
        path = []
        for decay in strengths:
            head = _Head.new(rows.shape[1], len(classes), solver, own_start).to(device)
            with full_float32():
                for epoch in _train(head, rows, targets, solver, rate, float(decay), epochs):
                    if every or epoch == epochs:
                        coef, intercept = head.linear()
                        path.append(FittedProbe(strength=float(decay), classes=classes, coef=coef, intercept=intercept))
            on_progress(1)
        paths.append(path)
    return paths


@dataclass(frozen=True)
class _Head:
    """A linear layer, behind a batch normalisation where the procedure has one."""

    layer: torch.nn.Linear
    norm: torch.nn.BatchNorm1d | None
    # Of the order of batches.
    generator: torch.Generator

    @classmethod
    def new(cls, width: int, classes: int, solver: Solver, start: torch.Tensor | None) -> "_Head":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            layer = torch.nn.Linear(width, classes)
            # AdamW's procedure draws weights and order from one generator, SGD's has one of its own for the order.
            generator = torch.Generator().manual_seed(SEED)
            if solver.name == "adamw":
                generator.set_state(torch.get_rng_state())
        if start is not None:
            with torch.no_grad():
                layer.weight.copy_(start)
                layer.bias.zero_()
        return cls(layer, torch.nn.BatchNorm1d(width, affine=False) if solver.batch_norm else None, generator)

    def to(self, device: torch.device) -> "_Head":
        """Returns it on a device: weights and orders are drawn on the CPU, so that every device has the same."""
        norm = None if self.norm is None else self.norm.to(device)
        return replace(self, layer=self.layer.to(device), norm=norm)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layer(rows if self.norm is None else self.norm(rows))
        return scores

    def linear(self) -> tuple[Matrix, Matrix]:
        """Returns coefficients (K, D) and intercepts (K,) on features as they are."""
        coef, intercept = self.layer.weight.detach().double(), self.layer.bias.detach().double()
        if self.norm is not None:
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            coef = coef / (self.norm.running_var.double() + self.norm.eps).sqrt()
            intercept = intercept - coef @ self.norm.running_mean.double()
        return host(coef), host(intercept)


def _train(
    head: _Head, rows: torch.Tensor, targets: torch.Tensor, solver: Solver, rate: float, decay: float, epochs: int
) -> Iterator[int]:
    """Trains a head, and yields after each epoch how many there were."""
    assert solver.batch_size
    optimizer: torch.optim.Optimizer
    if solver.name == "adamw":
        optimizer = torch.optim.AdamW(head.layer.parameters(), lr=rate, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(head.layer.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=decay)
    steps = epochs * -(-len(rows) // solver.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if solver.schedule == "cosine" else None
    for epoch in range(1, epochs + 1):
        order = _order(len(rows), head.generator, solver).to(rows.device)
        for batch in torch.split(order, solver.batch_size):
            # One row has no variance; the procedure leaves it out.
            if head.norm is None or len(batch) > 1:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(head(rows[batch]), targets[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if schedule:
                schedule.step()
        yield epoch


def _order(count: int, generator: torch.Generator, solver: Solver) -> torch.Tensor:
    """Returns the order of an epoch's rows, (count,), as torch's DataLoader draws it.

    It draws a seed for its workers first. Without a generator of its own, as in AdamW's procedure, it then draws the
    seed of a new one for the order. At its end it draws another order, of which it takes nothing.
    """

    def seed() -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())

    seed()
    if solver.name == "adamw":
        generator = torch.Generator().manual_seed(seed())
    order = torch.randperm(count, generator=generator)
    torch.randperm(count, generator=generator)
    return order
