"""From a split's images to blocks of features, in this process: decoding ahead, the network, batch after batch."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch

from probebench.arrays import Features
from probebench.backbones.base import Backbone
from probebench.cache.header import Settings
from probebench.datasets.base import Images
from probebench.errors import CacheError, DatasetError, FeatureError, one_line
from probebench.extraction.clock import Clock
from probebench.extraction.decode import LEAVE_OUT, OutOfReach, PixelBatch, decoded
from probebench.extraction.forward import Forward, first_unusable, ready
from probebench.extraction.options import ExtractionOptions


@dataclass(frozen=True)
class Block:
    """Features (n, D) of consecutive images.

    Attributes:
        rows: The features; those of images that could not be read mean nothing.
        failed: Why an image could not be read, by its position in the block.
        batch_size: Images that went through the network at once.
        deep: How many of them have more than 8 bits a value.
    """

    rows: Features
    failed: dict[int, str] = field(default_factory=dict)
    batch_size: int = 0
    deep: int = 0


def check_block(block: Block, options: ExtractionOptions, model: str, ids: Sequence[str]) -> None:
    """Refuses features that must not be used.

    Args:
        block: The features.
        options: Whether images that cannot be read are left out.
        model: Id of the checkpoint.
        ids: Names of its images.

    Raises:
        DatasetError: An image could not be read, and is not to be left out, or was out of reach.
        FeatureError: Features are not finite.
    """
    for line in block.failed.values():
        if isinstance(line, OutOfReach):
            raise DatasetError(line)
        if options.on_error == "stop":
            raise DatasetError(f"{line} ({LEAVE_OUT})")
    if (wrong := first_unusable(block.rows)) is not None:
        hint = "" if options.dtype == "fp32" else "; try --dtype fp32"
        raise FeatureError(
            f"{model} gave NaN or infinite features for image {ids[wrong]}: its weights or its preprocessing may be "
            f"wrong{hint}"
        )


class Executor(Protocol):
    """What turns images into features: this process, or workers elsewhere."""

    def settings(self, images: int) -> Settings:
        """Returns the settings under which it would compute a split of ``images`` images, for the file to record."""

    def blocks(self, settings: Settings, images: Images, start: int, stop: int, clock: Clock) -> Iterator[Block]:
        """Yields the features of the images from ``start`` to ``stop``, in order, under recorded settings."""


class LocalExecutor:
    """Computes in this process."""

    def __init__(self, backbone: Backbone, options: ExtractionOptions, images: int) -> None:
        """Takes the backbone, and the number of images that are to come in all."""
        self._backbone, self._options, self._images = backbone, options, images

    @cached_property
    def _ready(self) -> Forward:
        return ready(self._backbone, self._options, self._images)

    @cached_property
    def _batch(self) -> int:
        return self._ready.batch_size

    def settings(self, images: int) -> Settings:
        """Returns the settings under which it would compute a split of ``images`` images."""
        return {
            "device": self._options.device,
            # A last batch is padded, so a batch larger than the split would only compute padding; but what is
            # compiled is compiled for one size.
            "batch_size": self._batch if self._ready.compiled else min(self._batch, images),
            "threads": torch.get_num_threads(),
            "channels_last": True,
            "compile": self._ready.compiled,
            "folded": self._ready.folded,
            "torch": str(torch.__version__),
        }

    def blocks(self, settings: Settings, images: Images, start: int, stop: int, clock: Clock) -> Iterator[Block]:
        """Yields the features of the images from ``start`` to ``stop``, in order, under recorded settings.

        Raises:
            CacheError: This machine cannot compute under those settings.
            FeatureError: A decoding process died, or one image does not fit into memory.
        """
        forward = self._under(settings)
        asked = forward.batch_size
        workers = self._options.decoders(stop - start, asked)
        batches = decoded(
            images,
            self._backbone.prepare,
            self._backbone.blank(),
            start,
            stop,
            batch_size=asked,
            workers=workers,
            pin=settings["device"] == "cuda",
        )
        decoded_batches: deque[tuple[dict[int, str], int]] = deque()

        def pixels() -> Iterator[torch.Tensor]:
            for batch in _timed(batches, clock):
                decoded_batches.append((batch.failed, batch.deep))
                yield batch.pixels

        for rows, size in forward.stream(pixels(), clock):
            failed, deep = decoded_batches.popleft()
            yield Block(rows, failed, size, deep)
        if forward.batch_size < asked:
            self._batch = min(self._batch, forward.batch_size)

    def _under(self, settings: Settings) -> Forward:
        """Returns the network under recorded settings: the one that is ready where it fits, else one made for them."""
        device, compiled, batch = str(settings["device"]), bool(settings["compile"]), int(settings["batch_size"])
        # Files that were begun before there was folding go on without it.
        folded = bool(settings.get("folded", False))
        if device == "cuda" and not torch.cuda.is_available():
            raise CacheError(
                "this extraction began on a CUDA device, which is not here; finish it there or delete its .partial file"
            )
        torch.set_num_threads(int(settings["threads"]))
        forward = self.__dict__.get("_ready")
        if forward is None or (forward.device, forward.compiled, forward.folded) != (device, compiled, folded):
            forward = Forward(self._backbone, device, self._options.dtype, batch, compiled, folded)
            if compiled:
                _try(forward)
        forward.batch_size = batch
        return forward


def _try(forward: Forward) -> None:
    try:
        forward.seconds_a_batch()
    except Exception as error:
        raise CacheError(
            f"this extraction began compiled, which does not work here ({one_line(error, 120)}); "
            "finish it where it began, or delete its .partial file"
        ) from error


def _timed(batches: Iterator[PixelBatch], clock: Clock) -> Iterator[PixelBatch]:
    while True:
        with clock.waiting_for("decode"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch
