"""Images that a Python session holds, with their labels, as a data set."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from probebench.arrays import Labels, Positions
from probebench.datasets.base import Dataset, Split
from probebench.datasets.sources.assemble import ANY_SPLIT_NAME, assemble, cut, find_splits
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import fingerprint

# Prefix of ids of such data sets; nobody can open one by its id.
MEMORY = "memory:"


@dataclass(frozen=True)
class HeldImages:
    """Images as they were given."""

    images: tuple[Image.Image, ...]

    def load(self, position: int) -> Image.Image:
        """Returns one image."""
        return self.images[position]

    def check(self, position: int) -> None:
        """Finds nothing wrong: what lies in memory can be read."""

    @cached_property
    def _pixels(self) -> list[list[Any]]:
        return [[one.mode, list(one.size), hashlib.sha256(one.tobytes()).hexdigest()] for one in self.images]

    @property
    def digests(self) -> list[str]:
        """A sha256 of each image's mode, size and pixels."""
        return [fingerprint(one) for one in self._pixels]

    def content(self) -> str:
        """Returns the sha256 over modes, sizes and pixels."""
        return fingerprint(self._pixels)

    def take(self, positions: Positions) -> "HeldImages":
        """Returns some of the images."""
        return HeldImages(tuple(self.images[position] for position in positions.tolist()))


@dataclass(frozen=True)
class _Items:
    ids: tuple[str, ...]
    labels: tuple[int | str, ...]
    images: HeldImages

    @classmethod
    def read(cls, items: Any, ids: Sequence[str] | None, split: str | None) -> "_Items":
        """Reads pairs (image, label) or triples (id, image, label)."""
        where = f" of {split}" if split else ""
        names: list[str] = []
        labels: list[int | str] = []
        images = []
        # What has a length and places, as data sets of torch do, need not know how to end an iteration.
        placed = hasattr(items, "__len__") and hasattr(items, "__getitem__")
        for number, item in enumerate((items[place] for place in range(len(items))) if placed else items):
            if not isinstance(item, tuple | list) or len(item) not in (2, 3):
                raise UsageError(f"item {number}{where} is no pair (image, label) and no triple (id, image, label)")
            *own, image, label = item
            if own and ids is not None:
                raise UsageError(f"item {number}{where} has an id of its own; leave out ids=")
            names.append(str(own[0]) if own else f"{split or 'image'}-{number:06d}")
            labels.append(_label(label, f"item {number}{where}"))
            images.append(held_image(image, f"item {number}{where}"))
        if ids is not None:
            if len(ids) != len(images):
                raise UsageError(f"ids= has {len(ids)} ids for {len(images)} images{where}")
            names = [str(one) for one in ids]
        return cls(tuple(names), tuple(labels), HeldImages(tuple(images)))


def _label(label: Any, where: str) -> int | str:
    if isinstance(label, str):
        return label
    value = np.asarray(label)
    if value.ndim == 0 and value.dtype.kind in "iu":
        return int(value)
    raise UsageError(f"{where} has the label {label!r}; it must be a whole number or a class name")


def held_image(image: Any, where: str) -> Image.Image:
    """Returns an image in memory as PIL has it.

    Args:
        image: PIL, or uint8 (height, width) or (height, width, 3).
        where: What an error calls it.

    Raises:
        UsageError: It is something else.
    """
    if isinstance(image, Image.Image):
        return image
    array = np.asarray(image)
    if array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) and array.size:
        return Image.fromarray(array)
    raise UsageError(
        f"{where} has an image of type {type(image).__name__}, {array.dtype} {array.shape}; it must be a PIL image, or "
        "uint8 (height, width) or (height, width, 3)"
    )


def open_memory(
    items: Iterable[Any] | Mapping[str, Iterable[Any]],
    title: str,
    ids: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
) -> Dataset:
    """Makes a data set of images that are in memory.

    Labels that are names are classes in the order of the alphabet; whole numbers keep their order and name themselves.

    Args:
        items: Pairs (image, label) or triples (id, image, label), cut by the committed rule; or such by split. An image
            is a PIL image, or uint8 (H, W) or (H, W, 3).
        title: What the id is to say.
        ids: One an image, by split where items are; None numbers them.

    Raises:
        UsageError: An item, or a name of a split, is none of those above.
        DatasetError: It cannot be evaluated on: an empty split, ids that repeat, fewer than two classes.
    """
    where = f"data set {MEMORY}{title}"
    if isinstance(items, Mapping):
        for name in items:
            if str(name).lower() not in ANY_SPLIT_NAME:
                raise UsageError(f"{where}: {name!r} is no split; name them train, val and test")
        if ids is not None and not isinstance(ids, Mapping):
            raise UsageError(f"{where} comes by split, so ids= must be a mapping of the same splits")
        places = find_splits({name: name for name in items}, where)
        own = ids or {}
        if lost := [name for name in own if name not in places.values()]:
            raise UsageError(f"{where}: ids= names {lost[0]!r}, which is none of its splits")
        read = {split: _Items.read(items[name], own.get(name), name) for split, name in places.items()}
    else:
        if isinstance(ids, Mapping):
            raise UsageError(f"{where} has no splits, so ids= must be one sequence")
        places = {}
        read = {"all": _Items.read(items, ids, None)}
    values = {label for one in read.values() for label in one.labels}
    if len({type(value) for value in values}) > 1:
        raise DatasetError(f"{where} has class names and numbers for labels; use one kind")
    classes = {value: place for place, value in enumerate(sorted(values, key=lambda one: (str(type(one)), one)))}
    splits = {name: Split(one.ids, _indices(one, classes), one.images) for name, one in read.items()}
    if not places:
        if not len(splits["all"]):
            raise DatasetError(f"{where} has no images")
        splits = cut(splits["all"])
    return assemble(f"{MEMORY}{title}", title, tuple(map(str, classes)), splits)


def _indices(items: _Items, classes: Mapping[int | str, int]) -> Labels:
    return np.array([classes[label] for label in items.labels], dtype=np.int64)
