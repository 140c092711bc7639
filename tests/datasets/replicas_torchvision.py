"""Replicas of the sets beside the study's: files that torchvision lists, and arrays."""

import csv
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5

from probebench.registry import Registry
from tests.datasets.replicas import Maker, Replica, lines, pictures, shrunk


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def cifar100(registry: Registry, root: Path, patch: pytest.MonkeyPatch) -> Replica:
    place, spec = root / "cifar100" / "cifar-100-python", registry.dataset("cifar100")
    place.mkdir(parents=True)
    for name, count in (("train", 6), ("test", 4)):
        data = {"data": noise(count, 3072), "fine_labels": [99 - number for number in range(count)]}
        (place / name).write_bytes(pickle.dumps(data))
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": list(spec.classes)}))
    for attribute, name in (("train_list", "train"), ("test_list", "test")):
        patch.setattr(datasets.CIFAR100, attribute, [[name, calculate_md5(str(place / name))]])
    meta = {**datasets.CIFAR100.meta, "md5": calculate_md5(str(place / "meta"))}
    patch.setattr(datasets.CIFAR100, "meta", meta)
    return Replica(
        shrunk(spec, {"train": 6, "test": 4}),
        root,
        {"train": 6, "test": 4},
        {"train": ("train-00000", 99), "test": ("test-00000", 99)},
        (place / "meta", "cifar-100-python/meta is missing"),
    )


def flowers102(registry: Registry, root: Path, patch: pytest.MonkeyPatch) -> Replica:
    place = root / "flowers102" / "flowers-102"
    pictures(place / "jpg", [f"image_{number:05d}.jpg" for number in range(1, 9)])
    savemat(place / "imagelabels.mat", {"labels": np.array([77, 1, 1, 77, 77, 1, 1, 77])})
    savemat(place / "setid.mat", {"trnid": [2, 1], "valid": [4, 3], "tstid": [5, 6, 7, 8]})
    table = dict(datasets.Flowers102._file_dict)
    for kind, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        table[kind] = (name, calculate_md5(str(place / name)))
    patch.setattr(datasets.Flowers102, "_file_dict", table)
    return Replica(
        shrunk(registry.dataset("flowers102"), {"train": 2, "val": 2, "test": 4}),
        root,
        {"train": 2, "val": 2, "test": 4},
        {"train": ("image_00002.jpg", 0), "val": ("image_00004.jpg", 76), "test": ("image_00005.jpg", 76)},
        (place / "jpg" / "image_00008.jpg", "1 of the 4 test images are missing, first .*image_00008.jpg"),
    )


def food101(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "food101" / "food-101"
    for split, numbers in (("train", (10, 11)), ("test", (12,))):
        table = {name: [f"{name}/{number}" for number in numbers] for name in ("waffles", "apple_pie")}
        pictures(place / "images", [f"{image}.jpg" for images in table.values() for image in images])
        lines(place / "meta" / f"{split}.json", [json.dumps(table)])
    return Replica(
        shrunk(registry.dataset("food101"), {"train": 4, "test": 2}, ("apple_pie", "waffles")),
        root,
        {"train": 4, "test": 2},
        {"train": ("waffles/10.jpg", 1), "test": ("waffles/12.jpg", 1)},
        (place / "meta" / "test.json", "food-101/meta/test.json is missing"),
    )


def stanford_cars(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "stanford_cars" / "stanford_cars"
    names = ("AM General Hummer SUV 2000", "Acura RL Sedan 2012")
    kind = [("class", "i4"), ("fname", "O")]
    (place / "devkit").mkdir(parents=True)
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        images = pictures(place / f"cars_{split}", [f"{number:05d}.jpg" for number in range(1, 4)])
        rows = np.array([(2 - number % 2, name) for number, name in enumerate(images)], dtype=kind)
        savemat(place / file, {"annotations": rows})
    savemat(place / "devkit" / "cars_meta.mat", {"class_names": np.array(names, dtype=object)})
    return Replica(
        shrunk(registry.dataset("stanford_cars"), {"train": 3, "test": 3}, names),
        root,
        {"train": 3, "test": 3},
        {"train": ("cars_train/00001.jpg", 1), "test": ("cars_test/00001.jpg", 1)},
        (place / "cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat is missing"),
    )


def fgvc_aircraft(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "fgvc_aircraft" / "fgvc-aircraft-2013b" / "data"
    names = ("707-320", "BAE 146-200")
    lines(place / "variants.txt", names)
    for start, split in ((10, "train"), (20, "val"), (30, "test")):
        numbers = [f"{start + number:07d}" for number in range(2)]
        pictures(place / "images", [f"{number}.jpg" for number in numbers])
        pairs = zip(numbers, reversed(names), strict=True)
        lines(place / f"images_variant_{split}.txt", [f"{number} {name}" for number, name in pairs])
    return Replica(
        shrunk(registry.dataset("fgvc_aircraft"), {"train": 2, "val": 2, "test": 2}, names),
        root,
        {"train": 2, "val": 2, "test": 2},
        {"train": ("0000010.jpg", 1), "val": ("0000020.jpg", 1), "test": ("0000030.jpg", 1)},
        (place / "images_variant_val.txt", "images_variant_val.txt is missing"),
    )


def sun397(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "sun397"
    names = ("abbey", "apartment_building/outdoor")
    lines(place / "SUN397" / "ClassName.txt", [f"/a/{name}" for name in names])
    for split, letters in (("Training", "ab"), ("Testing", "c")):
        images = pictures(
            place / "SUN397", [f"a/{name}/sun_{letter}.jpg" for name in names[::-1] for letter in letters]
        )
        lines(place / f"{split}_01.txt", [f"/{image}" for image in images])
    # Images that no partition uses are left out.
    pictures(place / "SUN397", ["a/abbey/sun_unused.jpg"])
    return Replica(
        shrunk(registry.dataset("sun397"), {"train": 4, "test": 2}, names),
        root,
        {"train": 4, "test": 2},
        {
            "train": ("a/apartment_building/outdoor/sun_a.jpg", 1),
            "test": ("a/apartment_building/outdoor/sun_c.jpg", 1),
        },
        (place / "Testing_01.txt", "Testing_01.txt is missing"),
    )


def stl10(registry: Registry, root: Path, patch: pytest.MonkeyPatch) -> Replica:
    place, spec = root / "stl10" / "stl10_binary", registry.dataset("stl10")
    lines(place / "class_names.txt", spec.classes)
    noise(1, 3, 96, 96).tofile(place / "unlabeled_X.bin")
    for split, count in (("train", 3), ("test", 2)):
        noise(count, 3, 96, 96).tofile(place / f"{split}_X.bin")
        np.arange(10, 10 - count, -1, dtype=np.uint8).tofile(place / f"{split}_y.bin")
    for attribute in ("train_list", "test_list"):
        listed = [[name, calculate_md5(str(place / name))] for name, _ in getattr(datasets.STL10, attribute)]
        patch.setattr(datasets.STL10, attribute, listed)
    return Replica(
        shrunk(spec, {"train": 3, "test": 2}),
        root,
        {"train": 3, "test": 2},
        {"train": ("train-00000", 9), "test": ("test-00000", 9)},
        (place / "unlabeled_X.bin", "stl10_binary/unlabeled_X.bin is missing"),
    )


def svhn(registry: Registry, root: Path, patch: pytest.MonkeyPatch) -> Replica:
    place = root / "svhn"
    place.mkdir(parents=True)
    table = dict(datasets.SVHN.split_list)
    for split, count in (("train", 4), ("test", 3)):
        file = place / f"{split}_32x32.mat"
        # The files call the digit 0 class 10.
        savemat(file, {"X": noise(32, 32, 3, count), "y": np.array([[10], [1], [5], [9]][:count])})
        table[split] = [table[split][0], file.name, calculate_md5(str(file))]
    patch.setattr(datasets.SVHN, "split_list", table)
    return Replica(
        shrunk(registry.dataset("svhn"), {"train": 4, "test": 3}),
        root,
        {"train": 4, "test": 3},
        {"train": ("train-00000", 0), "test": ("test-00000", 0)},
        (place / "test_32x32.mat", "test_32x32.mat is missing"),
    )


def gtsrb(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place, spec = root / "gtsrb" / "gtsrb", registry.dataset("gtsrb")
    for number in range(43):
        pictures(place / "GTSRB" / "Training", [f"{number:05d}/{track:05d}_00000.ppm" for track in range(2)])
    tests = pictures(place / "GTSRB" / "Final_Test" / "Images", [f"{number:05d}.ppm" for number in range(3)])
    with (place / "GT-final_test.csv").open("w", newline="") as stream:
        rows = [(name, 6, 6, 0, 0, 6, 6, label) for name, label in zip(tests, (16, 1, 38), strict=True)]
        writer = csv.writer(stream, delimiter=";")
        writer.writerows([("Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"), *rows])
    return Replica(
        shrunk(spec, {"train": 86, "test": 3}),
        root,
        {"train": 86, "test": 3},
        {"train": ("Training/00000/00000_00000.ppm", 0), "test": ("Final_Test/Images/00000.ppm", 16)},
        (place / "GT-final_test.csv", "GT-final_test.csv is missing"),
    )


def pcam(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "pcam" / "pcam"
    place.mkdir(parents=True)
    counts = {"train": 4, "val": 3, "test": 2}
    for split, file in (("train", "train"), ("val", "valid"), ("test", "test")):
        stem = f"camelyonpatch_level_2_split_{file}"
        with h5py.File(place / f"{stem}_x.h5", "w") as images, h5py.File(place / f"{stem}_y.h5", "w") as targets:
            images["x"] = noise(counts[split], 96, 96, 3)
            targets["y"] = ((np.arange(counts[split]) + 1) % 2).reshape(-1, 1, 1, 1).astype(np.uint8)
    return Replica(
        shrunk(registry.dataset("pcam"), counts),
        root,
        counts,
        {"train": ("train-00000", 1), "val": ("val-00000", 1), "test": ("test-00000", 1)},
        (place / "camelyonpatch_level_2_split_valid_y.h5", "split_valid_y.h5 is missing"),
    )


def country211(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place = root / "country211" / "country211"
    for split, letters in (("train", "ab"), ("valid", "c"), ("test", "de")):
        pictures(place, [f"{split}/{code}/{letter}.jpg" for code in ("AD", "AE") for letter in letters])
    counts = {"train": 4, "val": 2, "test": 4}
    return Replica(
        shrunk(registry.dataset("country211"), counts, ("AD", "AE")),
        root,
        counts,
        {"train": ("train/AD/a.jpg", 0), "val": ("valid/AD/c.jpg", 0), "test": ("test/AD/d.jpg", 0)},
        (place / "test" / "AE", "its files have 1 classes where the entry says 2"),
    )


def imagenet1k(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
    place, ids = root / "imagenet1k", ("n01440764", "n01443537")
    for number, name in enumerate(ids):
        pictures(place, [f"train/{name}/{name}_{image}.JPEG" for image in (10026, 10027)])
        pictures(place, [f"val/{name}/ILSVRC2012_val_{number:08d}.JPEG"])
    return Replica(
        shrunk(registry.dataset("imagenet1k"), {"train": 4, "test": 2}, ids),
        root,
        {"train": 4, "test": 2},
        {
            "train": ("train/n01440764/n01440764_10026.JPEG", 0),
            "test": ("val/n01440764/ILSVRC2012_val_00000000.JPEG", 0),
        },
        (place / "val", "imagenet1k/val/? is missing"),
    )


def _test_only(name: str, images: str, folders: tuple[str, str], first: str) -> Maker:
    """A set of class folders, all of them its test part: two classes of two images and of one."""

    def make(registry: Registry, root: Path, _: pytest.MonkeyPatch) -> Replica:
        place, spec = root / name / images, registry.dataset(name)
        pictures(place, [f"{folders[0]}/{first}", f"{folders[0]}/z.JPEG", f"{folders[1]}/y.jpeg"])
        for odd in ("README.txt", f"{folders[0]}/list.txt", f"{folders[1]}/.hidden.jpg"):
            (place / odd).write_text("")
        return Replica(
            shrunk(spec, {"train": 0, "test": 3}, spec.classes[:2]),
            root,
            {"test": 3},
            {"test": (f"{folders[0]}/{first}", 0)},
            (place / folders[1], "its files have 1 classes where the entry says 2"),
        )

    return make


OTHERS: dict[str, Maker] = {
    "cifar100": cifar100,
    "flowers102": flowers102,
    "food101": food101,
    "stanford_cars": stanford_cars,
    "fgvc_aircraft": fgvc_aircraft,
    "sun397": sun397,
    "stl10": stl10,
    "svhn": svhn,
    "gtsrb": gtsrb,
    "pcam": pcam,
    "country211": country211,
    "imagenet1k": imagenet1k,
    "imagenet_v2": _test_only("imagenet_v2", "imagenetv2-matched-frequency-format-val", ("0", "1"), "0ab1.jpeg"),
    "imagenet_sketch": _test_only("imagenet_sketch", "sketch", ("n01440764", "n01443537"), "sketch_0.JPEG"),
    "imagenet_a": _test_only(
        "imagenet_a", "imagenet-a", ("n01498041", "n01531178"), "0.000116_digital clock _ digital clock_0.865662.jpg"
    ),
    "imagenet_r": _test_only("imagenet_r", "imagenet-r", ("n01443537", "n01484850"), "art_0.jpg"),
}
