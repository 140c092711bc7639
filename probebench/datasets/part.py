"""A few images of a data set, for a trial run: a data set of its own, whose results are never ranked."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from probebench.arrays import Positions
from probebench.datasets.base import Dataset, Images, Split, check_dataset
from probebench.datasets.splits import order_within_classes
from probebench.fingerprint import fingerprint
from probebench.registry.names import TRIAL


@dataclass(frozen=True)
class PartImages:
    """Some images of a split."""

    images: Images
    positions: Positions

    def load(self, position: int) -> Image.Image:
        """Decodes one image."""
        return self.images.load(int(self.positions[position]))

    def check(self, position: int) -> None:
        """Looks at one image."""
        self.images.check(int(self.positions[position]))

    def content(self) -> str:
        """Returns a sha256 that changes when the images do, or which of them there are."""
        return fingerprint([self.images.content(), self.positions.tolist()])


def part_of(dataset: Dataset, images: int) -> Dataset:
    """Returns the first images of each split, class by class in turn, in the order of a hash of their ids.

    Args:
        dataset: The whole.
        images: At most so many of each split.

    Raises:
        DatasetError: So few images have fewer than two classes.
    """
    splits = {name: _part(split, images) for name, split in dataset.splits.items()}
    return check_dataset(Dataset(f"{dataset.id}{TRIAL}{images}", dataset.class_names, splits))


def _part(split: Split, images: int) -> Split:
    ordered = order_within_classes(split.ids, split.labels, "probebench trial part").values()
    turns = [(place, position) for positions in ordered for place, position in enumerate(positions.tolist())]
    # Sorting keeps the classes in their order within a turn.
    chosen = np.sort([position for _, position in sorted(turns, key=lambda one: one[0])[:images]])
    return Split(tuple(split.ids[one] for one in chosen), split.labels[chosen], PartImages(split.images, chosen))
