"""Sets that have a name and lie in files which torchvision lists: its samples become splits; no image is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probebench.arrays import Labels
from probebench.datasets.named.layout import Layout, SplitsByName, below
from probebench.datasets.named.loader import from_torchvision, loader
from probebench.datasets.splits import cut_test_split, cut_train_split

CALTECH_IMAGES = "caltech101/101_ObjectCategories"
PathsAndLabels = tuple[Sequence[str | Path], Sequence[int]]


def _listed(data: Any) -> PathsAndLabels:
    return data._image_files, data._labels


def _paired(data: Any) -> PathsAndLabels:
    """Reads the samples of torchvision's folders, cars and traffic signs: pairs of a path and a label."""
    samples = data.samples if hasattr(data, "samples") else data._samples
    return [path for path, _ in samples], [int(label) for _, label in samples]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A class of torchvision whose splits are the published ones.

    Attributes:
        name: The class in torchvision.datasets.
        images: The folder that ids start from, below the set's.
        splits: What the class calls each split.
        samples: Reads paths and labels from it.
        options: What the entry tells it, as keywords.
        classes: Whether the files carry class names.
    """

    name: str
    images: str
    splits: Mapping[str, str]
    samples: Callable[[Any], PathsAndLabels] = _listed
    options: tuple[str, ...] = ()
    classes: bool = True

    def _data(self, layout: Layout, split: str) -> Any:
        from torchvision import datasets

        chosen = {name: layout.option(name) for name in self.options}
        return getattr(datasets, self.name)(str(layout.place), split=split, **chosen)

    def __call__(self, layout: Layout) -> SplitsByName:
        """Opens every split."""
        base, splits = layout.place / self.images, {}
        for name, published in self.splits.items():
            with layout.reading():
                data = self._data(layout, published)
            if self.classes:
                layout.check_classes(data.classes)
            paths, labels = self.samples(data)
            splits[name] = layout.split(base, below(base, paths), labels, name)
        return splits


def _published(name: str, opens: Published) -> None:
    """Registers a class of torchvision as a loader; the class fetches its splits itself."""
    loader(name, fetch=from_torchvision(opens.name, *opens.splits.values()))(opens)


_THREE = {"train": "train", "val": "val", "test": "test"}
_TWO = {"train": "train", "test": "test"}

_published("dtd", Published(name="DTD", images="dtd/dtd/images", splits=_THREE, options=("partition",)))
_published(
    "oxford_pets",
    Published(
        name="OxfordIIITPet",
        images="oxford-iiit-pet/images",
        splits={"train": "trainval", "test": "test"},
        samples=lambda data: (data._images, data._labels),
    ),
)
# The files number the flowers; the names are the authors' table, which the library writes out.
_published("flowers102", Published(name="Flowers102", images="flowers-102/jpg", splits=_THREE, classes=False))
_published("food101", Published(name="Food101", images="food-101/images", splits=_TWO))
_published("stanford_cars", Published(name="StanfordCars", images="stanford_cars", splits=_TWO, samples=_paired))
_published(
    "fgvc_aircraft",
    Published(
        name="FGVCAircraft", images="fgvc-aircraft-2013b/data/images", splits=_THREE, options=("annotation_level",)
    ),
)
_published("gtsrb", Published(name="GTSRB", images="gtsrb/GTSRB", splits=_TWO, samples=_paired, classes=False))
_published(
    "country211",
    Published(
        name="Country211",
        images="country211",
        splits={"train": "train", "val": "valid", "test": "test"},
        samples=_paired,
    ),
)


@loader("caltech101", fetch=from_torchvision("Caltech101"))
def caltech101(layout: Layout) -> SplitsByName:
    """Opens Caltech-101 without its background class; the entry says how many images of each class train."""
    from torchvision.datasets import Caltech101

    with layout.reading():
        data = Caltech101(str(layout.place))
    layout.check_classes(data.categories)
    names = [
        f"{data.categories[label]}/image_{number:04d}.jpg" for label, number in zip(data.y, data.index, strict=True)
    ]
    labels: Labels = np.array(data.y, dtype=np.int64)
    each = int(layout.option("train_per_class"))
    return layout.cut(layout.place / CALTECH_IMAGES, names, labels, cut_train_split(names, labels, each))


@loader("eurosat", fetch=from_torchvision("EuroSAT"))
def eurosat(layout: Layout) -> SplitsByName:
    """Opens EuroSAT's RGB images; a fixed fifth of each class is the test split."""
    from torchvision.datasets import EuroSAT

    with layout.reading():
        data = EuroSAT(str(layout.place))
    layout.check_classes(data.classes)
    base = layout.place / "eurosat" / "2750"
    paths, labels = _paired(data)
    names, numbers = below(base, paths), np.array(labels, dtype=np.int64)
    return layout.cut(base, names, numbers, cut_test_split(names, numbers))


@loader("sun397", fetch=from_torchvision("SUN397"))
def sun397(layout: Layout) -> SplitsByName:
    """Opens the published partition of SUN397 that the entry names."""
    from torchvision.datasets import SUN397

    with layout.reading():
        data = SUN397(str(layout.place))
    layout.check_classes(data.classes)
    base, splits = layout.place / "SUN397", {}
    for name, kind in (("train", "Training"), ("test", "Testing")):
        with layout.reading():
            lines = (layout.place / f"{kind}_{layout.option('partition'):02d}.txt").read_text().split()
            ids = [line.removeprefix("/") for line in lines]
            labels = [data.class_to_idx["/".join(one.split("/")[1:-1])] for one in ids]
        splits[name] = layout.split(base, ids, labels, name)
    return splits


@loader("imagenet")
def imagenet(layout: Layout) -> SplitsByName:
    """Opens ImageNet-1k as folders of WordNet ids; its validation images are the test split, as everybody reports."""
    from torchvision.datasets import ImageFolder

    splits = {}
    for name, folder in (("train", "train"), ("test", "val")):
        with layout.reading():
            data = ImageFolder(str(layout.place / folder))
        layout.check_classes(data.classes)
        paths, labels = _paired(data)
        splits[name] = layout.split(layout.place, below(layout.place, paths), labels, folder)
    return splits
