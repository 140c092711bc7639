"""Several checkpoints on several data sets; one that fails does not stop the others."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.backbones.builders import build_backbone
from probebench.datasets.base import Dataset
from probebench.engine import Ray
from probebench.errors import ProbebenchError
from probebench.extraction.extract import extract
from probebench.extraction.jobs import Extracted
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.plan import Plan, plan
from probebench.progress import Progress
from probebench.registry.layers import Layers
from probebench.registry.schema import CheckpointSpec


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What became of one checkpoint on one data set.

    Attributes:
        model: Checkpoint id.
        dataset: Data set id.
        input_size: Side of the input in pixels.
        layers: Which features.
        files: The file of each layer and split.
        seconds: Time of this call.
    """

    model: str
    dataset: str
    input_size: int
    layers: tuple[str, ...]
    files: tuple[Extracted, ...]
    seconds: float

    @property
    def splits(self) -> list[Extracted]:
        """Of each split the file that took most: one pass fills all layers."""
        names = dict.fromkeys(file.split for file in self.files)
        return [max((one for one in self.files if one.split == name), key=lambda one: one.computed) for name in names]


def extract_many(
    checkpoints: Sequence[CheckpointSpec],
    datasets: Sequence[Dataset],
    home: Path,
    options: ExtractionOptions,
    *,
    input_size: int | None = None,
    layers: Sequence[str] = (),
    progress: Progress | None = None,
    engine: Ray | None = None,
) -> Iterator[Extraction | tuple[CheckpointSpec, ProbebenchError]]:
    """Yields each extraction as it is done, or a checkpoint with the error that it, or one data set, ended in.

    All others go on.

    ``layers`` are names and globs of layers; none: each entry's own.

    Raises:
        OSError: The home folder is full or cannot be written; committed rows stay.
        EngineError: Ray lost a worker again and again.
    """
    for spec in checkpoints:
        try:
            backbone = build_backbone(spec, home, input_size, layers)
        except ProbebenchError as error:
            yield spec, error
            continue
        for dataset in datasets:
            began = time.perf_counter()
            try:
                files = extract(backbone, dataset, home, options, progress, engine)
            except ProbebenchError as error:
                yield spec, error
                continue
            yield Extraction(
                model=spec.id,
                dataset=dataset.id,
                input_size=backbone.input.size,
                layers=tuple(backbone.layers),
                files=tuple(files),
                seconds=time.perf_counter() - began,
            )


@dataclass(frozen=True)
class Planned:
    """What one checkpoint on one data set would take.

    Attributes:
        model: Checkpoint id.
        dataset: Data set id.
        input_size: Side of the input in pixels.
        layers: Feature width D of each layer.
        plan: Images, bytes and time.
    """

    model: str
    dataset: str
    input_size: int
    layers: Layers
    plan: Plan


def plan_many(
    checkpoints: Sequence[CheckpointSpec],
    datasets: Sequence[Dataset],
    home: Path,
    options: ExtractionOptions,
    input_size: int | None = None,
    layers: Sequence[str] = (),
) -> Iterator[Planned]:
    """Yields what each checkpoint on each data set would take; writes nothing.

    Raises:
        ProbebenchError: Weights or images are missing or damaged, or one image does not fit into memory.
    """
    for spec in checkpoints:
        backbone = build_backbone(spec, home, input_size, layers)
        for dataset in datasets:
            planned = plan(backbone, dataset, home, options)
            yield Planned(spec.id, dataset.id, backbone.input.size, backbone.layers, planned)
