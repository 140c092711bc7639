"""Several sources as one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from probebench.arrays import Labels, Positions
from probebench.datasets.captioned.captioned import Captioned, number_labels
from probebench.datasets.sources.assemble import Divisible


@dataclass(frozen=True)
class _Joined:
    """The images of several parts, one after the other.

    Attributes:
        parts: Their images.
        places: (N, 2) the part, and the position in it, of each.
    """

    parts: tuple[Divisible, ...]
    places: Positions

    def load(self, position: int) -> Image.Image:
        part, inside = self.places[position].tolist()
        image: Image.Image = self.parts[part].load(inside)
        return image

    def check(self, position: int) -> None:
        part, inside = self.places[position].tolist()
        self.parts[part].check(inside)

    def content(self) -> str:
        digest = hashlib.sha256("".join(part.content() for part in self.parts).encode())
        digest.update(np.ascontiguousarray(self.places).data)
        return digest.hexdigest()

    def take(self, positions: Positions) -> "_Joined":
        return _Joined(self.parts, self.places[positions])


def mixture(parts: Sequence[Captioned]) -> Captioned:
    """Returns the images of all parts as one source; labels of one name are one label.

    It has labels where all parts have them.
    """
    if len(parts) == 1:
        return parts[0]
    places = [(number, inside) for number, part in enumerate(parts) for inside in range(len(part))]
    names, numbers = _labels(parts)
    return Captioned(
        id="+".join(part.id for part in parts),
        ids=tuple(f"{part.id}/{name}" for part in parts for name in part.ids),
        captions=tuple(caption for part in parts for caption in part.captions),
        labels=numbers,
        class_names=names,
        images=_Joined(tuple(part.images for part in parts), np.array(places, dtype=np.int64)),
    )


def _labels(parts: Sequence[Captioned]) -> tuple[tuple[str, ...], Labels | None]:
    named: list[str] = []
    for part in parts:
        if part.labels is None:
            return (), None
        named += [part.class_names[label] for label in part.labels.tolist()]
    return number_labels(named)
