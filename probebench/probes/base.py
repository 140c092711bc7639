"""What a probe sees and what it gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels

# Rows that are prepared or predicted at once: 64 MiB of float64 at 2048 features.
BLOCK_ROWS = 4096

Matrix = npt.NDArray[np.float64]


class RowSource(Protocol):
    """Features (N, D) that are read in blocks, from disk say, because they need not fit into memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""

    def read(self, positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the rows at ``positions``, in that order, (len(positions), D)."""


@dataclass(frozen=True)
class ArrayRows:
    """Features in an array (N, D), a memory map or an HDF5 data set."""

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
        if isinstance(self.array, np.ndarray):
            return np.asarray(self.array[positions])
        # HDF5 reads ascending distinct rows; put them back in the order asked for.
        distinct, back = np.unique(positions, return_inverse=True)
        return np.asarray(self.array[distinct])[back]


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
    """Features (N, D), an array or a source that reads rows, with labels (N,)."""

    features: Any
    labels: Labels

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.labels)

    @property
    def source(self) -> RowSource:
        """The features, to be read in blocks."""
        return as_source(self.features)

    @property
    def matrix(self) -> Matrix:
        """All features at once, (N, D) float64."""
        return read_all(self.features)


def read_all(features: Any) -> Matrix:
    """Returns all of an array or a row source, (N, D) float64."""
    source = as_source(features)
    if not source.shape[0]:
        return np.empty(source.shape)
    return np.asarray(source.read(np.arange(source.shape[0])), dtype=np.float64)


def blocks(features: Any) -> Iterator[tuple[slice, Matrix]]:
    """Yields all rows in blocks, in order, as float64."""
    source = as_source(features)
    count, _ = source.shape
    for start in range(0, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        yield slice(start, stop), np.asarray(source.read(np.arange(start, stop)), dtype=np.float64)


# Of each row: the log-loss in nats, NaN where a probe has none, and whether the label is hit, NaN where it diverged.
Judged = tuple[Matrix, Matrix]
# A label for each row, and what there is to say of each beside it, by name (results.predictions.MEASURES).
Measured = tuple[Labels, dict[str, npt.NDArray[Any]]]


class Probe(Protocol):
    """A finished probe: what choosing and predicting need of it."""

    @property
    def strength(self) -> float:
        """The value of the protocol's grid that it was fitted at."""

    @property
    def converged(self) -> bool | None:
        """Whether it is certified to be near its optimum; None where there is none to reach."""

    @property
    def gap(self) -> float | None:
        """Certified bound on (objective - optimum) / objective; None where none is certified."""

    @property
    def iterations(self) -> int | None:
        """The solver's own count; None where it has none."""

    @property
    def finite(self) -> bool:
        """Whether it can predict; a fit that diverged cannot."""

    def predict(self, features: Matrix) -> Labels:
        """Returns a label for each row of features (N, D), (N,)."""

    def measured(self, features: Matrix, labels: Labels) -> Measured:
        """Returns what ``predict`` does, and measures (N,) of each row, whose true labels (N,) these may take."""

    @classmethod
    def judge(cls, path: Sequence[Any], features: Any, labels: Labels) -> list[Judged]:
        """Says how each probe of one draw does on rows whose labels the draw has; all of them at once.

        The rows are an array or, where there is a GPU, a tensor on it; the probes then are what ``on`` made of them.
        """

    def on(self, device: Any) -> Any:
        """Returns the probe with what it computes with on a torch device, to judge and not to keep."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear probe: it predicts the class of the highest score coef x + intercept, ties to the smaller label.

    Attributes:
        strength: C, which multiplies the summed loss; or what else the protocol has a grid of.
        classes: The K labels present in the draw; no other is ever predicted.
        coef: (K, D).
        intercept: (K,).
        converged: Whether the gap is within the tolerance; None where a procedure runs a fixed number of steps.
        gap: Certified bound on (objective - optimum) / objective; None where there is none.
        iterations: The solver's own count; None where it has none.
    """

    strength: float
    classes: Labels
    coef: Matrix
    intercept: Matrix
    converged: bool | None = None
    gap: float | None = None
    iterations: int | None = None

    @property
    def finite(self) -> bool:
        """Whether all coefficients and intercepts are numbers."""
        return bool(np.isfinite(self.coef).all() and np.isfinite(self.intercept).all())

    def scores(self, features: Any) -> Any:
        """Returns coef x + intercept, (N, K), where the features are."""
        # A probe whose training diverged is judged like the others, and never chosen.
        with np.errstate(invalid="ignore", over="ignore"):
            return features @ self.coef.T + self.intercept

    def predict(self, features: Any) -> Labels:
        """Returns the label of the highest score for each row, (N,)."""
        labels: Labels = self.classes[host(self.scores(features).argmax(1))]
        return labels

    def measured(self, features: Any, labels: Labels) -> Measured:
        """Returns the label of each row, and no measures."""
        return self.predict(features), {}

    def on(self, device: Any) -> Self:
        """Returns the probe with its coefficients on a torch device."""
        import torch

        coef: Any = torch.as_tensor(self.coef, device=device)
        intercept: Any = torch.as_tensor(self.intercept, device=device)
        return replace(self, coef=coef, intercept=intercept)

    @classmethod
    def judge(cls, path: Sequence["Linear"], features: Any, labels: Labels) -> list[Judged]:
        """Returns hits; scores that are no log-probabilities have no log-loss."""
        return [without_loss(probe.predict(features) == labels) for probe in path]


def host(values: Any) -> npt.NDArray[Any]:
    """Returns an array, or what was computed on a device, in the host's memory."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def without_loss(hits: npt.NDArray[np.bool_]) -> Judged:
    """Returns the judgement of a probe that knows no probabilities."""
    return np.full(len(hits), np.nan), hits.astype(np.float64)


def log_softmax(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns log-probabilities (N, K) of scores (N, K)."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs: npt.NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


@dataclass(frozen=True)
class FittedProbe(Linear):
    """A logistic probe fitted at one strength: log p(class | x) = log_softmax(coef x + intercept)."""

    def log_probabilities(self, features: Any) -> Any:
        """Returns log p (N, K) for features (N, D)."""
        scores = self.scores(features)
        return log_softmax(scores) if isinstance(scores, np.ndarray) else scores.log_softmax(1)

    @classmethod
    def judge(cls, path: Sequence[Any], features: Any, labels: Labels) -> list[Judged]:
        """Returns log-losses and hits of each probe."""
        return [probe._judged(features, labels) for probe in path]

    def _judged(self, features: Any, labels: Labels) -> Judged:
        logs = self.log_probabilities(features)
        losses = -host(logs[np.arange(len(labels)), np.searchsorted(self.classes, labels)])
        # A probe that diverged has no score; argmax over NaN would make one up.
        return losses, np.where(np.isfinite(losses), self.classes[host(logs.argmax(1))] == labels, np.nan)


# Called with the number of fits that were just finished.
OnProgress = Callable[[int], None]


class Backend(Protocol):
    """Fits a probe for every draw at every strength."""

    def __call__(
        self, trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = ...
    ) -> Sequence[Sequence[Probe]]:
        """Returns, for each draw's rows, one probe a strength in the order of the strengths.

        Strengths that cannot be fitted to so few rows (k above their number) are left out.

        Raises:
            ValueError: Features are not finite, or a draw has one class only.
        """
