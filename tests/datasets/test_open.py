import gzip
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from probebench.datasets.base import ArrayImages, Dataset, Split, check_dataset
from probebench.datasets.named import arrays
from probebench.datasets.named.prepare import prepare
from probebench.datasets.open import open_dataset
from probebench.errors import DatasetError, UsageError
from probebench.registry import Registry
from probebench.registry.drawn import Package
from tests.datasets.replicas import with_entries


def test_digits_are_scikit_learns(shipped: Registry, tmp_path: Path) -> None:
    opened = open_dataset("digits", shipped, tmp_path)
    bunch = load_digits()
    train, test = opened.splits["train"], opened.splits["test"]
    assert (len(train), len(test)) == (898, 899)
    assert np.array_equal(np.concatenate([train.labels, test.labels]), bunch.target)
    for position in (0, 897):
        pixels = np.asarray(train.images.load(position))
        assert np.array_equal(pixels, np.round(bunch.images[position] * 255 / 16))
    assert train.ids[0] == "digits-0000" and test.ids[0] == "digits-0898"
    assert not set(train.ids) & set(test.ids)
    # The fingerprint is for ever: results carry it, and so does the entry.
    assert opened.fingerprint == shipped.dataset("digits").fingerprint
    assert opened.fingerprint == "508c53ee5584953b74e63fe21343195827f3e5af9228895779d0e8532d0c0430"


def write_idx(path: Path, array: np.ndarray, packed: bool) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    content = header + array.astype(np.uint8).tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, compresslevel=1))
    else:
        path.write_bytes(content)


def fashion_replica(folder: Path, packed: bool, train: int = 60000) -> None:
    """The four files in the layout that they are published in, at full count and with little in them."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", 10000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0] = generator.integers(0, 256, count)
        write_idx(folder / f"{name}-images-idx3-ubyte", images, packed)
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(count) % 10, packed)


def without_fingerprint(registry: Registry, name: str) -> Registry:
    """A registry for a replica, whose labels are not those of the real set."""
    return with_entries(registry, registry.dataset(name).model_copy(update={"fingerprint": "unknown"}))


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_from_a_replica(
    shipped: Registry, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", tmp_path / "nowhere")
    fashion_replica(tmp_path / "fashion_mnist" / "FashionMNIST" / "raw", packed)
    opened = open_dataset("fashion_mnist", without_fingerprint(shipped, "fashion_mnist"), tmp_path)
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 60000, "test": 10000}
    assert opened.splits["test"].ids[9] == "test-00009" and opened.splits["test"].labels[9] == 9
    image = np.asarray(opened.splits["train"].images.load(0))
    assert image.shape == (28, 28) and image[0, 0] == np.random.default_rng(0).integers(0, 256, 60000)[0]


def test_fashion_mnist_in_place_where_debian_puts_it(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion_replica(tmp_path / "usr", packed=True)
    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", tmp_path / "usr")
    before = sorted(path.name for path in (tmp_path / "usr").iterdir())
    replica = without_fingerprint(shipped, "fashion_mnist")
    opened = open_dataset("fashion_mnist", replica, tmp_path / "root")
    assert len(opened.splits["train"]) == 60000
    assert sorted(path.name for path in (tmp_path / "usr").iterdir()) == before
    prepare(replica.dataset("fashion_mnist"), tmp_path / "root")
    assert [path.name for path in (tmp_path / "root" / "fashion_mnist").iterdir()] == ["prepared.json"]


def test_fashion_mnist_of_a_package_that_apt_fetched(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", Path("/nowhere/fashion-mnist"))
    asked: list[str] = []

    def fetched(package: Package, root: Path) -> Path:
        asked.append(package.name)
        fashion_replica(root / "packages" / package.name / "nowhere" / "fashion-mnist", packed=True)
        return root / "packages" / package.name

    monkeypatch.setattr(arrays, "obtain", fetched)
    replica = without_fingerprint(shipped, "fashion_mnist")
    assert len(prepare(replica.dataset("fashion_mnist"), tmp_path).splits["test"]) == 10000
    assert asked == ["dataset-fashion-mnist"]


def test_fashion_mnist_damaged_or_incomplete(
    shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "usr"
    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", place)
    with pytest.raises(DatasetError, match="prepare fetches it \\(dataset-fashion-mnist\\)"):
        open_dataset("fashion_mnist", shipped, tmp_path)
    fashion_replica(place, packed=True, train=50)
    with pytest.raises(DatasetError, match="found .*50.* where the entry says"):
        open_dataset("fashion_mnist", shipped, tmp_path)
    file = place / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="t10k-images-idx3-ubyte.gz is damaged"):
        open_dataset("fashion_mnist", shipped, tmp_path)
    file.unlink()
    with pytest.raises(DatasetError, match="t10k-images-idx3-ubyte.gz is missing"):
        open_dataset("fashion_mnist", shipped, tmp_path)


def test_cifar100_from_a_replica(shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR100
    from torchvision.datasets.utils import calculate_md5

    with pytest.raises(DatasetError, match="probebench datasets prepare cifar100"):
        open_dataset("cifar100", shipped, tmp_path)
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 50000), ("test", 10000)):
        data = np.zeros((count, 3072), np.uint8)
        data[:, 0] = np.arange(count) % 251
        (folder / name).write_bytes(pickle.dumps({"data": data, "fine_labels": [n % 100 for n in range(count)]}))
    names = list(shipped.dataset("cifar100").classes)
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    for attribute, name in (("train_list", "train"), ("test_list", "test")):
        monkeypatch.setattr(CIFAR100, attribute, [[name, calculate_md5(str(folder / name))]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": calculate_md5(str(folder / "meta"))})
    opened = open_dataset("cifar100", shipped, tmp_path)
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 50000, "test": 10000}
    assert np.asarray(opened.splits["train"].images.load(3))[0, 0].tolist() == [3, 0, 0]
    assert opened.class_names == tuple(names)


@pytest.mark.parametrize(("kind", "package"), [("wds", "webdataset"), ("hf", "huggingface")])
def test_sources_of_the_users_own_go_to_their_opener(
    kind: str, package: str, shipped: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    opener = SimpleNamespace(**{f"open_{kind}": lambda text, root: asked.append((text, root))})
    monkeypatch.setitem(sys.modules, f"probebench.datasets.sources.{package}.open", opener)
    monkeypatch.setattr("probebench.datasets.open.remembered", lambda opened, *_: opened)
    open_dataset(f"{kind}:a/b:c", shipped, tmp_path)
    assert asked == [("a/b:c", tmp_path)]


def test_unknown_name(shipped: Registry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean digits"):
        open_dataset("digit", shipped, tmp_path)


def dataset(train: int = 4, test: int = 2, ids: tuple[str, ...] | None = None) -> Dataset:
    def split(prefix: str, count: int) -> Split:
        names = ids if ids and prefix == "train" else tuple(f"{prefix}{number}" for number in range(count))
        return Split(names, np.arange(count) % 2, ArrayImages(np.zeros((count, 2, 2), np.uint8)))

    return Dataset("d", ("a", "b"), {"train": split("train", train), "test": split("test", test)})


def test_fingerprint_covers_ids_labels_and_splits_but_not_pixels() -> None:
    same = dataset()
    assert same.fingerprint == dataset().fingerprint
    assert dataset(train=6).fingerprint != same.fingerprint
    bright = Split(same.splits["test"].ids, same.splits["test"].labels, ArrayImages(np.ones((2, 2, 2), np.uint8)))
    repainted = Dataset("d", ("a", "b"), {**same.splits, "test": bright})
    assert repainted.fingerprint == same.fingerprint and repainted.content != same.content
    relabelled = Split(same.splits["test"].ids, same.splits["test"].labels[::-1].copy(), same.splits["test"].images)
    assert Dataset("d", ("a", "b"), {**same.splits, "test": relabelled}).fingerprint != same.fingerprint


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dataset(test=0), "test split has no images"),
        (dataset(train=1), "at least two classes"),
        (dataset(ids=("x", "y", "x", "z")), "ids repeat"),
        (dataset(ids=("\udcff", "b"), train=2), "not UTF-8"),
    ],
)
def test_data_sets_that_cannot_be_evaluated(wrong: Dataset, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        check_dataset(wrong)
