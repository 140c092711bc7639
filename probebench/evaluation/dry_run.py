"""What evaluating would take, told before anything is computed, whether features are cached or not."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.datasets.open import open_dataset
from probebench.device import cores, has_gpu
from probebench.errors import CacheError, UsageError
from probebench.evaluation.plan import ProbePlan
from probebench.probes.backends import backend_name
from probebench.probes.cost import Cell, Cost, Machine, cost, machine
from probebench.registry.dataset import PerClass
from probebench.registry.entry import Shots
from probebench.registry.layers import choose, known_layers
from probebench.registry.load import Registry
from probebench.registry.names import is_source
from probebench.registry.schema import CheckpointSpec, ProtocolSpec


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell that would be evaluated.

    Attributes:
        cached: Whether its features are there; otherwise its sizes are those of the entries.
        done: Whether its result is there, which would be read.
        cost: By the model; None where the backend is not modelled.
    """

    model: str
    dataset: str
    layer: str
    protocol: str
    shots: Shots
    backend: str
    cached: bool
    done: bool
    cost: Cost | None

    def as_row(self) -> dict[str, Any]:
        """Returns it flat, as tables and JSON have it: ``seconds``, ``host`` and ``device`` in bytes."""
        told = asdict(self)
        cost = told.pop("cost") or dict.fromkeys(("fits", "seconds", "host", "device"))
        return {**told, **cost}


def this_machine() -> Machine:
    """Returns the machine of the model that stands for this one."""
    return machine("h100") if has_gpu() else machine("cpu", cores())


def of_plan(plan: ProbePlan, out: Path, where: Machine) -> Iterator[PlannedCell | CacheError]:
    """Yields the cells of tasks on cached features, or which split is missing or damaged."""
    for task in plan.tasks:
        try:
            told = cost(task.cell, where)
        except CacheError as error:
            yield error
            continue
        yield PlannedCell(
            model=task.model,
            dataset=task.dataset_id,
            layer=task.key.layer,
            protocol=task.protocol.id,
            shots=task.shots,
            backend=task.backend,
            cached=True,
            done=task.path(out).exists(),
            cost=told,
        )


@dataclass(frozen=True)
class Sizes:
    """Images of a data set: to train of each class, to validate, to test."""

    id: str
    images: tuple[int, ...]
    val: int
    test: int

    @classmethod
    def of(cls, name: str, registry: Registry, root: Path) -> "Sizes":
        """Takes them from the entry, or from a source of the user's, which is opened.

        Raises:
            UsageError: There is no such data set.
            DatasetError: The source is damaged.
        """
        if is_source(name):
            opened = open_dataset(name, registry, root)
            if "train" not in opened.splits:
                raise UsageError(f"{name} has a test part only, and nothing to fit a probe on")
            images = np.unique(opened.splits["train"].labels, return_counts=True)[1]
            rows = {split: len(part) for split, part in opened.splits.items()}
            return cls(opened.id, tuple(images.tolist()), rows.get("val", 0), rows["test"])
        spec = registry.dataset(name)
        if not spec.splits.train:
            raise UsageError(f"{name} has a test part only, and nothing to fit a probe on")
        each = _each(spec.class_counts.train, spec.splits.train, len(spec.classes))
        return cls(spec.id, each, spec.splits.val, spec.splits.test)


def _each(counts: PerClass, total: int, classes: int) -> tuple[int, ...]:
    """Returns images of each class; spread evenly where the entry does not know."""
    if isinstance(counts, int):
        return (counts,) * classes
    if counts == "unknown":
        return tuple(total // classes + (label < total % classes) for label in range(classes))
    return tuple(counts)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What else is asked for, as ``probebench.evaluate`` takes it."""

    protocols: Sequence[str]
    shots: Sequence[Shots] | None
    draws: int | None
    backend: str
    layers: Sequence[str]


def of_entries(
    asked: Asked, spec: CheckpointSpec, sizes: Sizes, registry: Registry, where: Machine
) -> Iterator[PlannedCell]:
    """Yields the cells of a checkpoint on a data set whose features are not there, by what the entries say.

    Raises:
        UsageError: A protocol is unknown or has a solver of its own, or the checkpoint has no such layer.
    """
    for name in asked.protocols:
        protocol = registry.protocol(name)
        backend = backend_name(protocol, asked.backend)
        for layer, width in _layers(spec, protocol, asked.layers).items():
            for shots in asked.shots or protocol.shots:
                if protocol.refuses(shots):
                    continue
                cell = Cell(
                    protocol=protocol,
                    shots=shots,
                    images=sizes.images,
                    val=sizes.val,
                    test=sizes.test,
                    width=width,
                    draws=asked.draws or protocol.draws,
                    backend=backend,
                )
                yield PlannedCell(
                    model=spec.id,
                    dataset=sizes.id,
                    layer=layer,
                    protocol=name,
                    shots=shots,
                    backend=backend,
                    cached=False,
                    done=False,
                    cost=cost(cell, where),
                )


def _layers(spec: CheckpointSpec, protocol: ProtocolSpec, patterns: Sequence[str]) -> dict[str, int]:
    """Returns the layers that would be evaluated, with the width of each."""
    offered = {**(known_layers(spec.architecture) or {}), spec.output.layer: spec.output.features}
    chosen = choose(patterns, offered, spec.id) if patterns else (protocol.layer_of(spec),)
    return {name: offered[name] for name in chosen}
