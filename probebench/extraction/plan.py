"""What an extraction would take: images, bytes and time, told before it starts."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probebench.backbones.base import Backbone
from probebench.datasets.base import Dataset, Split
from probebench.datasets.check import check_images
from probebench.device import cores
from probebench.extraction.decode import LEAVE_OUT
from probebench.extraction.forward import Forward
from probebench.extraction.jobs import jobs_for
from probebench.extraction.options import ExtractionOptions

# Images that are decoded to learn how long one takes.
_SAMPLE = 16


@dataclass(frozen=True)
class Plan:
    """What the features of one data set would take.

    Attributes:
        images: Images of each split.
        left: Images of each split without features so far, of one layer at least.
        bytes: What is still to be written.
        seconds: Time still to be spent, without what compiling may save; measured on some images and two batches.
    """

    images: dict[str, int]
    left: dict[str, int]
    bytes: int
    seconds: float


def plan(backbone: Backbone, dataset: Dataset, home: Path, options: ExtractionOptions) -> Plan:
    """Returns what ``extract`` would take; writes nothing.

    Raises:
        DatasetError: An image cannot be read, and is not to be skipped.
        FeatureError: One image does not fit into memory.
        CacheError: A feature file is damaged.
    """
    jobs = jobs_for(backbone, dataset, home, options)
    missing = [job for job in jobs if job.found() is None]
    if options.on_error == "stop":
        check_images([*{job.key.split: job.split for job in missing}.values()], LEAVE_OUT)
    left: dict[str, int] = {job.key.split: 0 for job in jobs}
    for job in missing:
        # One pass fills all layers, so the one with the fewest rows says how long it takes.
        left[job.key.split] = max(left[job.key.split], len(job.split) - job.committed())
    return Plan(
        {job.key.split: len(job.split) for job in jobs},
        left,
        sum(job.space() for job in missing),
        sum(left.values()) * _seconds_an_image(backbone, missing[0].split, options) if missing else 0.0,
    )


def _seconds_an_image(backbone: Backbone, split: Split, options: ExtractionOptions) -> float:
    forward = Forward(backbone, options.device, options.dtype, options.first_batch(backbone.input.size))
    computing = forward.seconds_a_batch() / forward.batch_size
    prepare, positions = backbone.prepare, np.linspace(0, len(split) - 1, min(_SAMPLE, len(split))).astype(int)
    began = time.perf_counter()
    for position in positions.tolist():
        prepare(split.images.load(position))
    decoding = (time.perf_counter() - began) / len(positions)
    if options.device == "cpu":
        # Both want the same cores.
        return computing + decoding / cores()
    return max(computing, decoding / max(1, options.decoders(len(split), forward.batch_size)))
