"""A split's images turned into features by workers of an engine, a shard each, under the settings of one file."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from probebench.backbones.base import Backbone
from probebench.cache.header import Settings
from probebench.datasets.base import Images
from probebench.engine import EngineError, Handle, Ray
from probebench.errors import FeatureError
from probebench.extraction.clock import Clock
from probebench.extraction.options import ExtractionOptions
from probebench.extraction.stream import Block, LocalExecutor

# Images a shard, rounded up to whole batches: what a lost worker costs.
SHARD = 2048


@dataclass(frozen=True)
class _Shared:
    """What every worker needs; the network is made ready once in each."""

    backbone: Backbone
    options: ExtractionOptions
    total: int
    threads: int

    @cached_property
    def here(self) -> LocalExecutor:
        torch.set_num_threads(self.threads)
        return LocalExecutor(self.backbone, self.options, self.total)


@dataclass(frozen=True)
class _Shard:
    shared: Handle[_Shared]
    images: Handle[Images]
    settings: Settings
    start: int
    stop: int


def _choose(split: tuple[Handle[_Shared], int]) -> Settings:
    """Runs on a worker: chooses the settings of a split, on a device such as will compute it."""
    shared, images = split
    return shared.get().here.settings(images)


def _compute(shard: _Shard) -> tuple[list[Block], dict[str, float]]:
    """Runs on a worker: computes one shard."""
    clock = Clock()
    blocks = shard.shared.get().here.blocks(shard.settings, shard.images.get(), shard.start, shard.stop, clock)
    return list(blocks), clock.seconds


class RayExecutor:
    """Computes on the workers of an engine."""

    def __init__(self, backbone: Backbone, options: ExtractionOptions, images: int, engine: Ray) -> None:
        """Takes the backbone, and the number of images that are to come in all."""
        self._engine, self._gpu = engine, options.device == "cuda"
        # On a GPU, the cores go to decoding; on a CPU, a worker has as many as this process would use.
        self._cpus = engine.cores_a_gpu if self._gpu else torch.get_num_threads()
        workers = options.workers if options.workers is not None else self._cpus
        options = dataclasses.replace(options, workers=workers)
        self._shared = engine.share(_Shared(backbone, options, images, torch.get_num_threads()))

    def settings(self, images: int) -> Settings:
        """Returns the settings under which a worker would compute a split of ``images`` images."""
        with _told():
            (settings,) = self._engine.map(_choose, [(self._shared, images)], self._cpus, self._gpu)
        return settings

    def blocks(self, settings: Settings, images: Images, start: int, stop: int, clock: Clock) -> Iterator[Block]:
        """Yields the features of the images from ``start`` to ``stop``, in order, under recorded settings.

        Raises:
            FeatureError: A shard lost its worker again and again.
        """
        batch = int(settings["batch_size"])
        size = -(-SHARD // batch) * batch
        handed = self._engine.share(images)
        shards = (
            _Shard(self._shared, handed, settings, first, min(first + size, stop)) for first in range(start, stop, size)
        )
        results = self._engine.map(_compute, shards, self._cpus, self._gpu)
        while True:
            began = time.perf_counter()
            with _told():
                result = next(results, None)
            if result is None:
                return
            blocks, seconds = result
            clock.share(time.perf_counter() - began, seconds)
            yield from blocks


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what the engine says into an error for the user."""
    try:
        yield
    except EngineError as error:
        raise FeatureError(f"{error}: run the same command again to go on") from error
