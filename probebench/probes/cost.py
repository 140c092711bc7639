"""What a cell takes in time and memory, from its sizes alone: a model, beside measured cells in benchmarks/README.md.

Seconds are the sum, over the kinds of work in ``KINDS``, of how much there is of it times what one takes on a machine.
How much is counted from what the solvers do with N rows of D features in K classes. What one takes, and how many
products a fit takes, was fitted on measured cells by ``python benchmarks/probes.py cost`` and stands in cost.json.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from probebench.probes.base import BLOCK_ROWS
from probebench.probes.grid import strengths, tries
from probebench.probes.sizes import (
    BLOCK,
    GPU_BLOCK,
    GPU_CHUNK,
    GPU_SHARE,
    pays,
    side_by_side,
    way,
    whole_cost,
    working_bytes,
)
from probebench.registry.entry import Shots
from probebench.registry.probes import PROBES
from probebench.registry.schema import ProtocolSpec

KINDS = {
    "single": "multiplications of products in float32",
    "double": "multiplications of products in float64",
    "scores": "entries of scores that are passed over: rows x classes, once for every product",
    "rows": "entries of rows that are read, cast or prepared",
    "eigen": "cubes of the side of a matrix whose eigenvectors are found",
    "calls": "calls of libraries; on a GPU, launches",
    "images": "images whose ids are hashed and whose labels are looked at",
    "cells": "what every cell takes: files, records, digests",
    "copied": "bytes that go to the GPU",
}
# More cores do nothing for these.
SERIAL = ("calls", "images", "cells", "copied")
# Passes over rows before the first product: reading, centring, scaling, casting; of large draws in three rounds.
READS, LARGE_READS = 8, 18
# Products with fewer columns than this take as long: they wait for the rows to be read from memory.
SKINNY = 24
# Newton steps of a small draw a strength, and products of one by conjugate gradients (direct.py).
DIRECT_STEPS, DIRECT_PRODUCTS = 4, 20
# Passes over what a query finds, to rank it: cosines become keys, which are sorted and searched for.
RANKED = 6
# Calls that go with a product, and with each further chunk of scores; calls of one step of an optimizer.
CALLS, CHUNK_CALLS, STEP_CALLS = 25, 15, 60

Counts = defaultdict[str, float]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where cells would be computed.

    Attributes:
        words: Which machine it is, and what is known of it.
        seconds: What one of each kind of work takes, on one core or on the GPU.
        base: Bytes that a process holds before it has read a row.
        spread: With n cores, work that they share takes n^-spread of its time on one.
        cores: Of the CPU that are used.
        memory: Bytes of the GPU's memory; None: it is a CPU.
    """

    words: str
    seconds: Mapping[str, float]
    base: float
    spread: float = 0.0
    cores: int = 1
    memory: float | None = None

    @property
    def told(self) -> str:
        """How readers are told of it."""
        return self.words if self.memory is not None else f"{self.cores} cores like {self.words}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The sizes of one cell: a checkpoint on a data set at a number of shots under a protocol.

    Attributes:
        images: Training images of each class.
        val: Validation images of the data set's own.
        test: Test images.
        width: D.
        draws: Draws that are averaged over.
        backend: As results record it.
    """

    protocol: ProtocolSpec
    shots: Shots
    images: tuple[int, ...]
    val: int
    test: int
    width: int
    draws: int
    backend: str

    @property
    def repeats(self) -> int:
        """Draws; full data is one."""
        return 1 if self.shots == "full" else self.draws

    @property
    def rows(self) -> tuple[int, int, int]:
        """Rows of a draw that choosing fits, rows that choose, and rows of the last fit."""
        chosen, shots = self.protocol.selection(self.shots), self.shots
        drawn = sum(self.images) if shots == "full" else sum(min(count, shots) for count in self.images)
        fitted, held = drawn, 0
        if chosen.method == "own-split-or-holdout" and self.val:
            held = self.val
        elif chosen.share:
            held = round(chosen.share * drawn)
            fitted -= held
        elif chosen.most and shots != "full":
            most = min(shots, chosen.most)
            held = sum(min(max(count - shots, 0), most) for count in self.images)
        elif chosen.method == "k-fold":
            held = drawn // self.protocol.folds(shots)
            return drawn - held, held, drawn
        return fitted, held, fitted + held if self.protocol.refits(shots) else fitted


@dataclass(frozen=True)
class Fits:
    """Fits of one shape: so many draws of N rows, each at so many strengths over so many decades."""

    times: int
    rows: int
    strengths: int
    decades: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cell would take.

    Attributes:
        fits: How many fits that is, less those of a widened grid.
        seconds: Of one process.
        host: Peak memory of the process in bytes.
        device: Likewise of the GPU; None where there is none.
    """

    fits: int
    seconds: float
    host: float
    device: float | None


def machine(name: str, cores: int = 1) -> Machine:
    """Returns a machine of cost.json: "cpu", of which so many cores are used, or "h100"."""
    return Machine(**_constants()["machines"][name], cores=cores)


@cache
def _constants() -> dict[str, Any]:
    constants: dict[str, Any] = json.loads(Path(__file__).with_name("cost.json").read_text(encoding="utf-8"))
    return constants


def cost(cell: Cell, where: Machine) -> Cost | None:
    """Returns what a cell would take; None where the backend is not modelled."""
    if cell.backend == "cuml":
        return None
    fits = fits_of(cell)
    host, device, streamed = memory(cell, fits, where)
    counted = counts(cell, fits, where.memory is not None, streamed)
    return Cost(
        fits=sum(one.times * one.strengths for one in fits), seconds=seconds(counted, where), host=host, device=device
    )


def seconds(counted: Mapping[str, float], where: Machine) -> float:
    """Returns what work takes on a machine."""
    shared = where.cores**-where.spread
    return sum(
        amount * where.seconds.get(kind, 0.0) * (1.0 if kind in SERIAL else shared) for kind, amount in counted.items()
    )


def fits_of(cell: Cell) -> list[Fits]:
    """Returns what choosing fits, where something is chosen, and the last fits, where they are others."""
    protocol, repeats = cell.protocol, cell.repeats
    solver, folds = protocol.solver, protocol.folds(cell.shots)
    fitted, held, whole = cell.rows
    values = strengths(protocol)
    found = []
    if held:
        decades = math.log10(values[-1] / max(values[0], values[-1] * 1e-12)) if len(values) > 1 else 0.0
        times = repeats * folds * max(len(solver.learning_rates), 1)
        found.append(Fits(times, fitted, tries(protocol), decades, solver.epochs or 0))
    if not held or folds > 1 or protocol.refits(cell.shots):
        found.append(Fits(repeats, whole, 1, 0.0, solver.final_epochs or 0))
    return found


def counts(cell: Cell, fits: list[Fits], gpu: bool, streamed: bool = False) -> Counts:
    """Returns how much of each kind of work a cell is."""
    n: Counts = defaultdict(float)
    _, held, _ = cell.rows
    width, classes, repeats = cell.width, len(cell.images), cell.repeats
    prepared = 2 * cell.protocol.standardize + 2 * (cell.protocol.scale == "rms") + cell.protocol.normalize.count("l2")
    for one in fits:
        n["rows"] += one.times * one.rows * width * prepared
        _fit(n, cell, one, gpu, streamed)
    # Every probe is judged on the rows that choose, and the chosen ones predict the test rows.
    judged = fits[0].times * fits[0].strengths * max(fits[0].epochs if cell.protocol.solver.epoch else 1, 1)
    for queries, probes, reads in ((held, judged, fits[0].times), (cell.test, repeats, repeats + 1)):
        n["rows"] += 3 * reads * queries * width
        n["copied"] += 4 * gpu * reads * queries * width
        if PROBES[cell.protocol.probe].searches:
            # One search serves all k: products, the best of each block of rows, and the votes; or a ranking.
            searched = queries * (probes if queries == cell.test else fits[0].times)
            n["double"] += searched * fits[-1].rows * width
            passes, most = (1, strengths(cell.protocol)[-1]) if cell.protocol.grid else (RANKED, 0)
            n["scores"] += searched * (passes * fits[-1].rows + int(most))
            n["rows"] += searched / min(BLOCK_ROWS, max(queries, 1)) * fits[-1].rows * width
        else:
            n["double"] += probes * queries * width * max(classes, SKINNY)
            n["scores"] += probes * queries * classes
        n["calls"] += 10 * probes * math.ceil(queries / BLOCK_ROWS)
    n["images"] += (repeats + 1) * sum(cell.images) + cell.test
    n["cells"] += 1
    return n


def _fit(n: Counts, cell: Cell, one: Fits, gpu: bool, streamed: bool) -> None:
    """Adds what some fits are."""
    count, width, classes, fits = one.rows, cell.width, len(cell.images), one.times * one.strengths
    solver, steps = cell.protocol.solver, _constants()["products"]
    if PROBES[cell.protocol.probe].searches:
        n["rows"] += one.times * count * width
    elif cell.protocol.probe == "ridge":
        rank = min(count, width)
        n["rows"] += one.times * 6 * count * width
        n["double"] += one.times * count * width * rank + fits * width * rank * classes
        n["eigen"] += one.times * rank**3
    elif solver.name in ("adamw", "sgd"):
        batches = one.epochs * math.ceil(count / (solver.batch_size or count))
        n["calls"] += fits * STEP_CALLS * batches
        n["single"] += fits * one.epochs * 2 * count * width * max(classes, SKINNY)
        n["scores"] += fits * one.epochs * count * classes
        n["rows"] += fits * 5 * batches * width * classes
    elif cell.backend == "torch":
        _path(n, one, cell, gpu, streamed)
    else:
        # A probe that was added is taken for one of scikit-learn's.
        products = min(steps.get(cell.backend, steps["sklearn"]), 2.0 * (solver.max_iter or math.inf))
        n["double"] += fits * products * count * width * max(classes, SKINNY)
        n["scores"] += fits * products * count * classes
        n["calls"] += fits * products * CALLS


def _products(one: Fits, large: bool) -> list[float]:
    """Returns the products of a path in float32 and in float64, and its Newton steps."""
    known = _constants()["products"]
    small, more = known["small"], known["large"]
    if one.strengths == 1:
        # From nothing; of a large draw most are in float32.
        alone: list[float] = small["fit"]
        return [alone[0] + alone[1], 2.0, alone[2]] if large else alone
    each = zip(small["decade"], small["strength"], more, strict=True)
    return [
        (decade * one.decades + value * one.strengths) * (factor if large else 1.0) for decade, value, factor in each
    ]


def _path(n: Counts, one: Fits, cell: Cell, gpu: bool, streamed: bool) -> None:
    """Adds what our own solver does: to lay the rows out (rows.py), and a path of Newton steps over the strengths."""
    count, width, classes, values = one.rows, cell.width, len(cell.images), one.strengths
    kind, rank, wide = way(count, width), min(count, width), max(classes, SKINNY)
    if not gpu and kind != "large" and pays(one.times, values, count, width, classes):
        unknowns = (classes - 1) * (rank + 1)
        step = min(whole_cost(count, unknowns), DIRECT_PRODUCTS * count * unknowns)
        n["rows"] += one.times * READS * count * width
        n["double"] += one.times * values * (DIRECT_STEPS * step + rank * width * classes)
        n["scores"] += one.times * values * DIRECT_STEPS * count * classes
        n["calls"] += one.times * values * DIRECT_STEPS * CALLS
        return
    single, double, newton = _products(one, kind == "large")
    if kind == "reduced":
        laid_out = 2 * count**2 * width
    else:
        laid_out = count * width**2 + (4 * width**3 if kind == "large" else count * width**2)
    n["double"] += one.times * (laid_out + double * count * rank * wide + values * rank * width * classes)
    # The intercept's curvature (K, K) at each evaluation, twice, and the preconditioner at each step.
    bent = (newton + values) * 2 * count * classes**2 + single * classes**2 * rank
    n["single"] += one.times * (single * count * rank * wide + bent)
    n["eigen"] += one.times * (rank**3 + newton * classes**3)
    n["scores"] += one.times * (single + double) * count * classes
    cast = double if kind == "large" else 0.0
    n["rows"] += one.times * count * width * ((LARGE_READS if kind == "large" else READS) + cast)
    together = 1 if kind == "large" else one.times if gpu else side_by_side(count, classes)
    chunks = math.ceil(count * classes / GPU_CHUNK) - 1 if gpu else 0
    n["calls"] += math.ceil(one.times / together) * (single + double) * (CALLS + CHUNK_CALLS * chunks)
    n["copied"] += gpu * one.times * 4 * count * width * (single + double if streamed else 1)


def memory(cell: Cell, fits: list[Fits], where: Machine) -> tuple[float, float | None, bool]:
    """Returns peak bytes of the host and of the GPU, and whether rows do not fit there and go for each product."""
    gpu = where.memory is not None
    classes, width, (fitted, held, _) = len(cell.images), cell.width, cell.rows
    whole, big = sum(cell.images), max(fits, key=lambda one: one.rows)
    drawn = cell.repeats * (fitted + held)
    # A file of which a quarter is wanted is read whole, and what is wanted is copied out of it.
    reading = 4 * width * (drawn + (whole if 4 * drawn > whole else 0))
    linear = not PROBES[cell.protocol.probe].searches
    probes = 8 * width * classes * sum(one.times * one.strengths for one in fits) * linear
    rank, rows = min(big.rows, width), big.rows * width
    streamed = False
    if cell.protocol.probe != "logistic" or cell.backend != "torch":
        work = 8.0 * rows * (3 if cell.protocol.folds(cell.shots) == 1 else 5) + 24 * rank**2
        if cell.protocol.probe != "logistic" and big.rows > width:
            work = 8.0 * 6 * BLOCK_ROWS * max(width, 512) + 24 * rank**2
    elif way(big.rows, width) == "large":
        room = (
            math.inf
            if where.memory is None
            else GPU_SHARE * (where.memory - working_bytes(big.rows, width, classes, gpu))
        )
        streamed = 4 * rows > room
        work = working_bytes(big.rows, width, classes, gpu) + 8 * 15 * width**2 + 4 * (0 if streamed else rows)
        work += 8.0 * 4 * min(GPU_BLOCK if gpu else BLOCK, rows)
    else:
        side = min(big.times, big.times if gpu else side_by_side(big.rows, classes))
        square = 3 * 8 * rank**2 if big.rows > width else 2 * 8 * big.rows**2 + 8 * rank * width
        work = float(side * (24 * rows + square + 24 * big.rows * classes + 12 * big.rows * rank))
    solved = 8 * rank * classes * big.strengths * (1 if cell.backend == "torch" else 0) * big.times
    predicting = 4 * cell.test * width + 3 * 8 * BLOCK_ROWS * width
    kept = 4.0 * width * drawn
    if gpu:
        host = where.base + max(reading, kept + probes + solved, kept + predicting)
        return host, work + 2 * solved / max(big.times, 1), streamed
    return (
        where.base + max(reading, kept + probes + solved + work, kept + probes / max(big.strengths, 1) + predicting),
        None,
        False,
    )
