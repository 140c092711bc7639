import os
from pathlib import Path
from typing import Any

from probebench.cache.index import read_index
from probebench.cache.store import feature_path
from tests.cache.test_key import key, preprocessing
from tests.cache.test_store import write


def store(home: Path, when: int = 0, splits: tuple[str, ...] = ("train", "test"), **changes: Any) -> None:
    for split in splits:
        own = key(split=split, **changes)
        path = feature_path(home, "net", "digits", own)
        write(path, [10], own)
        os.utime(path, (when, when))


def test_the_splits_of_an_extraction_are_found_together(tmp_path: Path) -> None:
    store(tmp_path)
    store(tmp_path, **preprocessing(size=96))
    index = read_index(tmp_path)
    assert [group.key.preprocessing.size for group in index.groups] == [32, 96]
    assert all(set(group.paths) == {"train", "test"} and not group.missing for group in index.groups)
    assert not index.older and not index.problems


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    store(tmp_path, splits=("train",))
    (group,) = read_index(tmp_path).groups
    assert group.missing == ("test",)


def test_new_weights_replace_old_ones(tmp_path: Path) -> None:
    store(tmp_path, when=1000, weights_digest="new")
    store(tmp_path, when=500, weights_digest="old")
    index = read_index(tmp_path)
    assert [group.key.weights_digest for group in index.groups] == ["new"]
    assert [group.key.weights_digest for group in index.older] == ["old"]


def test_changed_images_never_mix_with_old_ones(tmp_path: Path) -> None:
    store(tmp_path, when=500, content="old")
    store(tmp_path, when=1000, content="new", splits=("train",))
    index = read_index(tmp_path)
    (group,) = index.groups
    assert group.key.content == "new" and group.missing == ("test",)


def test_damaged_files_are_listed_and_the_rest_is_there(tmp_path: Path) -> None:
    store(tmp_path)
    bad = tmp_path / "features" / "other" / "digits" / "train-0.h5"
    bad.parent.mkdir(parents=True)
    bad.write_text("not HDF5")
    index = read_index(tmp_path)
    assert len(index.groups) == 1 and list(index.problems) == [bad]
    assert read_index(tmp_path / "empty").groups == ()
