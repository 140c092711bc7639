"""Sets that have a name and lie in arrays: small ones in memory, PatchCamelyon in HDF5."""

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.datasets.base import ArrayImages, Split
from probebench.datasets.drawn.package import PackageError, obtain, package_folder
from probebench.datasets.named.layout import Layout, SplitsByName
from probebench.datasets.named.listed import HDF5Images
from probebench.datasets.named.loader import comes_installed, from_torchvision, loader
from probebench.errors import DatasetError
from probebench.registry.drawn import Package

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_PACKAGE = Package(
    manager="apt",
    name="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)


def _ids(split: str, count: int) -> tuple[str, ...]:
    return tuple(f"{split}-{number:05d}" for number in range(count))


def _numbered(split: str, labels: Iterable[int], pixels: npt.NDArray[np.uint8]) -> Split:
    numbers: Labels = np.fromiter(labels, dtype=np.int64)
    return Split(_ids(split, len(numbers)), numbers, ArrayImages(pixels))


@loader("digits", fetch=comes_installed)
def digits(layout: Layout) -> SplitsByName:
    """Opens scikit-learn's digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Sixteen grey levels become 0 to 255.
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    ids = tuple(f"digits-{number:04d}" for number in range(len(pixels)))
    labels = bunch.target.astype(np.int64)
    cut = layout.spec.splits.train
    return {
        "train": Split(ids[:cut], labels[:cut], ArrayImages(pixels[:cut])),
        "test": Split(ids[cut:], labels[cut:], ArrayImages(pixels[cut:])),
    }


def _fetch_fashion_mnist(layout: Layout) -> None:
    """Takes Debian's package, installed or fetched by apt, and else what torchvision downloads."""
    if DEBIAN_FASHION_MNIST.is_dir():
        return
    try:
        obtain(_PACKAGE, layout.place.parent)
    except PackageError:
        from_torchvision("FashionMNIST")(layout)


@loader("fashion_mnist", fetch=_fetch_fashion_mnist, packaged=True)
def fashion_mnist(layout: Layout) -> SplitsByName:
    """Opens Fashion-MNIST, unpacked, packed, or where Debian's package has it."""
    raw = layout.place / "FashionMNIST" / "raw"
    names = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    unpacked = package_folder(_PACKAGE, layout.place.parent) / DEBIAN_FASHION_MNIST.relative_to("/")
    folders = (raw, unpacked, DEBIAN_FASHION_MNIST)
    places = [(raw / name, *(folder / f"{name}.gz" for folder in folders)) for name in names]
    files = [next((file for file in few if file.is_file()), None) for few in places]
    if not any(files):
        raise layout.not_here()
    arrays = [_read_idx(layout, file or few[-1]) for file, few in zip(files, places, strict=True)]
    train, train_labels, test, test_labels = arrays
    return {
        "train": _numbered("train", train_labels.tolist(), train),
        "test": _numbered("test", test_labels.tolist(), test),
    }


def _read_idx(layout: Layout, file: Path) -> npt.NDArray[np.uint8]:
    """Reads MNIST's format: four bytes, the last of which counts the axes, then their lengths, then the values.

    torchvision would do it, and bring torch: 700 MB that verifying results has no use for.
    """
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
        shape = np.frombuffer(content, ">i4", content[3], 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    except FileNotFoundError as error:
        raise DatasetError(f"data set {layout.spec.id}: {file} is missing; {layout.by_hand()}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, IndexError) as error:
        raise DatasetError(f"data set {layout.spec.id}: {file} is damaged; fetch it again") from error


@loader("cifar100", fetch=from_torchvision("CIFAR100"))
def cifar100(layout: Layout) -> SplitsByName:
    """Opens CIFAR-100 with its fine labels."""
    from torchvision.datasets import CIFAR100

    splits = {}
    for name, train in (("train", True), ("test", False)):
        with layout.reading():
            data = CIFAR100(str(layout.place), train=train)
        layout.check_classes(data.classes)
        splits[name] = _numbered(name, data.targets, data.data)
    return splits


@loader("stl10", fetch=from_torchvision("STL10"))
def stl10(layout: Layout) -> SplitsByName:
    """Opens the labelled splits of STL-10."""
    from torchvision.datasets import STL10

    splits = {}
    for name in ("train", "test"):
        with layout.reading():
            data: Any = STL10(str(layout.place), split=name)
            layout.check_classes(data.classes)
        splits[name] = _numbered(name, data.labels.tolist(), data.data.transpose(0, 2, 3, 1))
    return splits


@loader("svhn", fetch=from_torchvision("SVHN", "train", "test"))
def svhn(layout: Layout) -> SplitsByName:
    """Opens SVHN's cropped digits, train and test; ``extra`` is left out."""
    from torchvision.datasets import SVHN

    splits = {}
    for name in ("train", "test"):
        with layout.reading():
            data: Any = SVHN(str(layout.place), split=name)
        splits[name] = _numbered(name, data.labels.tolist(), data.data.transpose(0, 2, 3, 1))
    return splits


@loader("pcam", fetch=from_torchvision("PCAM", "train", "val", "test"))
def pcam(layout: Layout) -> SplitsByName:
    """Opens PatchCamelyon; its images stay in their HDF5 files."""
    import h5py
    from torchvision.datasets import PCAM

    splits = {}
    for name in ("train", "val", "test"):
        with layout.reading():
            files = PCAM._FILES[name]
            images, targets = (layout.place / "pcam" / files[kind][0] for kind in ("images", "targets"))
            with h5py.File(targets) as opened:
                labels = opened["y"][:].reshape(-1).astype(np.int64)
            with h5py.File(images) as opened:
                shape = opened["x"].shape
        if len(shape) != 4 or shape[0] != len(labels):
            raise layout.half(f"{images} holds {shape[0]} images where {targets.name} has {len(labels)} labels")
        splits[name] = Split(
            _ids(name, len(labels)), labels, HDF5Images(images, "x", layout.digest_cache(images, name))
        )
    return splits
