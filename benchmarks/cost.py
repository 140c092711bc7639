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
from probebench.probes.sizes import pays, side_by_side, way

CONSTANTS = Path(model.__file__).with_name("cost.json")
# So many labels to train are exchanged: the best strength then lies inside the grid, as it does for most networks'
# features, and nothing is widened.
NOISE = 0.2


# Procedures that stop by a rule of their own, whose products a fit are measured on one cell each.
EARLY = ("sklearn", "sklearn-lbfgs", "scipy-lbfgs")
LONG = 8.0
# By the name of the cell.
Runs = dict[str, dict[str, Any]]


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
    Made("dinov2_logreg", 20, 60, 50, 256, "full"),
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
WHOLE = Made("default", 3, 12, 5, 8, "full", "sklearn")
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
    for made in (*(Made(name, 3, 12, 5, 8, "full") for name in ("mieb", "knn", "clip_lbfgs", "clip_benchmark")), WHOLE):
        measure(made, 1)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        yield from pool.imap(partial(measure, cores=cores), cells, chunksize=1)


def fit(found: dict[int, Runs]) -> None:
    """Fits the constants of the CPU: products of a path, seconds of each kind of work, products of early stops."""
    constants = json.loads(CONSTANTS.read_text())
    constants["products"] |= products([run for runs in found.values() for run in runs.values()])
    save(constants)
    cpu, known = constants["machines"]["cpu"], rates()
    kinds = [kind for kind in model.KINDS if kind not in ("copied", *known)]
    told = {str(made): made for made in FITTED}
    ours = {name: counts_of(made) for name, made in told.items() if cell_of(made).backend not in EARLY}

    def solved(spread: float) -> tuple[float, Any]:
        from scipy.optimize import nnls

        rows, rest = [], []
        for cores, runs in found.items():
            for name, counts in ours.items():
                if name in runs:
                    share, spent = cores**-spread, runs[name]["seconds"]
                    rows.append([counts[kind] * (1 if kind in model.SERIAL else share) / spent for kind in kinds])
                    rest.append(max(1 - share * sum(counts[kind] * one for kind, one in known.items()) / spent, 0.0))
        scale = np.abs(rows).max(axis=0)
        each, off = nnls(np.array(rows) / scale, np.array(rest))
        return off, each / scale

    spread = min(np.linspace(0, 1, 21), key=lambda one: solved(one)[0]) if len(found) > 1 else cpu["spread"]
    each = known | dict(zip(kinds, solved(spread)[1].tolist(), strict=True))
    cpu["spread"] = round(float(spread), 2)
    cpu["seconds"] = {kind: float(f"{one:.3g}") for kind, one in each.items()}
    cpu["base"] = min(run["peak"] for runs in found.values() for run in runs.values())
    save(constants)
    for name, made in told.items():
        backend = cell_of(made).backend
        if backend in EARLY and name in found[1]:
            # Linear in the products of a fit, so two values of it tell the one that gives what was measured.
            at = []
            for value in (0.0, 100.0):
                constants["products"][backend] = value
                save(constants)
                at.append(model.seconds(counts_of(made), model.machine("cpu")))
            share = (found[1][name]["seconds"] - at[0]) / (at[1] - at[0])
            constants["products"][backend] = round(100 * max(share, 0.1))
            save(constants)


def rates() -> dict[str, float]:
    """Returns what a multiplication takes in float32 and float64, and an eigendecomposition a cube of its side."""
    import torch

    torch.set_num_threads(1)
    one, other = torch.randn(4096, 768), torch.randn(768, 64)
    square = one[:768].double()
    square = square @ square.mT

    def fastest(work: Callable[[], Any]) -> float:
        spent = []
        for _ in range(5):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        return min(spent)

    cells = 4096 * 768 * 64
    double, half = one.double(), other.double()
    return {
        "single": fastest(lambda: one @ other) / cells,
        "double": fastest(lambda: double @ half) / cells,
        "eigen": fastest(lambda: torch.linalg.eigh(square)) / 768**3,
    }


def save(constants: dict[str, Any]) -> None:
    """Writes the constants, and has the model read them."""
    CONSTANTS.write_text(json.dumps(constants, indent=1) + "\n")
    model._constants.cache_clear()


def counts_of(made: Made) -> Any:
    """Returns how much of each kind of work the model counts."""
    cell = cell_of(made)
    return model.counts(cell, model.fits_of(cell), gpu=False)


def products(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns products in float32 and float64 and Newton steps of our own solver.

    Of small draws: of a fit alone, of a decade of a path and of a strength on it; of large ones how often as many.
    """
    from scipy.optimize import nnls

    alone, paths = defaultdict(list), defaultdict(list)
    for run in runs:
        for times, count, width, classes, strengths, decades, work in run["sweeps"]:
            kind = "large" if way(count, width) == "large" else "small"
            if kind == "small" and pays(times, strengths, count, width, classes):
                continue
            # Draws that are solved side by side share their products.
            groups = math.ceil(times / side_by_side(count, classes)) if kind == "small" else times
            counted = np.array([work[name] / groups for name in ("float32", "float64", "newton")])
            if strengths == 1:
                alone[kind].append(counted)
            else:
                paths[kind].append((decades, strengths, counted))
    sizes = np.array([one[:2] for one in paths["small"]], dtype=float)
    values = np.array([one[2] for one in paths["small"]])
    each = np.array([nnls(sizes / values[:, [i]], np.ones(len(sizes)))[0] for i in range(3)])
    small = {"fit": np.median(alone["small"], axis=0), "decade": each[:, 0], "strength": each[:, 1]}
    like = [counted / (each @ [decades, strengths]) for decades, strengths, counted in paths["large"]]
    return {
        "small": {name: [round(float(one), 2) for one in three] for name, three in small.items()},
        "large": [round(float(one), 2) for one in np.median(like, axis=0)],
    }


def cost(arguments: argparse.Namespace) -> None:
    """Prints a row a cell: seconds and memory, measured and modelled."""
    found: dict[int, Runs] = {}
    if arguments.keep and arguments.keep.exists():
        found = {int(cores): runs for cores, runs in json.loads(arguments.keep.read_text()).items()}
    for cores in arguments.cores:
        known = found.setdefault(cores, {})
        # On more than one core, those that take a minute say no more than the others.
        todo = [made for made in [*FITTED, *HELD_OUT] if str(made) not in known]
        todo = [made for made in todo if cores == 1 or found.get(1, {}).get(str(made), {}).get("seconds", 0) < LONG]
        for made, run in zip(todo, measured(todo, cores) if todo else (), strict=True):
            known[str(made)] = run
            print(f"{made}: {run['seconds']:.2f} s ({run['wall']:.2f} s by the clock)", file=sys.stderr, flush=True)
            if arguments.keep:
                arguments.keep.write_text(json.dumps(found))
    if arguments.fit:
        fit(found)
    report(found)


def report(found: dict[int, Runs]) -> None:
    """Prints the table."""
    print("| protocol, N x D x classes, shots | cores | measured, s | modelled, s | ratio | measured, MiB | modelled |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for cores, runs in found.items():
        where = model.machine("cpu", cores)
        for made in [*FITTED, *HELD_OUT]:
            if str(made) not in runs:
                continue
            run, told = runs[str(made)], model.cost(cell_of(made), where)
            assert told is not None
            name = f"{made}{'' if made in FITTED else ' (held out)'}"
            peaks = f"{run['peak'] / 2**20:.0f} | {told.host / 2**20:.0f}"
            times = f"{run['seconds']:.2f} | {told.seconds:.2f} | {told.seconds / run['seconds']:.2f}"
            print(f"| {name} | {cores} | {times} | {peaks} |")
