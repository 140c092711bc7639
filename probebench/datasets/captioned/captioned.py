"""What a source of pre-training is: images with captions and labels, of which some can be taken."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.datasets.base import check_utf8
from probebench.datasets.sources.assemble import Divisible
from probebench.errors import DatasetError
from probebench.fingerprint import canonical_json


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """N captioned images.

    Attributes:
        id: What a checkpoint's entry calls the source.
        ids: (N,) names of the images, each once.
        captions: (N,) captions.
        labels: (N,) class indices; None where nothing is labelled.
        class_names: One name a class; empty without labels.
        images: The images by position.
        concepts: (N,) names and code points of what each shows; empty where nobody says.
    """

    id: str
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    labels: Labels | None
    class_names: tuple[str, ...]
    images: Divisible
    concepts: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.ids)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 over ids, captions, names of labels and the content of all images."""
        digest = hashlib.sha256(self.images.content().encode())
        for position, (name, caption) in enumerate(zip(self.ids, self.captions, strict=True)):
            label = None if self.labels is None else self.class_names[self.labels[position]]
            digest.update(canonical_json([name, caption, label]).encode())
        return digest.hexdigest()

    def under(self, name: str) -> "Captioned":
        """Returns the same images under another id."""
        return replace(self, id=name)

    def take(self, positions: Positions) -> "Captioned":
        """Returns some of the images, in the order of the positions."""
        chosen = positions.tolist()
        return replace(
            self,
            ids=tuple(self.ids[one] for one in chosen),
            captions=tuple(self.captions[one] for one in chosen),
            labels=None if self.labels is None else self.labels[positions],
            images=self.images.take(positions),
            concepts=tuple(self.concepts[one] for one in chosen) if self.concepts else (),
        )


def number_labels(names: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Returns the classes in the order of their names, and the class of each image as their number."""
    classes, numbers = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return tuple(classes.tolist()), numbers.reshape(-1).astype(np.int64)


def check_captioned(source: Captioned) -> Captioned:
    """Returns a source if it can be trained on.

    Raises:
        DatasetError: It has no images, ids repeat or cannot be written as UTF-8, or a caption is empty.
    """
    if not len(source):
        raise DatasetError(f"source {source.id} has no images")
    if len(set(source.ids)) != len(source.ids):
        raise DatasetError(f"source {source.id}: ids repeat; each image needs its own")
    check_utf8(source.id, source.ids)
    empty = [name for name, caption in zip(source.ids, source.captions, strict=True) if not caption.strip()]
    if empty:
        raise DatasetError(
            f"source {source.id}: {len(empty)} images have an empty caption, first {empty[0]}; write one or remove them"
        )
    return source
