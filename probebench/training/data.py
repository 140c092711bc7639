"""Images on their way to training: in an order and under an augmentation that depend on epoch and image alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch.utils.data import DataLoader

from probebench.arrays import Labels, Positions
from probebench.datasets.base import Images, Split
from probebench.errors import DatasetError
from probebench.registry.schema import Augment, Input
from probebench.training.seeds import Seeds, seeded

Transform = Callable[[Image.Image], Any]


@dataclass(frozen=True)
class ImageSubset:
    """Some images of a split: positions (N,) into it, and their labels (N,)."""

    images: Images
    ids: Sequence[str]
    positions: Positions
    labels: Labels

    @classmethod
    def of(cls, split: Split, positions: Positions | None = None) -> "ImageSubset":
        """Takes images of a split; None takes all."""
        where = np.arange(len(split)) if positions is None else positions
        return cls(split.images, split.ids, where, split.labels[where])

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.positions)


@dataclass(frozen=True)
class TrainingBatch:
    """Inputs (n, ...) and labels (n,)."""

    inputs: torch.Tensor
    labels: torch.Tensor


class ImageItems(torch.utils.data.Dataset[Any]):
    """A torch data set of images; an item is asked for by (epoch, place), where epoch None is evaluation.

    An image that cannot be read is handed over as its error line: raised in a loader process, it would come with that
    process's traceback.
    """

    def __init__(
        self, subset: ImageSubset, evaluate: Transform, train: Transform | None = None, seeds: Seeds | None = None
    ) -> None:
        """Takes the images, what they go through at evaluation and in training, and the seeds of the latter."""
        self._subset, self._evaluate, self._train, self._seeds = subset, evaluate, train, seeds

    def __len__(self) -> int:
        """The number of images."""
        return len(self._subset)

    def __getitem__(self, item: tuple[int | None, int]) -> tuple[Any, int, str | None]:
        """Returns the input tensor, the label, and why there is no input."""
        epoch, place = item
        position = int(self._subset.positions[place])
        label = int(self._subset.labels[place])
        try:
            image = self._subset.images.load(position)
        except DatasetError as error:
            return None, label, str(error)
        if epoch is None or self._train is None or self._seeds is None:
            return self._evaluate(image), label, None
        with seeded(self._seeds("augmentation", epoch, self._subset.ids[position])):
            return self._train(image.convert("RGB")), label, None


class FeatureItems(torch.utils.data.Dataset[Any]):
    """A torch data set of rows that are in memory already, such as frozen features."""

    def __init__(self, rows: Any, labels: Labels) -> None:
        """Takes rows (N, D), a tensor, and labels (N,)."""
        self._rows, self._labels = rows, labels

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._labels)

    def __getitem__(self, item: tuple[int | None, int]) -> tuple[Any, int, str | None]:
        """Returns the row and the label."""
        return self._rows[item[1]], int(self._labels[item[1]]), None


class StoredItems(torch.utils.data.Dataset[Any]):
    """A torch data set of images that were decoded once: a batch is read as one tensor."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Takes pixels (N, 3, S, S), which may lie in a file."""
        self._pixels = pixels

    def __len__(self) -> int:
        """The number of images."""
        return len(self._pixels)

    def __getitems__(self, items: Sequence[tuple[int | None, int]]) -> tuple[Any, Any, None]:
        """Returns images (n, 3, S, S), uint8, and their places (n,)."""
        places = np.array([place for _, place in items], dtype=np.int64)
        return torch.from_numpy(self._pixels[places]), torch.from_numpy(places), None


Items = ImageItems | FeatureItems | StoredItems


def training_transform(spec: Input, augment: Augment) -> Transform:
    """Returns timm's training transform: from an RGB image to a tensor (3, size, size) under the checkpoint's input."""
    transform: Transform = create_transform(
        input_size=spec.size,
        is_training=True,
        scale=augment.crop_scale,
        ratio=augment.crop_ratio,
        hflip=augment.flip,
        color_jitter=augment.color_jitter or None,  # type: ignore[arg-type]
        auto_augment=None if augment.auto_augment == "none" else augment.auto_augment,
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        re_prob=augment.erasing,
        re_mode="pixel",
    )
    return transform


def epoch_sizes(images: int, batch_size: int, drop_last: bool = False) -> list[int]:
    """Returns the number of images of each batch of an epoch.

    Args:
        images: Of the epoch.
        batch_size: Of a batch.
        drop_last: Whether what is left over is dropped; else it is the last batch, but that a single image joins the
            batch before it: batch normalisation learns nothing from one.
    """
    if drop_last:
        size = min(batch_size, images)
        return [size] * (images // size)
    cuts = list(range(0, images, batch_size))
    if len(cuts) > 1 and images - cuts[-1] == 1:
        cuts.pop()
    return [end - start for start, end in zip(cuts, [*cuts[1:], images], strict=True)]


def epoch_batches(images: int, sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Returns the places of each batch of an epoch, of the sizes asked for."""
    order = np.random.default_rng(seed).permutation(images)
    return [batch.tolist() for batch in np.split(order, np.cumsum(sizes))[: len(sizes)]]


class Batches(Protocol):
    """Which items each batch is of, in order; made as they are asked for, since all epochs' may be many."""

    def __len__(self) -> int: ...  # noqa: D105

    def __iter__(self) -> Iterator[Sequence[tuple[int | None, int]]]: ...  # noqa: D105


def load(items: Items, batches: Batches, workers: int, pin: bool = False) -> Iterator[TrainingBatch]:
    """Yields batches in order, decoded ahead by ``workers`` processes.

    Raises:
        DatasetError: An image cannot be read.
        RuntimeError: A loader process was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        items,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=min(workers, len(batches)),
        collate_fn=_collate,
        pin_memory=pin,
        # Else it would draw from the global generator.
        generator=torch.Generator(),
    )
    for inputs, labels, error in loader:
        if error is not None:
            raise DatasetError(error)
        yield TrainingBatch(inputs, labels)


def evaluation_batches(images: int, batch_size: int) -> list[list[tuple[int | None, int]]]:
    """Returns all images, in order."""
    return [
        [(None, place) for place in range(start, min(start + batch_size, images))]
        for start in range(0, images, batch_size)
    ]


def _collate(items: Any) -> tuple[Any, Any, str | None]:
    if isinstance(items, tuple):
        # Stored images come as a batch.
        return items
    errors = [error for _, _, error in items if error is not None]
    if errors:
        return torch.empty(0), torch.empty(0), errors[0]
    return torch.stack([row for row, _, _ in items]), torch.tensor([label for _, label, _ in items]), None
