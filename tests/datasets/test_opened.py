"""What is remembered of a user's own data: where it lies, and which test images are in train too."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import probebench as pb
from probebench.datasets.open import open_dataset
from probebench.datasets.opened import recall
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.registry import Registry
from tests.conftest import make_images, write_entry


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


def with_copies(place: Path, copies: int) -> Path:
    for seed, split in enumerate(("train", "test")):
        make_images(place / split, each=4, seed=seed)
    for number in range(copies):
        shutil.copy(place / "train" / "class0" / f"{number:03d}.png", place / "test" / "class1" / f"copy{number}.png")
    return place


@pytest.mark.parametrize("kind", ["folder", "hf"])
def test_exact_duplicates_are_told_at_opening(shipped: Registry, tmp_path: Path, root: Path, kind: str) -> None:
    place = with_copies(tmp_path / "d", 3)
    for split in ("train", "test"):
        # Nothing in common, for all that they have the same bytes.
        (place / split / "class2" / "empty.png").touch()
    with pytest.warns(ProbebenchWarning, match=r"3 of 16 test images are in train too, .*\(test .*copy0.png = train"):
        dataset = open_dataset(f"{kind}:{place}", shipped, root)
    known = recall(dataset.id, root)
    assert known is not None and known.shared_with_train == 3


def test_results_say_what_is_shared(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    write_entry(registry)
    for copies in (2, 0):
        place = with_copies(tmp_path / str(copies), copies)
        with pytest.warns(ProbebenchWarning) if copies else pytest.MonkeyPatch.context():
            features = pb.extract("tiny", f"folder:{place}", registry=registry)
            results = pb.evaluate(features, shots=1, draws=1, registry=registry, out=tmp_path / "out")
        assert [one.shared_with_train for one in results] == [copies]
        (path,) = (tmp_path / "out").rglob(f"*{features.dataset[-8:]}/*.json")
        assert f'"shared_with_train": {copies}' in path.read_text()


def test_images_in_memory_are_compared_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 9, 3), np.uint8)
    items = [(one, number % 2) for number, one in enumerate(pixels)]
    from probebench.api.data import open_data

    with pytest.warns(ProbebenchWarning, match="2 of 4 test images are in train too"):
        open_data(Registry.load(environ={}), {"train": items[:6], "test": items[4:]}, None, None)


def test_an_id_opens_what_lay_where_it_was(
    shipped: Registry, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_images(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    first = open_dataset("folder:d?layout=classes", shipped, root)
    monkeypatch.chdir("/")
    assert open_dataset(first.id, shipped, root).splits["test"].ids == first.splits["test"].ids
    (place / "class0" / "000.png").unlink()
    with pytest.raises(DatasetError, match=f"{first.id} lay at folder:.*/d.*, where there are other images now"):
        open_dataset(first.id, shipped, root)
    shutil.rmtree(place)
    with pytest.raises(UsageError, match="does not exist"):
        open_dataset(first.id, shipped, root)
    with pytest.raises(UsageError, match="does not exist"):
        open_dataset("folder:d-00000000", shipped, root)
