"""Measures cells whole, from feature files to results, and fits the constants of the cost model on some of them.

Run: .venv/bin/python benchmarks/probes.py cost [--cores 1 2] [--fit] [--keep FILE]. Each cell runs on made-up features
in a process of its own, forked from one that has loaded all libraries. Seconds are the processor's, of all threads
divided by their number, so that a machine with other work gives the same figures; memory is the process's peak.
``--fit`` writes probebench/probes/cost.json; the cells marked "held out" take no part in it. What nothing here measures
(GPUs, procedures that stop early) is left in that file as it stands.
"""

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from probebench.probes import cost as model

CONSTANTS = Path(model.__file__).with_name("cost.json")
# So many labels to train are exchanged: the best strength then lies inside the grid, as it does for most networks'
# features, and nothing is widened.
NOISE = 0.2


@dataclass(frozen=True)
class Made:
    """A cell on made-up features: protocol, classes, images of each to train and to test, D, shots, backend."""

    protocol: str
    classes: int
    train: int
    test: int
    width: int
    shots: Any
    backend: str = "auto"

    def __str__(self) -> str:
        """Names it."""
        size = f"{self.classes * self.train:,} x {self.width} x {self.classes}"
        return f"{self.protocol}{'' if self.backend == 'auto' else f' ({self.backend})'}, {size}, {self.shots}"


FITTED = [
    Made("default", 2, 20, 50, 64, "full"),
    Made("default", 10, 90, 90, 1280, 5),
    Made("default", 10, 90, 90, 1280, "full"),
    Made("default", 50, 10, 20, 768, 5),
    Made("default", 20, 60, 50, 256, "full"),
    Made("default", 100, 30, 10, 256, "full"),
    Made("default", 10, 1150, 50, 1024, "full"),
    Made("knn", 50, 100, 40, 512, "full"),
    Made("knn", 10, 90, 90, 1280, 5),
    Made("ridge", 50, 100, 40, 512, "full"),
    Made("ridge", 20, 30, 50, 1280, 10),
    Made("mieb", 20, 20, 50, 512, 8),
    Made("clip_lbfgs", 5, 20, 50, 128, "full"),
    Made("clip_benchmark", 10, 30, 50, 512, "full"),
    Made("elevater", 5, 20, 50, 128, "full"),
    Made("default", 10, 30, 50, 256, "full", "sklearn"),
]
HELD_OUT = [
    Made("default", 10, 90, 90, 1280, 1),
    Made("default", 37, 20, 30, 1024, 5),
    Made("default", 60, 20, 20, 512, 10),
    Made("default", 47, 40, 20, 768, "full"),
    Made("default", 25, 600, 10, 768, "full"),
    Made("dinov2_logreg", 10, 30, 90, 1280, 10),
    Made("knn", 20, 400, 20, 768, "full"),
    Made("knn", 50, 30, 20, 768, 10),
    Made("ridge", 20, 150, 50, 1024, "full"),
    Made("ridge", 100, 30, 20, 768, 10),
    Made("mieb", 10, 90, 90, 1280, "full"),
    Made("clip_benchmark", 20, 20, 50, 256, "full"),
]


def measure(made: Made, cores: int) -> dict[str, Any]:
    """Computes a cell here; returns seconds, peak bytes and the products of each sweep."""
    import torch

    from probebench.cache.index import read_index
    from probebench.evaluation.plan import plan_probes
    from probebench.evaluation.probing import evaluate
    from probebench.probes import logistic
    from probebench.registry import Registry

    torch.set_num_threads(cores)
    registry, sweeps = Registry.load(environ={}), []
    sweep: Callable[..., Any] = logistic.sweep

    def noted(parts: Any, Cs: Any, **rest: Any) -> Any:
        fit = sweep(parts, Cs, **rest)
        decades = float(np.log10(max(Cs) / min(Cs)))
        sweeps.append([len(parts), *parts[0].shape, len(Cs), decades, asdict(fit.work)])
        return fit

    solver: Any = logistic
    solver.sweep = noted
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), made)
        (group,) = read_index(Path(folder)).groups
        (task,) = plan_probes(
            registry, [group], [made.protocol], shots=[made.shots], backend=made.backend, any_layer=True
        ).tasks
        Path("/proc/self/clear_refs").write_text("5")
        began, wall = time.process_time(), time.perf_counter()
        result, _ = evaluate(task, Path(folder) / "results")
        spent, wall = time.process_time() - began, time.perf_counter() - wall
    assert result.mean is not None
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": spent / cores, "wall": wall, "peak": 1024 * int(peak.split()[1]), "sweeps": sweeps}


def write(home: Path, made: Made) -> None:
    """Writes the feature files of a cell."""
    from features import make

    from probebench.cache.key import FeatureKey
    from probebench.cache.store import feature_path
    from probebench.cache.writer import FeatureWriter, Provenance
    from probebench.registry import Registry

    entry = Registry.load(environ={}).checkpoint("efficientnet_lite0_in1k")
    data = make(made.classes, made.train, made.width, "unscaled", test_each=made.test)
    shuffled = np.random.default_rng(0).random(len(data.labels)) < NOISE
    data.labels[shuffled] = np.random.default_rng(1).permutation(data.labels[shuffled])
    for split, rows, labels in (("train", data.train, data.labels), ("test", data.test, data.test_labels)):
        key = FeatureKey.of(
            entry,
            weights_digest="a" * 64,
            preprocessing=entry.input,
            dtype="fp32",
            dataset_fingerprint="b" * 64,
            content="c",
            split=split,
        )
        path = feature_path(home, entry.id, "made_up", key)
        path.parent.mkdir(parents=True, exist_ok=True)
        provenance = Provenance(key, entry.id, "made_up", ("train", "test"), {"device": "cpu"})
        ids = [f"{split}-{number}" for number in range(len(labels))]
        with FeatureWriter(path, provenance, ids, labels, made.width) as writer:
            writer.append(rows)
            writer.finish()


def cell_of(made: Made) -> model.Cell:
    """Returns the sizes that the model is told."""
    from probebench.probes.backends import backend_name
    from probebench.registry import Registry

    spec = Registry.load(environ={}).protocol(made.protocol)
    return model.Cell(
        protocol=spec,
        shots=made.shots,
        images=(made.train,) * made.classes,
        val=0,
        test=made.classes * made.test,
        width=made.width,
        draws=spec.draws,
        backend=backend_name(spec, made.backend),
    )


def measured(cells: list[Made], cores: int) -> Iterator[dict[str, Any]]:
    """Measures each cell in a process of its own; small ones first, here, load what they need."""
    for protocol in ("default", "mieb", "knn"):
        measure(Made(protocol, 3, 12, 5, 8, "full"), 1)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        yield from pool.imap(partial(measure, cores=cores), cells, chunksize=1)


def fit(found: dict[int, list[dict[str, Any]]], constants: dict[str, Any]) -> None:
    """Fits the constants of the CPU: products of a path first, then seconds of each kind of work."""
    constants["products"] |= products([run for runs in found.values() for run in runs])
    CONSTANTS.write_text(json.dumps(constants, indent=1) + "\n")
    model._constants.cache_clear()
    cpu, kinds = constants["machines"]["cpu"], [kind for kind in model.KINDS if kind != "copied"]
    counted = [counts_of(made) for made in FITTED]

    def solved(spread: float) -> tuple[float, Any]:
        from scipy.optimize import nnls

        rows, right = [], []
        for cores, runs in found.items():
            for counts, run in zip(counted, runs, strict=False):
                share = [counts[kind] * (1 if kind in model.SERIAL else cores**-spread) for kind in kinds]
                rows.append(np.array(share) / run["seconds"])
                right.append(1.0)
        scale = np.abs(rows).max(axis=0)
        each, off = nnls(np.array(rows) / scale, np.array(right))
        return off, each / scale

    spread = min(np.linspace(0, 1, 21), key=lambda one: solved(one)[0]) if len(found) > 1 else cpu["spread"]
    cpu["spread"] = round(float(spread), 2)
    cpu["seconds"] = {kind: float(f"{one:.3g}") for kind, one in zip(kinds, solved(spread)[1], strict=True)}
    cpu["base"] = min(run["peak"] for runs in found.values() for run in runs)
    CONSTANTS.write_text(json.dumps(constants, indent=1) + "\n")
    model._constants.cache_clear()


def counts_of(made: Made) -> Any:
    """Returns how much of each kind of work the model counts."""
    cell = cell_of(made)
    return model.counts(cell, model.fits_of(cell), gpu=False)


def products(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns products in float32 and float64 and Newton steps: of a path, of a decade of its grid, of a strength."""
    from scipy.optimize import nnls

    from probebench.probes.sizes import pays, way

    rows: dict[str, list[list[float]]] = defaultdict(list)
    counted: dict[str, list[list[float]]] = defaultdict(list)
    for run in runs:
        for times, count, width, classes, strengths, decades, work in run["sweeps"]:
            kind = "large" if way(count, width) == "large" else "small"
            if kind == "small" and pays(times, strengths, count, width, classes):
                continue
            # Draws that are solved side by side share their count of products.
            from probebench.probes.sizes import side_by_side

            paths = math.ceil(times / side_by_side(count, classes)) if kind == "small" else times
            rows[kind].append([1.0, decades, strengths])
            counted[kind].append([work[name] / paths for name in ("float32", "float64", "newton")])
    found = {}
    for kind, ways in rows.items():
        weights = 1 / (1 + np.array(counted[kind]))
        found[kind] = [
            dict(zip(("start", "decade", "strength"), [round(float(one), 2) for one in each], strict=True))
            for i in range(3)
            for each in [nnls(np.array(ways) * weights[:, i, None], np.array(counted[kind])[:, i] * weights[:, i])[0]]
        ]
    return found


def cost(arguments: argparse.Namespace) -> None:
    """Prints a row a cell: seconds and memory, measured and modelled."""
    found: dict[int, list[dict[str, Any]]] = {}
    if arguments.keep and arguments.keep.exists():
        found = {int(cores): runs for cores, runs in json.loads(arguments.keep.read_text()).items()}
    cells = [*FITTED, *HELD_OUT]
    for cores in arguments.cores:
        known = found.setdefault(cores, [])
        for made, run in zip(cells[len(known) :], measured(cells[len(known) :], cores), strict=True):
            known.append(run)
            print(f"{made}: {run['seconds']:.2f} s ({run['wall']:.2f} s by the clock)", file=sys.stderr, flush=True)
            if arguments.keep:
                arguments.keep.write_text(json.dumps(found))
    if arguments.fit:
        fit(found, json.loads(CONSTANTS.read_text()))
    report(found)


def report(found: dict[int, list[dict[str, Any]]]) -> None:
    """Prints the table."""
    print("| cell: protocol, N x D x classes, shots | cores | measured | modelled | ratio | MiB measured | modelled |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for cores, runs in found.items():
        where = model.machine("cpu", cores)
        for number, (made, run) in enumerate(zip([*FITTED, *HELD_OUT], runs, strict=False)):
            told = model.cost(cell_of(made), where)
            assert told is not None
            name = f"{made}{'' if number < len(FITTED) else ' (held out)'}"
            print(
                f"| {name} | {cores} | {run['seconds']:.2f} s | {told.seconds:.2f} s | {told.seconds / run['seconds']:.2f} | "
                f"{run['peak'] / 2**20:.0f} | {told.host / 2**20:.0f} |"
            )
