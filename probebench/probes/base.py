"""What a probe sees and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class RowSource(Protocol):
    """Features (N, D) that are read in blocks, from disk say, because they need not fit into memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions``, in that order, (len(positions), D)."""


@dataclass(frozen=True)
class ArrayRows:
    """Features in an array (N, D), a memory map or any other array that takes a list of rows."""

    array: Any

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        rows, width = self.array.shape
        return int(rows), int(width)

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions``; without a copy where they are consecutive."""
        first, count = int(positions[0]), len(positions)
        if int(positions[-1]) - first == count - 1 and np.array_equal(positions, np.arange(first, first + count)):
            return np.asarray(self.array[first : first + count])
        return np.asarray(self.array[positions])


def as_source(features: Any) -> RowSource:
    """Returns features as something that reads rows.

    Raises:
        ValueError: They are neither an (N, D) array of numbers nor a row source.
    """
    if hasattr(features, "read") and hasattr(features, "shape"):
        source: RowSource = features
        return source
    array = features if hasattr(features, "shape") and hasattr(features, "dtype") else np.asarray(features)
    if not isinstance(array, np.ndarray) and hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    if len(array.shape) != 2:
        raise ValueError(f"X must be (N, D), one row of features an image; it has shape {tuple(array.shape)}")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise ValueError(f"X must hold real numbers, not {array.dtype}")
    return ArrayRows(array)


@dataclass(frozen=True)
class Labelled:
    """Features (N, D) with labels (N,)."""

    features: Matrix
    labels: Labels

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.labels)


@dataclass(frozen=True)
class FittedProbe:
    """A linear probe fitted at one strength: log p(class | x) = log_softmax(coef x + intercept).

    Attributes:
        C: Strength; multiplies the summed loss.
        classes: The K labels present in the draw; no other is ever predicted.
        coef: (K, D).
        intercept: (K,).
        converged: Whether the solver reached its tolerance.
    """

    C: float
    classes: Labels
    coef: Matrix
    intercept: Matrix
    converged: bool

    def log_probabilities(self, features: Matrix) -> Matrix:
        """Returns log p (N, K) for features (N, D)."""
        scores = features @ self.coef.T + self.intercept
        scores -= scores.max(axis=1, keepdims=True)
        logs: Matrix = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return logs

    def predict(self, features: Matrix) -> Labels:
        """Returns the label of the highest score for each row, (N,)."""
        labels: Labels = self.classes[np.argmax(features @ self.coef.T + self.intercept, axis=1)]
        return labels


# Fits one probe per strength, in the order of the strengths.
FitPath = Callable[[Labelled, Sequence[float]], list[FittedProbe]]
