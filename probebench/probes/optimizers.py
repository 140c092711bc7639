"""Linear probes trained by AdamW or SGD for a fixed number of epochs, as published procedures do it.

The optimizers and schedules are torch's own. They stop after their epochs, wherever that is.
"""

from collections.abc import Sequence

import numpy as np
import torch

from probebench.device import full_float32
from probebench.probes.base import FittedProbe, Labelled, OnProgress, host
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
) -> list[list[FittedProbe]]:
    """Trains one probe per draw and weight decay, in float32, on a GPU where there is one.

    Args:
        trains: The rows of each draw.
        strengths: Weight decays.
        on_progress: Called with the number of fits just finished.
        solver: Optimizer, batch size and schedule.
        rate: Learning rate.
        epochs: Passes over the rows.

    Returns:
        A probe a draw and weight decay; where training diverged it holds NaN and says converged = False.
    """
    paths, device = [], pick_device("auto")
    for train in trains:
        rows = torch.as_tensor(train.matrix, dtype=torch.float32, device=device)
        classes, own = np.unique(train.labels, return_inverse=True)
        targets = torch.as_tensor(own, device=device)
        path = []
        for decay in strengths:
            with full_float32():
                layer = _train(rows, targets, len(classes), solver, rate, float(decay), epochs)
            coef, intercept = (host(value.detach().double()) for value in (layer.weight, layer.bias))
            finite = bool(np.isfinite(coef).all() and np.isfinite(intercept).all())
            path.append(
                FittedProbe(
                    strength=float(decay),
                    classes=classes,
                    coef=coef,
                    intercept=intercept,
                    converged=None if finite else False,
                )
            )
            on_progress(1)
        paths.append(path)
    return paths


def _train(
    rows: torch.Tensor, targets: torch.Tensor, classes: int, solver: Solver, rate: float, decay: float, epochs: int
) -> torch.nn.Linear:
    assert solver.batch_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        # Drawn on the CPU, so that every device starts from the same weights.
        layer = torch.nn.Linear(rows.shape[1], classes).to(rows.device)
    order = torch.Generator().manual_seed(SEED)
    optimizer: torch.optim.Optimizer
    if solver.name == "adamw":
        optimizer = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay)
    steps = epochs * -(-len(rows) // solver.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if solver.schedule == "cosine" else None
    for _ in range(epochs):
        places = torch.randperm(len(rows), generator=order).to(rows.device)
        for batch in torch.split(places, solver.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(layer(rows[batch]), targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if schedule:
                schedule.step()
    return layer
