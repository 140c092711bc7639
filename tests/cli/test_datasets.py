import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_images

Run = Callable[..., Ran]


def test_list(run: Run) -> None:
    assert "fashion_mnist" in run("datasets", "list").out
    assert {spec["id"] for spec in json.loads(run("datasets", "list", "--json").out)} >= {"digits", "cifar100"}


def test_show_opens_the_data_set(run: Run, tmp_path: Path) -> None:
    done = run("datasets", "show", "digits")
    assert "images: train 898, test 899" in done.out and "class names: 0, 1, 2" in done.out
    make_images(tmp_path / "mine", each=10)
    facts = json.loads(run("datasets", "show", "folder:mine", "--json").out)
    assert facts["images"] == {"train": 24, "test": 6} and facts["smallest_class"] == {"train": 8, "test": 2}
    assert run("datasets", "show", "folder:nowhere").code == 2
    assert "did you mean digits" in run("datasets", "show", "digit").error


def test_show_of_a_set_that_is_not_here_gives_the_entry(run: Run, home: Path) -> None:
    done = run("datasets", "show", "caltech101")
    assert done.code == 0 and "metric: mean-per-class" in done.out and "quirk: BACKGROUND_Google" in done.out
    assert "class counts: train 30, test 1 to 770" in done.out and "splits: train 3030, test 5647" in done.out
    assert "not on this machine: run probebench datasets prepare caltech101; unpack" in done.out
    facts = json.loads(run("datasets", "show", "caltech101", "--json").out)
    assert str(home) in facts["not_on_this_machine"] and "fingerprint" not in facts
    assert facts["class_names"][:2] == ["off-center face", "centered face"] and facts["classes"] == 101


def test_show_of_a_half_unpacked_set_fails(run: Run, home: Path) -> None:
    (home / "datasets" / "dtd" / "dtd" / "dtd" / "images").mkdir(parents=True)
    assert "labels/train1.txt is missing" in run("datasets", "show", "dtd").error


def test_prepare_several(run: Run, home: Path) -> None:
    done = run("datasets", "prepare", "digit*", "cassava", "imagenet1k")
    assert done.code == 1 and "digits is ready: train 898, test 899" in done.out
    assert f"{home}/datasets/cassava/\n  train.csv  (missing)\n" in done.out
    assert done.error == "2 of 3 data sets are not ready, as said above: cassava, imagenet1k"
    assert "Kaggle account" in run("datasets", "prepare", "cassava").error


def test_prepare_a_suite_and_see_it_in_the_list(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from probebench.datasets.named import arrays

    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", Path("/nowhere"))
    monkeypatch.setattr("probebench.datasets.drawn.package.SYSTEM", home / "no debian")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.download", lambda _: None)
    done = run("datasets", "prepare", "offline")
    assert done.error == "1 of 2 data sets are not ready, as said above: fashion_mnist"
    prepared = {spec["id"]: spec["prepared"] for spec in json.loads(run("datasets", "list", "--json").out)}
    assert prepared["digits"] and not prepared["fashion_mnist"]


def test_prepare(run: Run) -> None:
    assert "digits is ready: train 898, test 899" in run("datasets", "prepare", "digits").out
    assert run("datasets", "prepare", "nothing").code == 2


def test_check_names_images_that_occur_twice(run: Callable[..., Ran], tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        make_images(tmp_path / "mine" / split, each=4, seed=seed, size=64)
    clean = run("datasets", "show", "folder:mine", "--check")
    assert clean.code == 0 and "the same pixels: none" in clean.out and "alike: none" in clean.out
    shutil.copy(tmp_path / "mine/train/class0/000.png", tmp_path / "mine/test/class0/copy.png")
    shutil.copy(tmp_path / "mine/train/class1/000.png", tmp_path / "mine/train/class2/copy.png")
    found = run("datasets", "show", "folder:mine", "--check").out
    assert "the same pixels: 1 images of test in train, 2 images of train under another label too" in found
    assert "test test/class0/copy.png (class0)" in found and "train train/class0/000.png (class0)" in found
    facts = json.loads(run("datasets", "show", "folder:mine", "--check", "--json").out)
    assert facts["duplicates"]["exact"]["between"] == {"test in train": 1}
    assert {pair["first"]["split"] for pair in facts["duplicates"]["exact"]["pairs"]} == {"train"}
    assert run("datasets", "show", "dtd", "--check").code == 1
