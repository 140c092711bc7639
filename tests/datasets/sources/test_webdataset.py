"""Webdatasets, written by webdataset itself: what comes out is what went in."""

import importlib.util
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.datasets.sources.webdataset.open import open_wds
from probebench.errors import DatasetError, UsageError
from tests.conftest import Ran, write_entry
from tests.datasets.shards import GOOD, LABELS, Host, assert_same, png, remote, write_files, write_shards


@pytest.mark.parametrize("layout", ["flat", "named", "below", "patterns", "glob", "file"])
def test_every_way_to_name_shards_gives_what_was_written(tmp_path: Path, root: Path, layout: str) -> None:
    place = tmp_path / "my cars"
    names = {"below": "{0}/%05d.tar", "named": "cars_{0}-%06d.tar"}.get(layout, "{0}-%06d.tar")
    write_shards(place / names.format("train"), range(25))
    write_shards(place / names.format("test"), range(25, 40))
    text = {
        "patterns": f"test={place}/test-{{000000..000001}}.tar;train={place}/train-{{000000..000002}}.tar",
        "glob": f"train={place}/train-*.tar;test={place}/test-*.tar",
        "file": f"train=file:{place}/train-{{000000..000002}}.tar;test={place}/test-{{000000,000001}}.tar",
    }.get(layout, str(place))
    opened = open_wds(text, root)
    assert_same(opened, {"train": range(25), "test": range(25, 40)})
    assert list(opened.splits) == ["train", "test"] and opened.class_names == ("0", "1", "2")
    assert opened.splits["test"].ids[0] == "test/000025"
    assert opened.id.startswith("wds:my_cars-") and len(opened.id) == len("wds:my_cars-") + 8


def test_samples_in_other_shards_are_the_same_data_set(tmp_path: Path, root: Path) -> None:
    for each in (7, 20):
        write_shards(tmp_path / str(each) / "d" / "train-%03d.tar", range(30), each)
        write_shards(tmp_path / str(each) / "d" / "test-%03d.tar", range(30, 40), each)
    few, many = (open_wds(str(tmp_path / each / "d"), root) for each in ("7", "20"))
    assert few.id == many.id and few.fingerprint == many.fingerprint


def test_splits_as_people_have_them(tmp_path: Path, root: Path) -> None:
    write_shards(tmp_path / "Training" / "%03d.tar", range(20))
    write_shards(tmp_path / "valid" / "%03d.tar", range(20, 30))
    # ImageNet's layout: val is what everybody reports.
    assert_same(open_wds(str(tmp_path), root), {"train": range(20), "test": range(20, 30)})
    write_shards(tmp_path / "test" / "%03d.tar", range(30, 40))
    opened = open_wds(str(tmp_path), root)
    assert list(opened.splits) == ["train", "val", "test"]
    assert_same(opened, {"train": range(20), "val": range(20, 30), "test": range(30, 40)})


@pytest.mark.parametrize("text", ["{0}/all-{{000..003}}.tar", "{0}"])
def test_shards_without_splits_get_a_fixed_test_split(tmp_path: Path, root: Path, text: str) -> None:
    write_shards(tmp_path / "d" / "all-%03d.tar", range(40))
    opened = open_wds(text.format(tmp_path / "d"), root)
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 31, "test": 9}
    numbers = {name: [int(one) for one in split.ids] for name, split in opened.splits.items()}
    assert sorted(numbers["train"] + numbers["test"]) == list(range(40))
    assert_same(opened, numbers)  # type: ignore[arg-type]


def test_labels_in_json_and_names_of_classes(tmp_path: Path, root: Path) -> None:
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        files = {}
        for number in numbers:
            files[f"a/{number}.photo.PNG"] = png(number)
            files[f"a/{number}.json"] = json.dumps({"label": int(LABELS[number]), "caption": "é"}).encode()
            files[f"a/{number}.txt"] = b"a caption"
        files["__meta__/7.jpg"] = files["README"] = b"which webdataset skips"
        write_files(tmp_path / "d" / f"{split}-0.tar", files)
    assert open_wds(str(tmp_path / "d"), root).class_names == ("0", "1", "2")
    (tmp_path / "d" / "classes.txt").write_text("red\r\ngreen\r\n\r\nblue car\r\nnobody\r\n\r\n")
    opened = open_wds(str(tmp_path / "d"), root)
    assert opened.class_names == ("red", "green", "", "blue car", "nobody")
    assert_same(opened, {"train": range(6), "test": range(6, 9)})
    (tmp_path / "d" / "classes.txt").write_text("red\ngreen\n")
    with pytest.raises(DatasetError, match="train-0.tar: sample a/2 has the label 2, and .* has 2 lines"):
        open_wds(str(tmp_path / "d"), root)


def test_numbers_of_classes_that_do_not_occur_are_no_classes(tmp_path: Path, root: Path) -> None:
    for split in ("train", "test"):
        files: dict[str, bytes] = {}
        for number, label in enumerate((900, 7, 7, 900, 30)):
            files |= {f"{number}.png": png(number), f"{number}.cls": b"%d\n" % label}
        write_files(tmp_path / f"{split}.tar", files)
    opened = open_wds(str(tmp_path), root)
    assert opened.class_names == ("7", "30", "900") and opened.splits["train"].labels.tolist() == [2, 0, 0, 2, 1]


def test_streamed_and_local_shards_are_the_same_data_set(host: Host, tmp_path: Path, root: Path) -> None:
    assert open_wds(remote(host), root).id == open_wds(str(tmp_path / "served" / "cars"), root).id


def test_an_image_takes_little_memory(tmp_path: Path, root: Path) -> None:
    content = png()
    files: dict[str, bytes] = {}
    for number in range(3000):
        files |= {f"{number:08d}.png": content, f"{number:08d}.cls": b"%d" % (number % 2)}
    write_files(tmp_path / "d" / "train-0.tar", files)
    write_shards(tmp_path / "d" / "test-%03d.tar", range(4))
    opened = open_wds(str(tmp_path / "d"), root)
    assert len(pickle.dumps(opened.splits["train"].images)) / 3000 < 120
    assert len(pickle.dumps(opened.splits["train"])) / 3000 < 200


def test_keys_repeat_between_shards(tmp_path: Path, root: Path) -> None:
    for name in ("train-0", "train-1", "test-0"):
        write_files(tmp_path / "d" / f"{name}.tar", GOOD)
    with pytest.raises(DatasetError, match="shard .*train-1.tar: sample 0 is in .*train-0.tar too; each sample"):
        open_wds(str(tmp_path / "d"), root)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("pipe:touch {0}/ran", UsageError, "not by pipe:"),
        ("train=pipe:touch {0}/ran;test=a.tar", UsageError, "not by pipe:"),
        ("train=ftp://host/a.tar;test=b.tar", UsageError, "not by ftp:"),
        ("train={0}/a.tar;tset={0}/b.tar", UsageError, "'tset={0}/b.tar' is not SPLIT=PATTERN"),
        ("train={0}/a.tar;", UsageError, "'' is not SPLIT=PATTERN"),
        ("val={0}/a.tar", UsageError, "has no train split"),
        ("train={0}/a.tar", DatasetError, "has train but neither test nor val"),
        ("test={0}/a.tar", DatasetError, "has test but no train beside it"),
        ("{0}/a-{{0..1}}.tar", DatasetError, "a-0.tar cannot be read: No such file"),
        ("{0}/a-*.tar", DatasetError, "names no shards"),
        ("{0}/a-${{NOWHERE}}.tar", UsageError, "is not a pattern of shards"),
        ("{0}", DatasetError, "holds no shards"),
    ],
)
def test_texts_that_name_nothing(tmp_path: Path, root: Path, text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said.format(tmp_path)):
        open_wds(text.format(tmp_path), root)
    assert not (tmp_path / "ran").exists()


def test_a_shard_without_a_split_beside_those_that_have_one(tmp_path: Path, root: Path) -> None:
    for name in ("train-0", "test-0", "more-0"):
        write_files(tmp_path / f"{name}.tar", GOOD)
    with pytest.raises(DatasetError, match="more-0.tar has no split in its name"):
        open_wds(str(tmp_path), root)


def test_a_shard_that_is_named_twice(tmp_path: Path, root: Path) -> None:
    write_shards(tmp_path / "d" / "train-%06d.tar", range(10))
    shard = tmp_path / "d" / "train-000000.tar"
    (tmp_path / "d" / "test-000000.tar").symlink_to(shard)
    (tmp_path / "d" / "._train-000000.tar").write_bytes(b"left behind by a system")
    for text, said in (
        (str(tmp_path / "d"), "in train and in test"),
        (f"train={shard};test={tmp_path}/d/../d/train-000000.tar", "in train and in test"),
        (f"train={shard}::{shard};test={shard}", "twice in train"),
    ):
        with pytest.raises(DatasetError, match=f"are one shard, which would be {said}; remove one"):
            open_wds(text, root)


def test_without_webdataset(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs webdataset: pip install 'probebench\[datasets\]'"):
        open_wds(str(tmp_path), root)


def test_from_a_server_to_results_as_typed(
    host: Host, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    done = run("extract", "--model", "tiny", "--dataset", f"wds:{remote(host)}")
    assert done.code == 0 and "40 images in" in done.out, done.err
    host.stop()
    assert "all cached already" in run("extract", "--model", "tiny", "--dataset", f"wds:{remote(host)}").out
    done = run("eval", "--shots", "1", "--draws", "2", "--dataset", f"wds:{remote(host)}")
    assert done.code == 0 and "wds:cars-" in done.out, done.err
