"""The exact sweep solver against scikit-learn, its growth, and its memory.

Run: .venv/bin/python benchmarks/probes.py few-shot | full | growth | memory | small | large | cost [--rows N ...]

All ratios are of runs in one process, one after the other, on the same rows. scikit-learn is its L-BFGS, the default
solver, on float64; its time for a grid is extrapolated from the strengths that are named. "1e-4" is the loosest of
tol = 1e-4, 1e-5, ... with which its objective is within 1e-4 of the optimum at that strength.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cost import cost
from features import Made, make
from small import small

from probebench.probes import SweepFit, logistic_sweep

CLASSES = 100
DRAWS = 5
FEW_SHOT = np.logspace(-6, 6, 45)
FULL = np.logspace(-4, 4, 10)
NEAR = 1e-4


def timed(work: Callable[..., Any], *arguments: Any, **settings: Any) -> tuple[float, Any]:
    """Returns seconds and what was made."""
    started = time.perf_counter()
    made = work(*arguments, **settings)
    return time.perf_counter() - started, made


def objective(model: Any, rows: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], strength: float) -> float:
    """Returns the objective of a fitted scikit-learn model in float64, scores relative to the own class."""
    scores = rows @ model.coef_.T + model.intercept_
    scores -= scores[np.arange(len(labels)), labels][:, None]
    top = scores.max(axis=1)
    losses = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    sure = top == 0
    scores[np.arange(len(labels)), labels] = -np.inf
    losses[sure] = np.log1p(np.exp(scores[sure]).sum(axis=1))
    return float(strength * losses.sum() + 0.5 * (model.coef_**2).sum())


def scikit_learn(
    made: Made, rows: npt.NDArray[np.integer[Any]], fit: SweepFit, draw: int, places: list[int], near: bool
) -> dict[str, Any]:
    """Times scikit-learn at some strengths of the grid, at its defaults and at the loosest tolerance that is near."""
    from sklearn.linear_model import LogisticRegression

    features, labels = made.train[rows].astype(np.float64), made.labels[rows]
    test = made.test.astype(np.float64)
    default, loosest, excess, lost = [], [], [], []
    for j in places:
        tolerance = 1e-4
        while True:
            model = LogisticRegression(C=float(fit.Cs[j]), tol=tolerance, max_iter=20_000)
            seconds, _ = timed(model.fit, features, labels)
            above = objective(model, features, labels, float(fit.Cs[j])) / float(fit.objective[draw, j]) - 1
            if tolerance == 1e-4:
                default.append(seconds)
                excess.append(above)
                probe = features_score(fit, draw, j, made)
                lost.append(probe - float(model.score(test, made.test_labels)))
            if above <= NEAR or not near or tolerance < 1e-11:
                break
            tolerance /= 10
        loosest.append(seconds)
    return {
        "default": statistics.mean(default),
        "near": statistics.mean(loosest) if near else None,
        "excess": max(excess),
        "lost": max(lost),
    }


def features_score(fit: SweepFit, draw: int, j: int, made: Made) -> float:
    """Returns the accuracy of one of our fits on the test rows."""
    scores = made.test @ fit.coef(draw, j).T + fit.intercept(draw, j)
    return float((fit.classes(draw)[scores.argmax(axis=1)] == made.test_labels).mean())


def draws_of(each: int) -> list[npt.NDArray[np.int64]]:
    """Returns 5 disjoint draws of ``each`` rows a class out of 5 x each."""
    return [np.flatnonzero(np.arange(CLASSES * each * DRAWS) % (each * DRAWS) // each == i) for i in range(DRAWS)]


def few_shot(arguments: argparse.Namespace) -> None:
    """Prints a row a kind, width and number of shots."""
    print(
        "| features | D | shots | ours, 5 x 45 fits | products a fit | worst gap | scikit-learn, default | x | 1e-4 "
        "| x | default is above by | and loses |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for kind in ("unscaled", "default"):
        for width in arguments.widths:
            for each in arguments.shots:
                made = make(CLASSES, each * DRAWS, width, kind)
                draws = draws_of(each)
                runs = [timed(logistic_sweep, made.train, made.labels, draws, FEW_SHOT) for _ in range(3)]
                ours, fit = statistics.median(seconds for seconds, _ in runs), runs[0][1]
                main = each == 5 and width == 2048
                places = list(range(0, 45, 4)) if main else [0, 22, 33, 44]
                theirs = scikit_learn(made, draws[0], fit, 0, places, near=each == 5)
                total, near = (theirs[name] and theirs[name] * 45 * DRAWS for name in ("default", "near"))
                fits = fit.objective.size
                print(
                    f"| {kind} | {width} | {each} | {ours:.2f} s | {fit.work.float32 / fits:.1f} + "
                    f"{fit.work.float64 / fits:.1f} | {(fit.gap / fit.objective).max():.1e} | {total:.0f} s "
                    f"({len(places)} of 45) | {total / ours:.0f} | {f'{near:.0f} s' if near else ''} | "
                    f"{f'{near / ours:.0f}' if near else ''} | {theirs['excess']:.1e} | {100 * theirs['lost']:.1f} |",
                    flush=True,
                )


def full(arguments: argparse.Namespace) -> None:
    """Prints a row a size: ours at its own tolerance, and at the one that scikit-learn is held to."""
    print("| N | D | ours to 1e-6, a strength | products | ours to 1e-4 | products | scikit-learn to 1e-4 | x | x |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in arguments.sizes:
        count, width = (int(part) for part in size.split("x"))
        made = make(CLASSES, count // CLASSES, width, "default", test_each=1)
        everything = [np.arange(count)]
        seconds, products = [], []
        for tolerance in (NEAR, 1e-6):
            runs = [
                timed(logistic_sweep, made.train, made.labels, everything, FULL, tol=tolerance)
                for _ in range(3 if width < 2048 else 1)
            ]
            fit = runs[0][1]
            assert fit.converged.all()
            seconds.append(statistics.median(took for took, _ in runs) / len(FULL))
            products.append(f"{fit.work.float32 / len(FULL):.1f} + {fit.work.float64 / len(FULL):.1f}")
        # At the 25th and the 75th percentile of the grid; near the lowest objective known, which is ours to 1e-6.
        theirs = scikit_learn(made, everything[0], fit, 0, [2, 7], near=True)["near"]
        print(
            f"| {count:,} | {width} | {seconds[1]:.2f} s | {products[1]} | {seconds[0]:.2f} s | {products[0]} | "
            f"{theirs:.1f} s | {theirs / seconds[1]:.1f} | {theirs / seconds[0]:.1f} |",
            flush=True,
        )


def growth(arguments: argparse.Namespace) -> None:
    """Prints seconds against each size, and the exponent of a straight line through their logarithms."""
    base = {"N": 8_000, "D": 512, "K": 50, "strengths": 10, "draws": 1}
    steps = {
        "N": (4_000, 8_000, 16_000, 32_000),
        "D": (256, 512, 1024),
        "K": (25, 50, 100, 200),
        "strengths": (10, 30, 100),
        "draws": (1, 2, 4),
    }
    for name, values in steps.items():
        seconds = []
        for value in values:
            size = {**base, name: value}
            made = make(size["K"], size["N"] // size["K"], size["D"], "default", test_each=1)
            grid = np.logspace(-4, 4, size["strengths"])
            draws = [np.arange(len(made.labels))] * size["draws"]
            took = [timed(logistic_sweep, made.train, made.labels, draws, grid)[0] for _ in range(3)]
            seconds.append(statistics.median(took))
        exponent = np.polyfit(np.log(values), np.log(seconds), 1)[0]
        points = ", ".join(f"{value:,}: {took:.2f} s" for value, took in zip(values, seconds, strict=True))
        print(f"| {name} | {points} | {exponent:.2f} |", flush=True)
    few = make(CLASSES, 5 * DRAWS, 2048, "default")
    seconds = [
        statistics.median(
            timed(logistic_sweep, few.train, few.labels, draws_of(5), np.logspace(-6, 6, count))[0] for _ in range(3)
        )
        for count in (10, 30, 100)
    ]
    print(f"| strengths, 5 shots, D = 2048 | 10, 30, 100: {', '.join(f'{one:.2f} s' for one in seconds)} | "
          f"{np.polyfit(np.log([10, 30, 100]), np.log(seconds), 1)[0]:.2f} |")  # fmt: skip


def memory(arguments: argparse.Namespace) -> None:
    """Prints peak memory over what the process held before the fit, as a multiple of the float32 feature matrix."""
    if arguments.shape:
        count, width, each = arguments.shape
        made = make(CLASSES, (each * DRAWS) if each else count // CLASSES, width, "default", test_each=1)
        draws = draws_of(each) if each else [np.arange(count)]
        grid = FEW_SHOT if each else FULL[:4]
        logistic_sweep(made.train[:200], np.arange(200) % 2, [np.arange(200)], [1.0])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        logistic_sweep(made.train, made.labels, draws, grid)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((after - before) * 1024 / made.train.nbytes, made.train.nbytes)
        return
    for count, width, each in (
        (0, 2048, 1),
        (0, 2048, 5),
        (0, 2048, 20),
        (20_000, 768, 0),
        (50_000, 768, 0),
        (50_000, 2048, 0),
    ):
        command = [sys.executable, __file__, "memory", "--shape", str(count), str(width), str(each)]
        done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        what = f"{each} shots x 5 draws" if each else f"N = {count:,}"
        print(f"| {what}, D = {width} | {float(done[1]) / 2**20:.0f} MiB | {float(done[0]):.2f} |", flush=True)


def large(arguments: argparse.Namespace) -> None:
    """Times one large problem, and cuML beside it where it is installed; the sizes are ImageNet's by default."""
    made = make(arguments.classes, arguments.rows // arguments.classes, arguments.width, "default", test_each=1)
    grid = np.logspace(-4, 4, arguments.strengths)
    everything = [np.arange(len(made.labels))]
    seconds, fit = timed(
        logistic_sweep, made.train, made.labels, everything, grid, device=arguments.device, tol=arguments.tol
    )
    print(
        f"{made.train.shape}, {arguments.classes} classes, {len(grid)} strengths on {arguments.device}: "
        f"{seconds:.1f} s, worst gap {(fit.gap / fit.objective).max():.1e}, {fit.work}"
    )
    try:
        from probebench.errors import UsageError
        from probebench.probes.base import Labelled
        from probebench.probes.cuml_ import fit_paths

        j = len(grid) // 2
        theirs, _ = timed(fit_paths, [Labelled(made.train, made.labels)], [float(grid[j])])
        print(f"cuML at C = {grid[j]:.2g}: {theirs:.1f} s, {theirs * len(grid) / seconds:.1f} x ours over the grid")
    except UsageError as error:
        print(error)


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["few-shot", "full", "growth", "memory", "small", "large", "cost"])
    parser.add_argument("--shape", nargs=3, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--widths", nargs="+", type=int, default=[2048, 768], help="few-shot: feature widths")
    parser.add_argument("--shots", nargs="+", type=int, default=[5, 1, 10, 20], help="few-shot: images a class")
    parser.add_argument(
        "--sizes", nargs="+", default=["20000x768", "20000x2048", "50000x768", "50000x2048"], help="full: N x D"
    )
    parser.add_argument("--counts", nargs="+", type=int, default=[50, 500, 2000, 20_000], help="small: rows")
    parser.add_argument("--small-widths", nargs="+", type=int, default=[2, 8, 30, 100, 256], help="small: features")
    parser.add_argument("--small-classes", nargs="+", type=int, default=[2, 5, 20], help="small: classes")
    parser.add_argument("--cores", nargs="+", type=int, default=[1], help="cost: threads of each round")
    parser.add_argument("--fit", action="store_true", help="cost: write the constants")
    parser.add_argument("--keep", type=Path, help="cost: write what was measured to this file, or take it from there")
    parser.add_argument("--rows", type=int, default=1_280_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--strengths", type=int, default=45)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    runs = {
        "few-shot": few_shot,
        "full": full,
        "growth": growth,
        "memory": memory,
        "small": small,
        "large": large,
        "cost": cost,
    }
    runs[arguments.what](arguments)


if __name__ == "__main__":
    main()
