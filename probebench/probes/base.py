"""What a probe sees and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


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
