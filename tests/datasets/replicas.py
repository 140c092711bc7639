"""Small data sets in the exact layout of the published ones, a few images each."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.registry import Registry
from probebench.registry.dataset import ClassCounts, DatasetSpec


def picture(path: Path, seed: int = 0) -> Path:
    """Writes one tiny image; the file's name says its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PPM" if path.suffix == ".ppm" else "JPEG")
    return path


def pictures(folder: Path, names: Iterable[str]) -> list[str]:
    """Writes images under a folder and returns their names."""
    return [picture(folder / name, seed).relative_to(folder).as_posix() for seed, name in enumerate(names)]


def lines(path: Path, texts: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def shrunk(
    spec: DatasetSpec, counts: Mapping[str, int], classes: Sequence[str] | None = None, **changes: object
) -> DatasetSpec:
    """The entry for a replica: its counts, some of its classes, and whatever else is to differ."""
    splits = spec.splits.model_copy(update={"val": 0, **counts})
    names = tuple(classes if classes is not None else spec.classes)
    return spec.model_copy(update={"splits": splits, "class_counts": ClassCounts(), "classes": names, **changes})


def with_entries(registry: Registry, *specs: DatasetSpec) -> Registry:
    """A registry in which some entries are those of replicas."""
    return replace(registry, datasets={**registry.datasets, **{spec.id: spec for spec in specs}})


@dataclass(frozen=True)
class Replica:
    """A replica on disk: its entry, the folder of all data sets, and what opening must find.

    Attributes:
        first: The first ids and labels of each split.
        images: How many images each split has.
        broken: Something of the layout that can be taken away, and what the error line must then say.
    """

    spec: DatasetSpec
    root: Path
    images: dict[str, int]
    first: dict[str, tuple[str, int]]
    broken: tuple[Path, str]


Maker = Callable[[Registry, Path, pytest.MonkeyPatch], Replica]


def dtd(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "dtd" / "dtd" / "dtd"
    for split, numbers in (("train", (2, 4)), ("val", (5,)), ("test", (9, 10, 11))):
        names = [f"{name}/{name}_{number:04d}.jpg" for name in ("banded", "zigzagged") for number in numbers]
        lines(place / "labels" / f"{split}1.txt", pictures(place / "images", names))
    return Replica(
        shrunk(registry.dataset("dtd"), {"train": 4, "val": 2, "test": 6}, ("banded", "zigzagged")),
        root,
        {"train": 4, "val": 2, "test": 6},
        {"train": ("banded/banded_0002.jpg", 0), "test": ("banded/banded_0009.jpg", 0)},
        (place / "images" / "zigzagged" / "zigzagged_0005.jpg", "1 of the 2 val images are missing, first .*0005.jpg"),
    )


def caltech101(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "caltech101" / "caltech101" / "101_ObjectCategories"
    for name, count in (("BACKGROUND_Google", 3), ("Faces", 5), ("accordion", 4)):
        pictures(place, [f"{name}/image_{number:04d}.jpg" for number in range(1, count + 1)])
    spec = shrunk(
        registry.dataset("caltech101"), {"train": 4, "test": 5}, ("Faces", "accordion"), options={"train_per_class": 2}
    )
    return Replica(
        spec, root, {"train": 4, "test": 5}, {}, (place / "BACKGROUND_Google", "BACKGROUND_Google/? is missing")
    )


def oxford_pets(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "oxford_pets" / "oxford-iiit-pet"
    for split, numbers in (("trainval", (1, 2)), ("test", (200,))):
        rows = []
        for name, label, kind in (("Abyssinian", 1, 1), ("american_bulldog", 2, 2)):
            for number in numbers:
                pictures(place / "images", [f"{name}_{number}.jpg"])
                rows.append(f"{name}_{number} {label} {kind} {label}")
        lines(place / "annotations" / f"{split}.txt", rows)
    spec = shrunk(registry.dataset("oxford_pets"), {"train": 4, "test": 2}, ("Abyssinian", "American Bulldog"))
    return Replica(
        spec,
        root,
        {"train": 4, "test": 2},
        {"train": ("Abyssinian_1.jpg", 0), "test": ("Abyssinian_200.jpg", 0)},
        (place / "annotations" / "test.txt", "annotations/test.txt is missing"),
    )


def domainnet(domain: str) -> Maker:
    def make(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
        place, spec = root / "domainnet", registry.dataset(f"domainnet_{domain}")
        for split, numbers in (("train", (1, 2, 3)), ("test", (4,))):
            rows = []
            # Out of order, as lists may be; t-shirt is one whose label is not its place in the alphabet.
            for name in ("airplane", "aircraft_carrier", "t-shirt"):
                label = spec.classes.index(name)
                for number in numbers:
                    image = f"{domain}/{name}/{domain}_{label + 1:03d}_{number:06d}.jpg"
                    rows.append(f"{pictures(place, [image])[0]} {label}")
            lines(place / f"{domain}_{split}.txt", rows)
        return Replica(
            shrunk(spec, {"train": 9, "test": 3}),
            root,
            {"train": 9, "test": 3},
            {
                "train": (f"{domain}/airplane/{domain}_002_000001.jpg", 1),
                "test": (f"{domain}/airplane/{domain}_002_000004.jpg", 1),
            },
            (place / f"{domain}_test.txt", f"{domain}_test.txt is missing"),
        )

    return make


def eurosat(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "eurosat" / "eurosat" / "2750"
    for name in registry.dataset("eurosat").classes:
        pictures(place, [f"{name}/{name}_{number}.jpg" for number in range(1, 6)])
    return Replica(
        shrunk(registry.dataset("eurosat"), {"train": 40, "test": 10}),
        root,
        {"train": 40, "test": 10},
        {},
        (place / "SeaLake", "its files have 9 classes where the entry says 10"),
    )


def cassava(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "cassava"
    spec = registry.dataset("cassava")
    rows = [(f"{1000 + number}.jpg", number % 5) for number in range(25)]
    pictures(place / "train_images", [name for name, _ in rows])
    (place / "label_num_to_disease_map.json").write_text(
        json.dumps({str(number): name for number, name in enumerate(spec.classes)})
    )
    with (place / "train.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image_id", "label"), *reversed(rows)])
    return Replica(
        shrunk(spec, {"train": 20, "test": 5}),
        root,
        {"train": 20, "test": 5},
        {},
        (place / "train_images" / "1007.jpg", "images are missing, first .*1007.jpg"),
    )


def cct20(id: str) -> Maker:  # noqa: A002
    def make(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
        place, spec = root / "cct20", registry.dataset(id)
        numbers = (1, 3, 5, 6, 7, 8, 9, 10, 11, 16, 21, 30, 33, 34, 51, 99)
        categories = [{"id": number, "name": name} for number, name in zip(numbers, spec.classes, strict=True)]
        for split in ("train", "cis_val", "cis_test", "trans_val", "trans_test"):
            names = pictures(place / "eccv_18_all_images_sm", [f"{split}-{number}.jpg" for number in range(4)])
            images = [
                {"id": name[:-4], "file_name": name, "seq_id": f"{split}-seq{number // 2}", "location": 38}
                for number, name in enumerate(names)
            ]
            notes = [{"id": name, "image_id": name[:-4], "category_id": 99 if "-0" in name else 6} for name in names]
            # A second animal in one image.
            notes.append({"id": "second", "image_id": names[1][:-4], "category_id": 1})
            path = place / "eccv_18_annotation_files" / f"{split}_annotations.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                json.dumps({"categories": categories[::-1], "images": images[::-1], "annotations": notes, "info": {}})
            )
        used = {split: str(spec.options[split]) for split in ("train", "val", "test")}
        file = place / "eccv_18_annotation_files" / f"{used['val']}_annotations.json"
        return Replica(
            shrunk(spec, {"train": 4, "val": 4, "test": 4}),
            root,
            {"train": 4, "val": 4, "test": 4},
            {split: (f"{name}-0.jpg", 15) for split, name in used.items()},
            (file, f"{used['val']}_annotations.json is missing"),
        )

    return make


STUDY: dict[str, Maker] = {
    "dtd": dtd,
    "caltech101": caltech101,
    "oxford_pets": oxford_pets,
    "domainnet_real": domainnet("real"),
    "domainnet_clipart": domainnet("clipart"),
    "eurosat": eurosat,
    "cassava": cassava,
    "cct20": cct20("cct20"),
    "cct20_trans": cct20("cct20_trans"),
}
