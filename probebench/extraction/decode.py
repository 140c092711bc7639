"""Images of a split, decoded into batches of pixels by processes of their own, in the order of the data set."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from probebench.datasets.base import Images, is_deep
from probebench.errors import DatasetError, FeatureError, OutOfReachError

# Batches that each process has ready, or at work, ahead of the network.
AHEAD = 2
# What an extraction can do about images that cannot be read.
LEAVE_OUT = "--on-error skip leaves them out and records it"


@dataclass(frozen=True)
class PixelBatch:
    """Pixels (n, S, S, 3), uint8, or what a module's own transform gives of n images.

    ``failed`` says why the images at some positions in it are blank, ``deep`` how many have more than 8 bits a value.
    """

    pixels: torch.Tensor
    failed: dict[int, str] = field(default_factory=dict)
    deep: int = 0

    def pin_memory(self) -> "PixelBatch":
        """Returns the batch in page-locked memory, from where a GPU copies while it computes; called by DataLoader."""
        return PixelBatch(self.pixels.pin_memory(), self.failed, self.deep)


Prepare = Callable[[Image.Image], torch.Tensor]


class OutOfReach(str):
    """The error line of an image that could not be fetched now, or transformed: leaving it out would be wrong."""


# What becomes of one image: pixels, why they are blank, and whether it has more than 8 bits a value.
_Item = tuple[torch.Tensor, str | None, bool]


class _Decoded(torch.utils.data.Dataset[_Item]):
    """Pixels from a position on; an unreadable image is handed over as blank pixels and its error line.

    Raising in a decoding process would wrap the error in that process's traceback.
    """

    def __init__(self, images: Images, prepare: Prepare, blank: torch.Tensor, start: int, stop: int) -> None:
        self._images, self._prepare, self._blank, self._start, self._stop = images, prepare, blank, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> _Item:
        try:
            image = self._images.load(self._start + index)
            prepared = self._prepare(image)
        except (OutOfReachError, FeatureError) as error:
            return self._blank, OutOfReach(error), False
        except DatasetError as error:
            return self._blank, str(error), False
        if prepared.shape != self._blank.shape:
            shapes = f"{tuple(prepared.shape)} for one image and {tuple(self._blank.shape)} for others"
            return self._blank, OutOfReach(f"the transform gave {shapes}; it must give one shape"), False
        return prepared, None, is_deep(image)


def _collate(items: Sequence[_Item]) -> PixelBatch:
    failed = {position: error for position, (_, error, _) in enumerate(items) if error is not None}
    # default_collate stacks straight into the memory that processes share.
    pixels = default_collate([pixels for pixels, _, _ in items])
    return PixelBatch(pixels, failed, sum(deep for _, _, deep in items))


def _begin(_: int) -> None:
    """Starts a decoding process: Ctrl-C is the parent's to handle, and the network's cores come first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # On a CPU, decoding then fills the gaps of the forward pass instead of holding up one of its threads.
        os.nice(19)


def decoded(
    images: Images,
    prepare: Prepare,
    blank: torch.Tensor,
    start: int,
    stop: int,
    *,
    batch_size: int,
    workers: int,
    pin: bool,
) -> Iterator[PixelBatch]:
    """Yields the images from ``start`` to ``stop``, ready for the network, in batches of ``batch_size``.

    Args:
        images: Of a split.
        prepare: From an image to what the network takes (``Backbone.prepare``).
        blank: What stands for one that cannot be read.
        start: Position of the first.
        stop: Position after the last.
        batch_size: Images a batch.
        workers: Processes that decode; 0 decodes in this one.
        pin: Whether batches come in page-locked memory, for a GPU.

    Raises:
        FeatureError: A decoding process died.
    """
    loader: DataLoader[_Item] = DataLoader(
        _Decoded(images, prepare, blank, start, stop),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        worker_init_fn=_begin,
        prefetch_factor=AHEAD if workers else None,
    )
    try:
        yield from loader
    except RuntimeError as error:
        # DataLoader's own words; the cause is memory nearly always, the machine's or that of /dev/shm.
        if "DataLoader worker" not in str(error) and "shared memory" not in str(error):
            raise
        raise FeatureError(
            "a decoding process was killed or ran out of (shared) memory; committed rows are kept: "
            "run the same command again with fewer --workers, or --workers 0"
        ) from error
