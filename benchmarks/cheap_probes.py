"""Ridge and nearest neighbours against scikit-learn's, in time, labels and memory.

Run: .venv/bin/python benchmarks/cheap_probes.py ridge | knn | memory

Times are of one process, one after the other, on the same float64 rows, prepared as the protocol says; both sides fit
every strength (19) or every k (4) for the same test rows. "unlike" counts test labels, over all strengths or k, that
differ between the two, and in brackets those of them that are no tie: whose best two scores (for neighbours: cosines at
the border of the k nearest) differ by more than rounding.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from features import make

from probebench.probes import knn, ridge
from probebench.probes.base import Labelled
from probebench.probes.grid import strengths
from probebench.probes.prepare import Preparation
from probebench.registry import ProtocolSpec, Registry

CLASSES = 100
ROUNDING = 1e-9
# Rows x features.
RIDGE = [(500, 2048), (5000, 512)]
NEIGHBOURS = [(500, 2048), (20_000, 768)]

Rows = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Returns seconds and what was made."""
    started = time.perf_counter()
    made = work(*arguments)
    return time.perf_counter() - started, made


def problem(protocol: ProtocolSpec, count: int, width: int) -> tuple[Labelled, Rows]:
    """Returns prepared training and test rows."""
    made = make(CLASSES, count // CLASSES, width, "unscaled")
    preparation = Preparation.of(made.train, protocol)
    return Labelled(preparation(made.train), made.labels), preparation(made.test)


def unlike(predicted: list[Labels], expected: list[Labels], ties: list[npt.NDArray[np.bool_]]) -> str:
    """Counts differing labels, and those of them that are no ties."""
    wrong = [one != other for one, other in zip(predicted, expected, strict=True)]
    real = sum(int((one & ~tie).sum()) for one, tie in zip(wrong, ties, strict=True))
    return f"{sum(int(one.sum()) for one in wrong)} ({real}) of {sum(len(one) for one in wrong)}"


def near_ties(scores: Rows) -> npt.NDArray[np.bool_]:
    """Says which rows have two best scores that are equal but for rounding."""
    top = np.sort(scores, axis=1)
    tied: npt.NDArray[np.bool_] = top[:, -1] - top[:, -2] <= ROUNDING * np.abs(top).max()
    return tied


def run_ridge(protocol: ProtocolSpec) -> None:
    """Prints a row a size."""
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV

    def one_by_one(train: Labelled, alphas: list[float]) -> list[Any]:
        return [RidgeClassifier(alpha=alpha).fit(train.features, train.labels) for alpha in alphas]

    alphas = strengths(protocol)
    print("| N x D | ours, 19 strengths | 19 x RidgeClassifier | x | RidgeClassifierCV (leave-one-out) | x | unlike |")
    print("|---|---|---|---|---|---|---|")
    for count, width in RIDGE:
        train, test = problem(protocol, count, width)
        ours, (path,) = timed(ridge.fit_paths, [train], alphas)
        predicted = [probe.predict(test) for probe in path]
        theirs, models = timed(one_by_one, train, alphas)
        crossed, _ = timed(RidgeClassifierCV(alphas=alphas).fit, train.features, train.labels)
        labels = unlike(
            predicted, [model.predict(test) for model in models], [near_ties(probe.scores(test)) for probe in path]
        )
        print(
            f"| {count:,} x {width} | {ours:.2f} s | {theirs:.1f} s | {theirs / ours:.1f} | {crossed:.1f} s | "
            f"{crossed / ours:.1f} | {labels} |",
            flush=True,
        )


def run_knn(protocol: ProtocolSpec) -> None:
    """Prints a row a size."""
    from sklearn.neighbors import KNeighborsClassifier

    temperature = protocol.temperature
    assert temperature

    def votes(far: Rows) -> Rows:
        weights: Rows = np.exp((1 - far) / temperature)
        return weights

    def one_by_one(train: Labelled, test: Rows, ks: list[int]) -> list[Labels]:
        models = [KNeighborsClassifier(k, metric="cosine", weights=votes) for k in ks]
        return [model.fit(train.features, train.labels).predict(test) for model in models]

    print("| N x D, queries | ours, all k | KNeighborsClassifier, each k | x | unlike |")
    print("|---|---|---|---|---|")
    for count, width in NEIGHBOURS:
        train, test = problem(protocol, count, width)
        ks = [int(k) for k in strengths(protocol) if k <= count]
        (path,) = knn.fit_paths([train], ks, temperature=temperature)
        ours, predicted = timed(knn.vote, path, test)
        theirs, expected = timed(one_by_one, train, test, ks)
        cosines = -np.sort(-(test @ train.matrix.T), axis=1)
        ties = [
            cosines[:, k - 1] - cosines[:, k] <= ROUNDING if k < count else np.zeros(len(test), dtype=bool) for k in ks
        ]
        print(
            f"| {count:,} x {width}, {len(test):,} | {ours:.2f} s | {theirs:.2f} s | {theirs / ours:.1f} | "
            f"{unlike(predicted, expected, ties)} |",
            flush=True,
        )


class Endless:
    """A row source that makes unit rows as they are asked for, as if they lay on a disk."""

    def __init__(self, count: int, width: int) -> None:
        """Takes N and D."""
        self.shape = (count, width)

    def read(self, positions: npt.NDArray[Any]) -> Rows:
        """Returns rows that depend on the first position alone."""
        rows = np.random.default_rng(int(positions[0])).normal(size=(len(positions), self.shape[1]))
        unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def run_memory() -> None:
    """Prints the peak of what NumPy holds while either probe is fitted and predicts, at growing numbers of rows."""

    def fit_ridge(train: Labelled) -> None:
        ridge.fit_paths([train], [1.0])

    def predict_knn(train: Labelled) -> None:
        knn.fit_paths([train], [200], temperature=0.07)[0][0].predict(queries)

    print("| N, D = 512 | ridge | knn, 2,000 queries |")
    print("|---|---|---|")
    queries = Endless(2000, 512).read(np.arange(2000))
    for count in (10_000, 40_000, 80_000):
        train = Labelled(Endless(count, 512), np.arange(count) % CLASSES)
        peaks = []
        for work in (fit_ridge, predict_knn):
            tracemalloc.start()
            work(train)
            peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
            tracemalloc.stop()
        print(
            f"| {count:,} ({count * 512 * 8 / 2**20:.0f} MiB) | {peaks[0]:.0f} MiB | {peaks[1]:.0f} MiB |", flush=True
        )


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ridge", "knn", "memory"])
    what = parser.parse_args().what
    if what == "memory":
        run_memory()
    else:
        {"ridge": run_ridge, "knn": run_knn}[what](Registry.load(environ={}).protocol(what))


if __name__ == "__main__":
    main()
