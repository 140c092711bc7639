"""Opens data sets by registry id, through the library that carries them, or a folder of the user's."""

import gzip
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from probebench.datasets.base import ArrayImages, Dataset, Labels, Split, check_dataset
from probebench.datasets.folder import FOLDER, open_folder
from probebench.errors import DatasetError, one_line
from probebench.registry.load import Registry
from probebench.registry.schema import DatasetSpec

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def open_dataset(name: str, registry: Registry, root: Path) -> Dataset:
    """Opens a data set by its registry id, or a folder of class folders by ``folder:PATH``.

    Args:
        name: The id or ``folder:PATH``.
        registry: Where ids are looked up.
        root: The folder that holds data sets (the home's ``datasets``).

    Raises:
        UsageError: The id is unknown (the line gives the nearest), or the folder does not exist.
        DatasetError: The data are missing or incomplete.
    """
    if name.startswith(FOLDER):
        return open_folder(Path(name.removeprefix(FOLDER)).expanduser(), root)
    spec = registry.dataset(name)
    load = {"digits": _digits, "fashion_mnist": _fashion_mnist, "cifar100": _cifar100}[spec.loader]
    parts = load(spec, root)
    expected = {part: count for part in ("train", "val", "test") if (count := getattr(spec.splits, part))}
    found = {part: len(split) for part, split in parts.items()}
    if found != expected:
        raise DatasetError(
            f"data set {spec.id}: found {found} images where the entry says {expected}; prepare it again"
        )
    return check_dataset(Dataset(spec.id, spec.classes, parts))


def prepare(spec: DatasetSpec, root: Path) -> None:
    """Downloads a data set into the home folder where it is not there yet.

    Raises:
        DatasetError: The download failed; the line says what to place where by hand.
    """
    if spec.loader == "digits":
        return
    from torchvision import datasets

    kind = {"fashion_mnist": datasets.FashionMNIST, "cifar100": datasets.CIFAR100}[spec.loader]
    if spec.loader == "fashion_mnist" and DEBIAN_FASHION_MNIST.is_dir():
        return
    folder = root / spec.id
    folder.mkdir(parents=True, exist_ok=True)
    try:
        kind(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise DatasetError(
            f"data set {spec.id} could not be downloaded ({one_line(error, 120)}); {_by_hand(spec, root)}"
        ) from error


def _by_hand(spec: DatasetSpec, root: Path) -> str:
    if spec.loader == "fashion_mnist":
        return (
            "on Debian: apt-get install dataset-fashion-mnist; elsewhere place the four .gz files of "
            f"{spec.url} in {root / spec.id / 'FashionMNIST' / 'raw'}"
        )
    return f"place cifar-100-python.tar.gz of {spec.url} in {root / spec.id} and unpack it there"


def _missing(spec: DatasetSpec, root: Path) -> DatasetError:
    return DatasetError(
        f"data set {spec.id} is not on this machine: run probebench datasets prepare {spec.id}; {_by_hand(spec, root)}"
    )


def _numbered(part: str, labels: Iterable[int], pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Split:
    numbers: Labels = np.asarray(list(labels), dtype=np.int64)
    return Split(tuple(f"{part}-{number:05d}" for number in range(len(numbers))), numbers, ArrayImages(pixels))


def _digits(spec: DatasetSpec, root: Path) -> dict[str, Split]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Sixteen grey levels become 0 to 255.
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    ids = tuple(f"digits-{number:04d}" for number in range(len(pixels)))
    labels = bunch.target.astype(np.int64)
    cut = spec.splits.train
    return {
        "train": Split(ids[:cut], labels[:cut], ArrayImages(pixels[:cut])),
        "test": Split(ids[cut:], labels[cut:], ArrayImages(pixels[cut:])),
    }


def _fashion_mnist(spec: DatasetSpec, root: Path) -> dict[str, Split]:
    from torchvision.datasets import FashionMNIST

    folder = root / spec.id
    raw = folder / "FashionMNIST" / "raw"
    names = [Path(name).stem for name, _ in FashionMNIST.resources]
    if all((raw / name).is_file() for name in names):
        return _read_fashion_mnist(FashionMNIST, folder)
    packed = next((place for place in (raw, DEBIAN_FASHION_MNIST) if any(place.glob("*.gz"))), None)
    if packed is None:
        raise _missing(spec, root)
    # torchvision reads unpacked files only; its loader holds all images in memory, so the unpacked ones may go again.
    with tempfile.TemporaryDirectory(prefix="probebench-") as scratch:
        unpacked = Path(scratch) / "FashionMNIST" / "raw"
        unpacked.mkdir(parents=True)
        for name in names:
            try:
                (unpacked / name).write_bytes(gzip.decompress((packed / f"{name}.gz").read_bytes()))
            except FileNotFoundError as error:
                raise DatasetError(
                    f"data set {spec.id}: {packed / name}.gz is missing; {_by_hand(spec, root)}"
                ) from error
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DatasetError(f"data set {spec.id}: {packed / name}.gz is damaged; fetch it again") from error
        return _read_fashion_mnist(FashionMNIST, Path(scratch))


def _read_fashion_mnist(kind: Callable[..., object], folder: Path) -> dict[str, Split]:
    parts = {}
    for part, train in (("train", True), ("test", False)):
        try:
            data: object = kind(str(folder), train=train)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise DatasetError(
                f"data set fashion_mnist in {folder} is damaged ({one_line(error, 80)}); fetch it again"
            ) from error
        parts[part] = _numbered(part, data.targets.tolist(), data.data.numpy())  # type: ignore[attr-defined]
    return parts


def _cifar100(spec: DatasetSpec, root: Path) -> dict[str, Split]:
    from torchvision.datasets import CIFAR100

    parts = {}
    for part, train in (("train", True), ("test", False)):
        try:
            data = CIFAR100(str(root / spec.id), train=train)
        except RuntimeError as error:
            raise _missing(spec, root) from error
        parts[part] = _numbered(part, data.targets, data.data)
    return parts
