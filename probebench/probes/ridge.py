"""Ridge regression on the labels, in closed form: every strength from one eigendecomposition.

The objective over N prepared rows x_i of D features and K classes, with targets Y (N, K) of 1 at the row's own class
and -1 elsewhere, as scikit-learn's RidgeClassifier states it (summed over rows, not averaged):

    ||Y - X W - 1 b'||^2 + alpha ||W||^2               W (D, K), b (K,) unpenalised

With b free the optimum has W on centred rows Xc and b = mean of Y - W' mean of x:

    N >= D:  W = (Xc'Xc + alpha I)^-1 Xc'Y        Xc'Xc = Q diag(e) Q' is (D, D), summed up block by block
    N <  D:  W = Xc' (Xc Xc' + alpha I)^-1 Y      Xc Xc' = Q diag(e) Q' is (N, N)

so that both are left diag(1 / (e + alpha)) right, where only the diagonal depends on alpha. All is float64, on a GPU
where there is one.

Where a protocol has a constant feature instead, as big_vision does, rows are (x, constant), not centred, there is no b,
and the weight of the constant is penalised like the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.probes.base import Labelled, Linear, Matrix, OnProgress, host
from probebench.probes.select import Fitters
from probebench.registry.schema import ProtocolSpec


def fit_paths(
    trains: Sequence[Labelled],
    strengths: Sequence[float],
    on_progress: OnProgress = lambda fits: None,
    *,
    constant: float | None = None,
) -> list[list[Linear]]:
    """Fits one probe per draw and strength alpha.

    Args:
        trains: Prepared rows of each draw.
        strengths: Values of alpha, positive.
        on_progress: Called with the number of fits that were just finished.
        constant: A feature of this value, penalised, in place of the intercept.

    Raises:
        ValueError: Features are not finite, or a draw has one class only.
    """
    paths = []
    for train in trains:
        design = _Design.of(train, constant)
        left, values, right = _wide(design) if len(train) < design.width else _tall(design)
        paths.append([_probe(design, alpha, host(left @ (right / (values + alpha)[:, None]))) for alpha in strengths])
        on_progress(len(strengths))
    return paths


def fitters(protocol: ProtocolSpec, backend: str) -> Fitters:
    """Returns what fits a ridge protocol's probes."""
    fit = partial(fit_paths, constant=protocol.constant)
    return lambda rate, last: fit


@dataclass(frozen=True, kw_only=True)
class _Design:
    """The rows and targets of the least-squares problem, read in blocks.

    Attributes:
        own: Position of each row's label in ``classes``, (N,).
        centre: Subtracted from rows, (D,); zeros where there is a constant.
        level: Subtracted from targets, (K,); likewise.
        device: Where products and eigenvectors are computed.
    """

    features: object
    classes: npt.NDArray[np.int64]
    own: npt.NDArray[np.int64]
    centre: Matrix
    level: Matrix
    constant: float | None
    device: Any

    @classmethod
    def of(cls, train: Labelled, constant: float | None) -> "_Design":
        from probebench.probes.stream import blocks_on, pick_device

        classes, own, counts = np.unique(train.labels, return_inverse=True, return_counts=True)
        if len(classes) < 2:
            raise ValueError("a draw has one class only; a probe needs at least two")
        centre, level = np.zeros(train.source.shape[1]), np.zeros(len(classes))
        device = pick_device("auto")
        if constant is None:
            centre = host(sum(block.sum(0) / len(train) for _, block in blocks_on(train.features, device)))
            level = 2.0 * counts / len(train) - 1.0
        return cls(
            features=train.features,
            classes=classes,
            own=own,
            centre=centre,
            level=level,
            constant=constant,
            device=device,
        )

    @property
    def width(self) -> int:
        """Features, the constant among them."""
        return len(self.centre) + (self.constant is not None)

    def parts(self) -> Iterator[tuple[Any, Any]]:
        """Yields rows (n, width) and their targets (n, K), block by block, on the device."""
        from probebench.probes.stream import blocks_on

        centre = self.there(self.centre)
        for place, block in blocks_on(self.features, self.device):
            rows = block - centre
            if self.constant is not None:
                rows = self.arrays.hstack([rows, self.there(np.full((len(rows), 1), self.constant))])
            targets = np.where(self.own[place, None] == np.arange(len(self.classes)), 1.0, -1.0) - self.level
            yield rows, self.there(targets)

    def there(self, values: Matrix) -> Any:
        """Returns an array on the device."""
        from probebench.probes.stream import put

        return put(values, self.device)

    @property
    def arrays(self) -> Any:
        """The library of what is on the device: NumPy or torch, under whose common names all is computed."""
        if self.device.type == "cpu":
            return np
        import torch

        return torch


def _tall(design: _Design) -> tuple[Any, Any, Any]:
    """Returns left (D, D), e (D,) and right (D, K) from Xc'Xc; memory does not grow with the rows."""
    gram = design.there(np.zeros((design.width, design.width)))
    moments = design.there(np.zeros((design.width, len(design.classes))))
    for rows, targets in design.parts():
        gram += rows.T @ rows
        moments += rows.T @ targets
    values, vectors = _spectrum(design, gram)
    return vectors, values, vectors.T @ moments


def _wide(design: _Design) -> tuple[Any, Any, Any]:
    """Returns left (D, N), e (N,) and right (N, K) from Xc Xc', with fewer rows than features."""
    parts = list(design.parts())
    rows, targets = (design.arrays.vstack(own) for own in zip(*parts, strict=True))
    values, vectors = _spectrum(design, rows @ rows.T)
    return rows.T @ vectors, values, vectors.T @ targets


def _spectrum(design: _Design, gram: Any) -> tuple[Any, Any]:
    if not design.arrays.isfinite(gram).all():
        raise ValueError("features are not finite, or too large to be squared")
    values, vectors = design.arrays.linalg.eigh(gram)
    # A Gram matrix has none below zero but for rounding.
    return values.clip(0.0), vectors


def _probe(design: _Design, alpha: float, weights: Matrix) -> Linear:
    if design.constant is None:
        intercept = design.level - design.centre @ weights
    else:
        weights, intercept = weights[:-1], design.constant * weights[-1]
    return Linear(
        strength=float(alpha), classes=design.classes, coef=np.ascontiguousarray(weights.T), intercept=intercept
    )
