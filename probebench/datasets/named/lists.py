"""Sets that have a name and come with lists of their own: DomainNet, Cassava Leaf Disease, Caltech Camera Traps-20."""

import csv
import json
from typing import Any

import numpy as np

from probebench.arrays import Labels
from probebench.datasets.base import Split
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.datasets.named.loader import loader
from probebench.datasets.splits import cut_test_split
from probebench.errors import DatasetError

CCT_LISTS, CCT_IMAGES = "eccv_18_annotation_files", "eccv_18_all_images_sm"


@loader("domainnet")
def domainnet(layout: Layout) -> SplitsByName:
    """Opens one domain of DomainNet by its released lists, whose lines are ``real/zebra/real_343_000002.jpg 342``."""
    domain, classes, splits = layout.option("domain"), layout.spec.classes, {}
    for split in ("train", "test"):
        file = layout.place / f"{domain}_{split}.txt"
        names, labels = [], []
        with layout.reading():
            lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(filter(None, lines), start=1):
            name, _, label = line.rpartition(" ")
            folders = name.split("/")
            if len(folders) != 3 or folders[0] != domain or not label.isdecimal():
                raise layout.half(f"line {number} of {file} is {line[:80]!r}, not {domain}/CLASS/IMAGE and a label")
            if int(label) >= len(classes) or classes[int(label)] != folders[1]:
                raise layout.half(
                    f"line {number} of {file} labels {folders[1]!r} as {label}; the entry's classes differ"
                )
            names.append(name)
            labels.append(int(label))
        splits[split] = layout.split(layout.place, names, labels, split)
    return splits


@loader("cassava")
def cassava(layout: Layout) -> SplitsByName:
    """Opens Cassava Leaf Disease's labelled images; a fixed fifth of each class is the test split."""
    with layout.reading():
        names = json.loads((layout.place / "label_num_to_disease_map.json").read_text(encoding="utf-8"))
        found = [str(names[key]) for key in sorted(names, key=int)]
        with (layout.place / "train.csv").open(newline="", encoding="utf-8") as stream:
            # The order of the lines is no part of the set: ids are.
            rows = sorted((row["image_id"], int(row["label"])) for row in csv.DictReader(stream))
    layout.check_classes(found)
    ids, labels = [name for name, _ in rows], np.array([label for _, label in rows], dtype=np.int64)
    return layout.cut(layout.place / "train_images", ids, labels, cut_test_split(ids, labels))


@loader("cct20")
def cct20(layout: Layout) -> SplitsByName:
    """Opens Caltech Camera Traps-20 with the published splits that the entry names.

    An image is of the category of its first annotation. No sequence of one camera may lie in two splits.
    """
    splits, sequences = {}, {}
    for name in ("train", "val", "test"):
        file = layout.place / CCT_LISTS / f"{layout.option(name)}_annotations.json"
        with layout.reading():
            data = json.loads(file.read_text(encoding="utf-8"))
            splits[name] = _camera_traps(layout, data, name)
            sequences[name] = {str(image["seq_id"]) for image in data["images"]}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(sequences[first] & sequences[second])
        if shared:
            raise DatasetError(
                f"data set {layout.spec.id}: {len(shared)} camera sequences lie in both {layout.option(first)} and "
                f"{layout.option(second)} (first {shared[0]}); use the published annotation files as they are"
            )
    return splits


def _camera_traps(layout: Layout, data: dict[str, Any], name: str) -> Split:
    # Category numbers have gaps; the entry lists the categories in the order of their numbers.
    categories = sorted(data["categories"], key=lambda category: int(category["id"]))
    layout.check_classes([category["name"] for category in categories])
    numbers = {category["id"]: number for number, category in enumerate(categories)}
    first: dict[str, int] = {}
    for annotation in data["annotations"]:
        first.setdefault(annotation["image_id"], numbers[annotation["category_id"]])
    images = sorted(data["images"], key=lambda image: str(image["file_name"]))
    bare = [image["file_name"] for image in images if image["id"] not in first]
    if bare:
        raise layout.half(f"{len(bare)} {name} images have no annotation, first {bare[0]}")
    labels: Labels = np.array([first[image["id"]] for image in images], dtype=np.int64)
    return layout.split(layout.place / CCT_IMAGES, [image["file_name"] for image in images], labels, name)
