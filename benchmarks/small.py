"""Small problems, fit for fit: one strength of one draw against each of scikit-learn's solvers at an equal gap.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/probes.py small [--counts N ...] [--small-widths D ...]

Rows are centred, as suits scikit-learn best. Each solver, ours too, has the loosest tol of 1e-2, 1e-3, ... with which
its objective is within 1e-6 of the optimum; ours is also run at its default, which certifies that it is so near and
takes longer. Ours and theirs take turns, and the fastest of several rounds counts, in the processor's time of one
thread, so that a machine with other work gives the same ratios. A cell is the worst of the strengths C = 0.1, 10, 1000.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from features import make

from probebench.probes import logistic_sweep

STRENGTHS = (0.1, 10.0, 1000.0)
NEAR = 1e-6
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky")
# Beyond so many coefficients one Hessian of newton-cholesky takes longer than a whole fit of the others.
LARGEST_HESSIAN = 1500
ROUNDS, SECONDS = 15, 1.0
POWERS = range(2, 12)
OURS, CERTIFIED = "ours", "ours, certified"

Rows = npt.NDArray[np.float64]


def seconds(work: Callable[[], Any]) -> float:
    """Returns the processor's time of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peers(rows: Rows, labels: npt.NDArray[np.int64], strength: float) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yields each solver that gets near enough, at its loosest tolerance."""
    from probes import objective
    from sklearn.linear_model import LogisticRegression

    everything = [np.arange(len(labels))]

    def ours(tol: float) -> Any:
        return logistic_sweep(rows, labels, everything, [strength], tol=tol)

    best = float(ours(1e-10).objective[0, 0])
    yield CERTIFIED, lambda: ours(NEAR)
    tol = next(10.0**-power for power in POWERS if float(ours(10.0**-power).objective[0, 0]) / best - 1 <= NEAR)
    yield OURS, lambda: ours(tol)
    classes = len(np.unique(labels))
    for solver in SOLVERS:
        if solver == "newton-cholesky" and (classes if classes > 2 else 1) * rows.shape[1] > LARGEST_HESSIAN:
            continue
        for power in POWERS:
            model = LogisticRegression(C=strength, tol=10.0**-power, max_iter=20_000, solver=solver)
            model.fit(rows, labels)
            if gap_of(model, rows, labels, strength, best, objective) <= NEAR:
                yield solver, lambda model=model: model.fit(rows, labels)  # type: ignore[misc]
                break


def gap_of(
    model: Any, rows: Rows, labels: npt.NDArray[np.int64], strength: float, best: float, objective: Callable[..., float]
) -> float:
    """Returns how far a fitted model is above the best objective, relative to it."""
    if len(model.classes_) == 2:
        margin = np.where(labels == model.classes_[1], 1.0, -1.0) * (rows @ model.coef_[0] + model.intercept_[0])
        value = strength * np.logaddexp(0.0, -margin).sum() + 0.5 * (model.coef_**2).sum()
        return float(value) / best - 1
    return objective(model, rows, labels, strength) / best - 1


def measure(classes: int, count: int, width: int) -> tuple[float, float, str]:
    """Returns the worst ratio of a shape, ours at equal gap and certified, and at which strength and against whom."""
    made = make(classes, max(count // classes, 1), width, "default", test_each=1)
    rows, labels = made.train.astype(np.float64), made.labels
    rows -= rows.mean(axis=0)
    found = []
    for strength in STRENGTHS:
        runs = dict(peers(rows, labels, strength))
        fastest, names = dict.fromkeys(runs, np.inf), [name for name in runs if name not in (OURS, CERTIFIED)]
        started = time.perf_counter()
        for number in range(ROUNDS):
            slowest = 3 * min(fastest[name] for name in names)
            for name, work in runs.items():
                # A peer that is three times slower than another after two rounds is not the fastest of them.
                if number < 2 or name not in names or fastest[name] < slowest:
                    fastest[name] = min(fastest[name], seconds(work))
            if number >= 2 and time.perf_counter() - started > SECONDS:
                break
        peer = min(names, key=lambda name: fastest[name])
        ratio, certified = fastest[peer] / fastest[OURS], fastest[peer] / fastest[CERTIFIED]
        found.append((ratio, certified, f"{1000 * fastest[OURS]:.2f} ms, {peer}, C = {strength:g}"))
    return min(found)


def small(arguments: argparse.Namespace) -> None:
    """Prints a row a size."""
    print("| N | D | K | scikit-learn's fastest / ours, worst strength | certified | ours, against, at |")
    print("|---|---|---|---|---|---|")
    ratios = []
    for classes in arguments.small_classes:
        for count in arguments.counts:
            for width in arguments.small_widths:
                ratio, certified, where = measure(classes, count, width)
                ratios.append(ratio)
                print(f"| {count:,} | {width} | {classes} | {ratio:.2f} | {certified:.2f} | {where} |", flush=True)
    print(f"{len(ratios)} cells, {sum(one < 0.95 for one in ratios)} below 0.95, the lowest {min(ratios):.2f}")
