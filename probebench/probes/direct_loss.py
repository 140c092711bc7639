"""The summed logistic loss at scores, with what Newton's method needs of it.

Rows lie last in arrays of scores, (classes, N), so that sums over few classes are sums of long vectors.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Loss:
    """The summed loss at some scores; residual P - Y (K - 1, N), and P (K, N); of two classes p (1 - p), (1, N)."""

    value: float
    residual: Matrix
    spread: Matrix

    @cached_property
    def constants(self) -> Matrix:
        """The inverse of the curvature in the constants, (K - 1, K - 1)."""
        if len(self.spread) == 1:
            return np.array([[1 / max(float(self.spread.sum()), 1e-300)]])
        curvature = -(self.spread @ self.spread.T)
        np.fill_diagonal(curvature, 0.0)
        np.fill_diagonal(curvature, -curvature.sum(1))
        scale = max(float(np.trace(curvature)) / len(curvature), 1e-30)
        curvature[np.diag_indices_from(curvature)] += 1e-13 * scale
        return np.asarray(np.linalg.inv(curvature[:-1, :-1]), dtype=np.float64)


def loss_of_two(sign: Matrix, scores: Matrix) -> Loss:
    """Evaluates scores (1, N) of the first class of two; ``sign`` is 1 for its rows and -1 for others."""
    margin = sign * scores
    small = np.exp(-np.abs(margin))
    total = 1.0 + small
    loss = np.log1p(small) - np.minimum(margin, 0.0)
    wrong = np.where(margin < 0, 1.0, small) / total
    return Loss(float(loss.sum()), -sign * wrong, small / (total * total))


def loss_of_many(own: Labels, scores: Matrix) -> Loss:
    """Evaluates scores (K - 1, N); ``own`` is where each row's class lies in (K, N), counted along."""
    # In place: of many rows, fresh memory takes longer than arithmetic.
    shares = np.concatenate([scores, np.zeros_like(scores[:1])])
    flat = shares.reshape(-1)
    shares -= flat[own]
    top = shares.max(0)
    shares -= top
    np.exp(shares, out=shares)
    flat[own] = 0.0
    others, mine = shares.sum(0), np.exp(-top)
    total = others + mine
    loss = np.where(top == 0, np.log1p(others), top + np.log(total))
    shares /= total
    residual = shares.copy()
    residual.reshape(-1)[own] = -others / total
    flat[own] = mine / total
    return Loss(float(loss.sum()), residual[:-1], shares)
