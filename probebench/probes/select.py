"""Chooses a probe's strength on validation data. Nothing here is ever handed a test label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probebench.probes.base import FitPath, FittedProbe, Labelled, Matrix
from probebench.registry.schema import ProtocolSpec


@dataclass(frozen=True)
class Scaling:
    """Divides features by one number."""

    divisor: float

    @classmethod
    def of(cls, features: Matrix, kind: Literal["rms", "none"]) -> "Scaling":
        """Measures the divisor on a draw's training rows (N, D).

        "rms" is the root mean squared norm of the centred rows: sqrt(1/N sum_i ||x_i - mean||^2). One image, or
        images that are all alike, have no spread and are left as they are.
        """
        if kind == "none":
            return cls(1.0)
        rms = float(np.sqrt(((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()))
        return cls(rms or 1.0)

    def __call__(self, features: Matrix) -> Matrix:
        """Returns the scaled features, (N, D)."""
        return features / self.divisor


@dataclass(frozen=True)
class Selected:
    """The chosen probe, and on what it was chosen.

    Attributes:
        probe: Fitted on the training rows at the chosen strength; takes scaled features.
        scaling: How features are scaled before the probe sees them.
        how: "validation", or "fixed" where there was nothing to choose on.
        on_edge: Whether the choice is the grid's smallest or largest strength; None where nothing was chosen.
        loss: Mean validation log-loss at the choice, in nats.
        score: Validation accuracy at the choice.
        unconverged: Strengths at which the solver stopped short of its tolerance.
    """

    probe: FittedProbe
    scaling: Scaling
    how: Literal["validation", "fixed"]
    on_edge: bool | None
    loss: float | None
    score: float | None
    unconverged: tuple[float, ...]


def strengths(protocol: ProtocolSpec) -> list[float]:
    """Returns the protocol's grid of C, ascending."""
    grid = protocol.grid
    return sorted(float(value) for value in np.logspace(grid.start, grid.stop, grid.num))


def select(train: Labelled, validation: Labelled, protocol: ProtocolSpec, fit_path: FitPath) -> Selected:
    """Fits every strength on train and takes the one with the smallest validation log-loss, ties to the smaller C.

    Validation rows of a class that the draw lacks say nothing about the strength and are left out. With no validation
    row left, the protocol's fallback strength is taken.
    """
    scaling = Scaling.of(train.features, protocol.scale)
    scaled = Labelled(scaling(train.features), train.labels)
    known = np.isin(validation.labels, train.labels)
    if not known.any():
        probe = fit_path(scaled, [protocol.fallback_C])[0]
        return Selected(probe, scaling, "fixed", None, None, None, _unconverged([probe]))
    held = Labelled(scaling(validation.features[known]), validation.labels[known])
    grid = strengths(protocol)
    probes = fit_path(scaled, grid)
    losses = [log_loss(probe, held) for probe in probes]
    best = choose(losses)
    score = float((probes[best].predict(held.features) == held.labels).mean())
    on_edge = best in (0, len(grid) - 1)
    return Selected(probes[best], scaling, "validation", on_edge, losses[best], score, _unconverged(probes))


def _unconverged(probes: Sequence[FittedProbe]) -> tuple[float, ...]:
    return tuple(probe.C for probe in probes if not probe.converged)


def choose(losses: Sequence[float]) -> int:
    """Returns the position of the smallest loss, the first of equals: the smaller C on an ascending grid."""
    return int(np.argmin(losses))


def log_loss(probe: FittedProbe, data: Labelled) -> float:
    """Returns the mean of -log p(y_i | x_i), in nats."""
    columns = np.searchsorted(probe.classes, data.labels)
    return float(-probe.log_probabilities(data.features)[np.arange(len(data)), columns].mean())
