"""Logistic probes for all draws and all strengths at once, each at the certified optimum of the objective as stated.

    C * sum_i logloss(y_i, x_i W + b) + 1/2 ||W||^2            the intercept b is unpenalised

as scikit-learn's LogisticRegression states it, with its binomial form for two classes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probebench.device import full_float32
from probebench.probes.base import RowSource, as_source
from probebench.probes.direct import DirectPath
from probebench.probes.fits import FittedDraw, SweepFit, collect, take_draw
from probebench.probes.problem import Problem, Work
from probebench.probes.regularization_path import RegularizationPath, Solution, walk
from probebench.probes.rows import Rows, dense, large, reduced
from probebench.probes.sizes import pays, side_by_side, way
from probebench.probes.stream import NOT_FINITE, Feed, free_memory, pick_device, room_for_rows

TOLERANCE = 1e-6
MAX_ITERATIONS = 100


def logistic_sweep(
    X: Any,
    y: Any,
    draws: Sequence[Any],
    Cs: Any,
    *,
    device: str = "auto",
    tol: float = TOLERANCE,
    fit_intercept: bool = True,
    max_iter: int = MAX_ITERATIONS,
    memory: int | None = None,
    on_progress: Callable[[int], None] = lambda fits: None,
) -> SweepFit:
    """Fits logistic probes on every draw at every strength.

    Args:
        X: Features (N, D): an array, a memory map, or a ``RowSource`` that reads blocks from disk.
        y: Labels (N,), ints.
        draws: Index arrays into X, one a draw.
        Cs: Strengths, in any order; C multiplies the summed loss.
        device: "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".
        tol: Relative gap of the objective that each fit is certified to.
        fit_intercept: Whether b is fitted.
        max_iter: Newton steps a fit.
        memory: Bytes that a large draw's rows may take on the device; larger ones are read again, block by block, for
            every product. None: what is free beside the solver's own work, less a reserve.
        on_progress: Called with the number of fits that were just finished.

    Returns:
        The fits; one that did not converge says so in ``converged``, and one warning counts them.

    Raises:
        ValueError: Features are not finite, shapes or lengths differ, a draw is empty or has one class only, or a
            strength is not a positive number.
    """
    source = as_source(X)
    labels = np.asarray(y)
    _check(source, labels)
    parts = [_checked_draw(number, draw, source, labels) for number, draw in enumerate(draws)]
    if not parts:
        raise ValueError("draws is empty; give at least one array of row numbers")
    return sweep(
        parts,
        Cs,
        device=device,
        tol=tol,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
        memory=memory,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class Part:
    """The rows of one draw: positions into a source, and their labels."""

    source: RowSource
    positions: npt.NDArray[np.integer[Any]]
    labels: npt.NDArray[Any]

    @classmethod
    def whole(cls, source: RowSource, labels: npt.NDArray[Any]) -> "Part":
        """Takes all rows of a source as a draw."""
        _check(source, labels)
        return _checked_draw(0, np.arange(source.shape[0]), source, labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, D and K."""
        return len(self.positions), self.source.shape[1], len(self.named[0])

    @cached_property
    def named(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
        """The classes of the draw, (K,), and each row's position among them, (N,)."""
        return np.unique(self.labels, return_inverse=True)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Returns rows start to stop of the draw.

        Raises:
            ValueError: They are not finite.
        """
        features = self.source.read(self.positions[start:stop])
        if not np.isfinite(features).all():
            raise ValueError(NOT_FINITE)
        return features


def sweep(
    parts: Sequence[Part],
    Cs: Any,
    *,
    device: str = "auto",
    tol: float = TOLERANCE,
    fit_intercept: bool = True,
    max_iter: int = MAX_ITERATIONS,
    memory: int | None = None,
    on_progress: Callable[[int], None] = lambda fits: None,
) -> SweepFit:
    """Is ``logistic_sweep`` for draws that need not share one array; they share D."""
    strengths = _checked_strengths(Cs)
    if not tol > 0:
        raise ValueError(f"tol must be positive, not {tol}")
    if isinstance(max_iter, bool) or not isinstance(max_iter, int | np.integer) or max_iter < 1:
        raise ValueError(f"max_iter must be a positive whole number, not {max_iter!r}")
    where = pick_device(device)
    order = np.argsort(strengths, kind="stable")
    fits: dict[int, FittedDraw] = {}
    work = Work()
    with torch.inference_mode(), full_float32(), _within_float64():
        for everyone in _groups(parts, where):
            numbers = everyone
            shape = parts[everyone[0]].shape
            if where.type == "cpu" and way(*shape[:2]) != "large" and pays(len(everyone), len(order), *shape):
                numbers = []
                for number in everyone:
                    alone = _solved_directly(parts[number], strengths, order, tol, fit_intercept, max_iter, work)
                    if alone is None:
                        numbers.append(number)
                        continue
                    fits[number] = alone
                    on_progress(len(order))
            if not numbers:
                continue
            group = [parts[number] for number in numbers]
            rows = _rows(group, where, fit_intercept, memory)
            named = [part.named for part in group]
            own = torch.as_tensor(np.stack([own for _, own in named]), device=where)
            problem = Problem(rows=rows, labels=own, classes=group[0].shape[2], tol=tol, fit_intercept=fit_intercept)
            path = RegularizationPath(problem, max_iter)
            solved: dict[int, Solution] = {}
            for position in walk(strengths):
                solved[position] = path.solve(float(strengths[position]))
                on_progress(len(group))
            work.add(problem.work)
            for place, (number, (classes, _)) in enumerate(zip(numbers, named, strict=True)):
                fits[number] = take_draw(rows, classes, [solved[j] for j in range(len(order))], place)
    return collect([fits[i] for i in range(len(parts))], strengths, tol, work, parts[0].source.shape[1])


@contextmanager
def _within_float64() -> Iterator[None]:
    """Tells of features whose squares float64 cannot hold."""
    try:
        yield
    except (torch.linalg.LinAlgError, ZeroDivisionError, OverflowError) as error:  # type: ignore[attr-defined]
        raise ValueError(
            "features or strengths are too large or too small for float64; divide features by their RMS"
        ) from error


def _solved_directly(
    part: Part,
    strengths: npt.NDArray[np.float64],
    order: npt.NDArray[np.intp],
    tol: float,
    fit_intercept: bool,
    max_iter: int,
    work: Work,
) -> FittedDraw | None:
    """Solves a small draw, from the smallest strength (the first of ``order``); None where rounding stops it short."""
    features = part.read(0, len(part.positions))
    classes, own = part.named
    path = DirectPath(features, own, len(classes), tol, fit_intercept, max_iter)
    solved: dict[int, Solution] = {}
    for position in order.tolist():
        solution = path.solve(float(strengths[position]))
        if solution is None:
            return None
        solved[position] = solution
    work.add(path.work)
    return path.fitted(classes, [solved[position] for position in range(len(order))])


def _checked_strengths(Cs: Any) -> npt.NDArray[np.float64]:
    strengths = np.asarray(Cs, dtype=np.float64)
    if strengths.ndim != 1 or not len(strengths):
        raise ValueError(f"Cs must be a list of strengths, at least one; it has shape {strengths.shape}")
    if not (np.isfinite(strengths) & (strengths > 0)).all():
        raise ValueError("every strength in Cs must be a positive, finite number")
    return strengths


def _check(source: RowSource, labels: npt.NDArray[Any]) -> None:
    if labels.ndim != 1:
        raise ValueError(f"y must be one label a row, (N,); it has shape {labels.shape}")
    if len(labels) != source.shape[0]:
        raise ValueError(f"X has {source.shape[0]} rows and y has {len(labels)} labels; they must be as many")
    if source.shape[1] < 1:
        raise ValueError("X has no features")


def _checked_draw(number: int, draw: Any, source: RowSource, labels: npt.NDArray[Any]) -> Part:
    positions = np.asarray(draw)
    if positions.size == 0:
        raise ValueError(f"draw {number} is empty")
    if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(f"draw {number} must be a 1-D array of row numbers")
    if positions.min() < 0 or positions.max() >= len(labels):
        raise ValueError(f"draw {number} names a row outside 0 to {len(labels) - 1}")
    part = Part(source, positions, labels[positions])
    if part.shape[2] < 2:
        raise ValueError(f"draw {number} has one class only; a probe needs at least two")
    return part


def _groups(parts: Sequence[Part], device: torch.device) -> Iterator[list[int]]:
    """Puts draws of one shape together, as many as pay side by side."""
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for number, part in enumerate(parts):
        shapes.setdefault(part.shape, []).append(number)
    for (count, width, classes), numbers in shapes.items():
        most = 1
        if way(count, width) != "large":
            # Scores and probabilities, rows in both precisions, features and their Gram matrix.
            bytes_each = count * (24 * classes + 20 * width + 8 * count)
            most = (
                max(1, free_memory(device) // 4 // bytes_each)
                if device.type == "cuda"
                else side_by_side(count, classes)
            )
        for start in range(0, len(numbers), most):
            yield numbers[start : start + most]


def _rows(group: Sequence[Part], device: torch.device, centre: bool, memory: int | None) -> Rows:
    first = group[0]
    count, width, classes = first.shape
    kind = way(count, width)
    if kind == "large":
        room = room_for_rows(count, width, classes, device) if memory is None else memory
        return large(Feed.of(first.source, first.positions, device, room), centre)
    features = np.stack([np.asarray(part.read(0, count), dtype=np.float64) for part in group])
    return (reduced if kind == "reduced" else dense)(torch.as_tensor(features, device=device), centre)
