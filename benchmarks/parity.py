"""The exact backends side by side: objective, predictions and time.

Run: .venv/bin/python benchmarks/parity.py

Each backend fits the same rows at the same strengths. The optimum is the lowest objective that any of them reached; the
torch backend certifies that it is within 1e-6 of the true one. cuML takes part where it and a CUDA device are present.
"""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from features import make
from sklearn.datasets import load_digits

from probebench.errors import UsageError
from probebench.probes.backends import EXACT
from probebench.probes.base import FittedProbe, Labelled

Problem = tuple[Labelled, npt.NDArray[np.float64]]


def digits() -> Problem:
    """The first half of scikit-learn's digits, as pixels over 16; tested on the second half."""
    pixels, labels = load_digits(return_X_y=True)
    return Labelled(pixels[:898] / 16, labels[:898]), pixels[898:] / 16


def made(classes: int, each: int, width: int) -> Problem:
    """Features of the benchmarks under the default scaling."""
    rows = make(classes, each, width, "default")
    return Labelled(rows.train.astype(np.float64), rows.labels), rows.test.astype(np.float64)


PROBLEMS: dict[str, tuple[Callable[[], Problem], list[float]]] = {
    "digits, 898 x 64, 10 classes": (digits, [1e-2, 1.0, 1e2]),
    "5 shots, 500 x 2048, 100 classes": (lambda: made(100, 5, 2048), [1e-2, 1.0, 1e2]),
    "1 shot, 100 x 768, 100 classes": (lambda: made(100, 1, 768), [1e-2, 1.0, 1e2]),
    "4,000 x 256, 20 classes": (lambda: made(20, 200, 256), [1e-2, 1.0, 1e2]),
    "200 x 64, 2 classes": (lambda: made(2, 100, 64), [1e-2, 1.0, 1e2]),
}


def objective(probe: FittedProbe, data: Labelled) -> float:
    """Returns C * sum of log-losses + 1/2 ||W||^2; with two classes W is their difference."""
    logs = probe.log_probabilities(data.matrix)
    own = np.searchsorted(probe.classes, data.labels)
    coef = probe.coef[1] - probe.coef[0] if len(probe.classes) == 2 else probe.coef
    return float(-probe.strength * logs[np.arange(len(own)), own].sum() + 0.5 * (coef**2).sum())


def main() -> None:
    """Prints a row a problem and backend."""
    print("| problem | backend | time for 3 strengths | worst (objective - best) / best | predictions unlike torch's |")
    print("|---|---|---|---|---|")
    for name, (build, strengths) in PROBLEMS.items():
        data, test = build()
        fitted: dict[str, tuple[float, list[FittedProbe]]] = {}
        for backend, load in EXACT.items():
            try:
                fit = load()
            except UsageError as error:
                print(f"| {name} | {backend} | not here: {error} | | |")
                continue
            fit([data], strengths[:1])
            started = time.perf_counter()
            (path,) = fit([data], strengths)
            seconds = time.perf_counter() - started
            fitted[backend] = seconds, [probe for probe in path if isinstance(probe, FittedProbe)]
        values = {backend: [objective(probe, data) for probe in path] for backend, (_, path) in fitted.items()}
        best = [min(column) for column in zip(*values.values(), strict=True)]
        for backend, (seconds, path) in fitted.items():
            excess = max(value / least - 1 for value, least in zip(values[backend], best, strict=True))
            unlike = [
                int((one.predict(test) != other.predict(test)).sum())
                for one, other in zip(path, fitted["torch"][1], strict=True)
            ]
            print(
                f"| {name} | {backend} | {seconds:.2f} s | {excess:.1e} | {sum(unlike)} of {3 * len(test)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
