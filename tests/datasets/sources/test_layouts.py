"""What a folder is taken for, and how to say it otherwise."""

from pathlib import Path

import pytest

from probebench.errors import DatasetError
from tests.conftest import make_images
from tests.datasets.sources.test_folder_contents import opened


@pytest.fixture
def root(home: Path) -> Path:
    return home / "datasets"


def classes(place: Path, *names: str, each: int = 5) -> Path:
    for seed, name in enumerate(names):
        make_images(place, classes=1, each=each, seed=seed).joinpath("class0").rename(place / name)
    return place


def test_a_class_called_train(tmp_path: Path, root: Path) -> None:
    place = classes(tmp_path / "d", "bus", "car", "train")
    dataset, said = opened(place, root)
    assert dataset.class_names == ("bus", "car", "train")
    assert "read as class folders, train among them; where that is a split: --layout splits" in said
    assert opened(place, root, "classes")[0].id == dataset.id and opened(place, root, "classes")[1] == ""
    with pytest.raises(DatasetError, match="has train but neither test nor val beside it"):
        opened(place, root, "splits")


def test_folders_beside_splits_are_named(tmp_path: Path, root: Path) -> None:
    place = tmp_path / "d"
    for seed, split in enumerate(("train", "test", "extra")):
        make_images(place / split, each=3, seed=seed)
    dataset, said = opened(place, root)
    assert set(dataset.splits) == {"train", "test"}
    assert "read as splits (test and train), without extra; where all are classes: --layout classes" in said
    assert opened(place, root, "splits")[0].id == dataset.id
    assert opened(place, root, "classes")[0].class_names == ("extra", "test", "train")
    (place / "validation").mkdir()
    (place / "val").mkdir()
    with pytest.raises(DatasetError, match="has val and validation, which are both the val split; rename one"):
        opened(place, root)


def test_splits_without_class_folders(tmp_path: Path, root: Path) -> None:
    place = classes(tmp_path / "d", "train", "test")
    with pytest.raises(DatasetError, match="test and train hold images and no class folders; .*--layout classes"):
        opened(place, root)
    assert opened(place, root, "classes")[0].class_names == ("test", "train")
    with pytest.raises(DatasetError, match="has no train folder, which --layout splits needs"):
        opened(classes(tmp_path / "e", "cat", "dog"), root, "splits")


def test_a_class_called_train_that_has_folders(tmp_path: Path, root: Path) -> None:
    place = classes(tmp_path / "d", "bus", "car")
    make_images(place / "train")
    with pytest.raises(DatasetError, match="has train but neither .*; where it is a class: --layout classes"):
        opened(place, root)


def test_a_folder_of_data_sets(tmp_path: Path, root: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        for split in ("Train", "val"):
            make_images(tmp_path / "d" / name / split, each=3, seed=seed)
    with pytest.raises(
        DatasetError, match=r"holds data sets with splits of their own \(a and b\): name one, such as .*/a"
    ):
        opened(tmp_path / "d", root)
    assert opened(tmp_path / "d", root, "classes")[0].class_names == ("a", "b")
    for seed, name in enumerate(("a", "b")):
        make_images(tmp_path / "e" / name, each=3, seed=seed)
    dataset, said = opened(tmp_path / "e", root)
    assert dataset.class_names == ("a", "b")
    assert "a and b hold folders of the same names (class0, class1 and class2), and each is read as one class" in said


def test_a_folder_around_the_data_set(tmp_path: Path, root: Path) -> None:
    make_images(tmp_path / "d" / "photos")
    with pytest.raises(DatasetError, match="holds one folder, photos, .* did you mean folder:.*/d/photos"):
        opened(tmp_path / "d", root)


def test_classes_too_small_to_be_tested(tmp_path: Path, root: Path) -> None:
    place = classes(tmp_path / "d", "cat", "dog")
    classes(place, "lynx", "puma", each=2)
    _, said = opened(place, root)
    assert "without test images, so that it trains and is never tested: lynx, puma" in said


def test_a_layout_that_does_not_fit(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    place = classes(tmp_path / "d", "bus", "car", "train")
    shown = run("datasets", "show", place, "--layout", "classes")
    assert shown.code == 0 and "classes: 3" in shown.out and shown.err == ""
    assert run("datasets", "show", f"folder:{place}?layout=classes").out == shown.out
    assert "classes or splits, not 'other'" in run("datasets", "show", f"folder:{place}?layout=other").error
    assert "--layout is for folders" in run("datasets", "show", "digits", "--layout", "classes").error
