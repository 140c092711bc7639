"""Data sets of Hugging Face datasets, written by it: what comes out is what went in."""

import importlib.util
import io
import json
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from probebench.datasets.base import Dataset
from probebench.datasets.sources.huggingface.images import table_images
from probebench.datasets.sources.huggingface.load import HubSource
from probebench.datasets.sources.huggingface.open import open_hf
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from tests.conftest import make_images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3
CLASSES = ["red", "green", "blue car"]
CLASS = datasets.ClassLabel(names=CLASSES)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(buffer, "PNG")
    return buffer.getvalue()


def table(numbers: Sequence[int], label: Any = CLASS, **columns: tuple[Any, list[Any]]) -> datasets.Dataset:
    """The numbered images under ``image`` and their labels under ``label``, and whatever other columns."""
    rows: dict[str, list[Any]] = {"image": [{"bytes": png(number), "path": None} for number in numbers]}
    features: dict[str, Any] = {"image": datasets.Image()}
    if label is not None:
        rows["label"], features["label"] = [int(LABELS[number]) for number in numbers], label
    for name, (feature, values) in columns.items():
        rows[name], features[name] = values, feature
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def save(path: Path, **splits: datasets.Dataset) -> str:
    datasets.DatasetDict(splits).save_to_disk(path)
    return str(path)


def assert_same(opened: Dataset, expected: dict[str, Sequence[int]]) -> None:
    """Labels and pixels are those of the arrays, split by split and in order."""
    assert {name: len(split) for name, split in opened.splits.items()} == {k: len(v) for k, v in expected.items()}
    for name, numbers in expected.items():
        split = opened.splits[name]
        assert np.array_equal(split.labels, LABELS[list(numbers)])
        for position, number in enumerate(numbers):
            split.images.check(position)
            assert np.array_equal(np.asarray(split.images.load(position)), PIXELS[number])


@pytest.mark.parametrize("layout", ["saved", "parquet", "arrow", "json"])
def test_every_layout_gives_what_was_written(tmp_path: Path, root: Path, layout: str) -> None:
    place = tmp_path / "my cars"
    splits = {"train": table(range(25)), "validation": table(range(25, 32)), "test": table(range(32, 40))}
    if layout == "saved":
        save(place, **splits)
    for split, rows in splits.items():
        (place / "data").mkdir(parents=True, exist_ok=True)
        if layout == "parquet":
            rows.to_parquet(place / "data" / f"{split}-00000-of-00001.parquet")
        elif layout == "arrow":
            rows.save_to_disk(tmp_path / split)
            next((tmp_path / split).glob("*.arrow")).rename(place / "data" / f"{split}.arrow")
    if layout == "json":
        # Files beside a table that names them, as people publish image folders with metadata.
        for split, numbers in (("train", range(25)), ("validation", range(25, 32)), ("test", range(32, 40))):
            (place / split).mkdir()
            lines = []
            for number in numbers:
                (place / split / f"{number}.png").write_bytes(png(number))
                lines.append(json.dumps({"file_name": f"{number}.png", "label": int(LABELS[number])}))
            (place / split / "metadata.jsonl").write_text("\n".join(lines))
    opened = open_hf(str(place), root)
    assert list(opened.splits) == ["train", "val", "test"]
    assert_same(opened, {"train": range(25), "val": range(25, 32), "test": range(32, 40)})
    assert opened.class_names == (tuple(CLASSES) if layout != "json" else ("0", "1", "2"))
    assert opened.id.startswith("hf:my_cars-") and len(opened.id) == len("hf:my_cars-") + 8
    assert opened.splits["val"].ids[1] == ("validation/26.png" if layout == "json" else "val-000001")
    assert open_hf(str(place), root).id == opened.id


def test_class_folders_are_the_ones_that_folder_reads(tmp_path: Path, root: Path) -> None:
    from probebench.datasets.sources.folder import open_folder

    for number, split in enumerate(("train", "test")):
        make_images(tmp_path / "d" / split, each=3, seed=number)
    opened, folder = open_hf(str(tmp_path / "d"), root), open_folder(tmp_path / "d", root)
    assert opened.class_names == folder.class_names
    assert opened.fingerprint == folder.fingerprint and opened.content == folder.content
    assert opened.splits["test"].ids[0] == "test/class0/000.png"


def test_validation_is_the_test_split_where_test_has_no_labels(tmp_path: Path, root: Path) -> None:
    kept_back = table(range(30, 40)).map(lambda row: {"label": -1}, features=table([0]).features)
    place = save(tmp_path / "d", train=table(range(20)), validation=table(range(20, 30)), test=kept_back)
    assert_same(open_hf(place, root), {"train": range(20), "test": range(20, 30)})


@pytest.mark.parametrize("given", ["train", "whole", "none"])
def test_one_split_is_cut_by_the_rule(tmp_path: Path, root: Path, given: str) -> None:
    if given == "none":
        table(range(40)).save_to_disk(tmp_path / "d")
    else:
        save(tmp_path / "d", **{given: table(range(40))})
    opened = open_hf(str(tmp_path / "d"), root)
    numbers = {name: [int(one.removeprefix("image-")) for one in split.ids] for name, split in opened.splits.items()}
    assert sorted(numbers["train"] + numbers["test"]) == list(range(40)) and len(numbers["test"]) == 9
    assert_same(opened, numbers)  # type: ignore[arg-type]


def test_labels_that_are_numbers_or_names(tmp_path: Path, root: Path) -> None:
    words = [CLASSES[label] for label in LABELS]
    whole = datasets.Value("int16"), [int(label) * 10 - 10 for label in LABELS]
    text = datasets.Value("string"), words
    both = table(range(40), None, target=whole, colour=text)
    place = save(tmp_path / "d", train=both.select(range(30)), test=both.select(range(30, 40)))
    opened = open_hf(place, root)
    assert opened.class_names == ("-10", "0", "10")
    assert_same(opened, {"train": range(30), "test": range(30, 40)})
    named = open_hf(f"{place}?label=colour&image=image", root)
    assert named.class_names == ("blue car", "green", "red")
    assert [named.class_names[label] for label in named.splits["test"].labels] == words[30:]


def test_the_fine_labels_of_several_are_taken(tmp_path: Path, root: Path) -> None:
    coarse = datasets.ClassLabel(names=["a", "b"]), [0, 1] * 20
    rows = table(range(40), coarse_label=coarse).rename_column("label", "fine_label")
    place = save(tmp_path / "d", train=rows, test=rows)
    assert open_hf(place, root).class_names == tuple(CLASSES)
    assert open_hf(f"{place}?label=coarse_label", root).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.png", "b/c.png", "d é.png"], ["test/a.png", "test/b/c.png", "test/d é.png"]),
        (["/data/cars/test/a.png", "/data/cars/b/a.png", "/data/cars/c.png"], ["test/a.png", "b/a.png", "c.png"]),
        ([f"/home/me/hub/snapshots/{'0a' * 20}/test/{n}.png" for n in "abc"], [f"test/{n}.png" for n in "abc"]),
        (["a.png", "a.png", "b.png"], None),
        (["a.png", None, "b.png"], None),
        (["a.png", "../b.png", "c.png"], None),
        (["a.png", "/home/me/b.png", "c.png"], None),
        (["a.png", "zip://b.png::https://host/c.zip", "c.png"], None),
        (["a.png", "b\n.png", "c.png"], None),
    ],
)
def test_ids_are_paths_where_each_image_has_its_own(
    tmp_path: Path, paths: list[str | None], expected: list[str] | None
) -> None:
    cells = [{"bytes": png(number), "path": path} for number, path in enumerate(paths)]
    rows = datasets.Dataset.from_dict({"image": cells}, features=datasets.Features({"image": datasets.Image()}))
    source = HubSource(text="cars", place="/data/cars", local=True)
    ids, _ = table_images(rows, "image", "test", source, tmp_path / "digests.npz")
    assert list(ids) == (expected or ["test-000000", "test-000001", "test-000002"])


def test_paths_that_come_with_bytes_are_ids(tmp_path: Path, root: Path) -> None:
    cells = [{"bytes": png(number), "path": f"{number}.png"} for number in range(9)]
    rows = datasets.Dataset.from_dict({"image": cells, "label": LABELS[:9].tolist()}, features=table([0]).features)
    opened = open_hf(save(tmp_path / "d", train=rows, test=rows), root)
    assert opened.splits["train"].ids[8] == "train/8.png" and opened.splits["test"].ids[8] == "test/8.png"


def test_a_changed_image_changes_the_id(tmp_path: Path, root: Path) -> None:
    for number, split in enumerate(("train", "test")):
        make_images(tmp_path / "d" / split, each=3, seed=number)
    before = open_hf(str(tmp_path / "d"), root)
    Image.fromarray(PIXELS[0]).save(tmp_path / "d" / "test" / "class1" / "001.png")
    after = open_hf(str(tmp_path / "d"), root)
    assert after.id != before.id and after.fingerprint == before.fingerprint
    place = save(tmp_path / "one", train=table(range(9)), test=table(range(9)))
    other = save(tmp_path / "other" / "one", train=table(range(9)), test=table([0, 1, 2, 3, 4, 5, 6, 7, 20]))
    assert open_hf(place, root).fingerprint == open_hf(other, root).fingerprint
    assert open_hf(place, root).id != open_hf(other, root).id


def test_a_second_look_reads_no_image(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from probebench.datasets.sources.huggingface import images

    place = save(tmp_path / "d", train=table(range(20)), test=table(range(20, 40)))
    make_images(tmp_path / "files" / "train")
    make_images(tmp_path / "files" / "test", seed=1)
    before = [open_hf(one, root).id for one in (place, str(tmp_path / "files"))]
    monkeypatch.setattr(images, "write_arrays", lambda *_: pytest.fail("images were read again"))
    assert [open_hf(one, root).id for one in (place, str(tmp_path / "files"))] == before


def test_images_go_to_other_processes(tmp_path: Path, root: Path) -> None:
    place = save(tmp_path / "d", train=table(range(30)))
    images = open_hf(place, root).splits["train"].images
    assert len(pickle.dumps(images)) < 10_000, "the table stays on the disk"
    numbers = [int(one.removeprefix("image-")) for one in open_hf(place, root).splits["train"].ids]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for number, found in zip(numbers, pool.map(images.load, range(len(numbers)), chunksize=30), strict=True):
            assert np.array_equal(np.asarray(found), PIXELS[number])


@pytest.mark.parametrize("content", [b"", b"no image", png(0)[:150]])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, root: Path, content: bytes) -> None:
    rows = table(range(3))
    cells = [*rows.cast_column("image", datasets.Image(decode=False))["image"]]
    cells[1] = {"bytes": content, "path": None}
    damaged = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 2]}, features=rows.features)
    place = save(tmp_path / "d", train=rows, test=damaged)
    images = open_hf(place, root).splits["test"].images
    images.check(0)
    for look in (images.check, images.load):
        with pytest.raises(
            DatasetError, match=r"image test-000001 of data set hf:.*/d cannot be read \(.+\); repair or"
        ):
            look(1)


def test_a_file_that_is_damaged_or_gone_is_named(tmp_path: Path, root: Path) -> None:
    for number, split in enumerate(("train", "test")):
        make_images(tmp_path / "d" / split, each=3, seed=number)
    images = open_hf(str(tmp_path / "d"), root).splits["test"].images
    path = tmp_path / "d" / "test" / "class0" / "001.png"
    path.write_bytes(path.read_bytes()[:100])
    for _ in range(2):
        for look in (images.check, images.load):
            with pytest.raises(DatasetError, match=r"image .*test/class0/001.png cannot be read"):
                look(1)
        path.unlink(missing_ok=True)


def refused(place: str, root: Path) -> str:
    with pytest.raises((DatasetError, UsageError)) as stopped:
        open_hf(place, root)
    assert "\n" not in str(stopped.value)
    return str(stopped.value)


def test_columns_that_are_not_clear_are_asked_for(tmp_path: Path, root: Path) -> None:
    image = datasets.Image(), [{"bytes": png(number), "path": None} for number in range(40)]
    two = table(range(40), right=image, n=(datasets.Value("int64"), list(range(40)))).rename_column("image", "left")
    place = save(tmp_path / "two", train=two, test=two)
    assert f"several columns of images (left, right): name one as hf:{place}?image=COLUMN" in refused(place, root)
    assert_same(open_hf(f"{place}?image=right", root), {"train": range(40), "test": range(40)})
    assert "column 'n' holds no images; of its columns these may: left, right" in refused(f"{place}?image=n", root)
    assert "two?colour=red: colour is neither image nor label" in refused(f"{place}?colour=red", root)
    classes = table(range(40)).rename_column("label", "a").add_column("b", list(LABELS)).cast_column("b", CLASS)
    place = save(tmp_path / "labels", train=classes, test=classes)
    assert f"several columns of labels (a, b): name one as hf:{place}?label=COLUMN" in refused(place, root)
    none = table(range(40), None, n=(datasets.Value("int64"), [0, 1] * 20))
    place = save(tmp_path / "none", train=none, test=none)
    assert f"no column of labels among image, n; name one as hf:{place}?label=COLUMN" in refused(place, root)
    assert open_hf(f"{place}?label=n", root).class_names == ("0", "1")
    text = datasets.Dataset.from_dict({"text": ["a"], "label": [0]})
    assert "no column of images among text, label" in refused(save(tmp_path / "text", train=text, test=text), root)


def test_labels_and_images_that_are_missing_are_named(tmp_path: Path, root: Path) -> None:
    rows = table(range(6))
    some = rows.map(lambda _, number: {"label": -(number == 4)}, with_indices=True, features=rows.features)
    assert "row 4 of test has no label in label" in refused(save(tmp_path / "a", train=rows, test=some), root)
    number = datasets.Value("int64")
    nulls = table(range(6), None, target=(number, [0, None, 1, 1, 1, 1]))
    whole = table(range(6), None, target=(number, [0, 0, 1, 1, 1, 1]))
    assert "row 1 of test has no label" in refused(save(tmp_path / "b", train=whole, test=nulls), root)
    cells = [{"bytes": png(0), "path": None}, None, {"bytes": png(0), "path": None}]
    blank = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 2]}, features=rows.features)
    images = open_hf(save(tmp_path / "c", train=rows, test=blank), root).splits["test"].images
    for look in (images.check, images.load):
        with pytest.raises(DatasetError, match="test-000001 of data set hf:.*/c has no image; remove it"):
            look(1)
    images.check(0)
    other = table(range(6), datasets.ClassLabel(names=["x", "y", "z"]))
    assert "column label of test has another kind" in refused(save(tmp_path / "d", train=rows, test=other), root)
    both = save(tmp_path / "e", first=rows, second=rows)
    assert "has no labelled train split; those with labels are: first, second" in refused(both, root)
    assert "has test but no train beside it" in refused(save(tmp_path / "f", test=rows), root)


def test_files_that_no_split_takes_stop_it(tmp_path: Path, root: Path) -> None:
    """The library takes splits from names of files: train-3.png alone would be the whole data set."""
    place = make_images(tmp_path / "d", classes=2, each=6)
    names = {"train": ("class0/000.png", "class1/000.png"), "test": ("class0/001.png", "class1/001.png")}
    for split, files in names.items():
        for number, name in enumerate(files):
            (place / name).rename((place / name).with_name(f"{split}-{number}.png"))
    said = refused(str(place), root)
    assert "8 files are in no split, such as " in said and "2 in train" in said and f"say folder:{place}" in said
    for left in place.rglob("0*.png"):
        left.unlink()
    opened = open_hf(str(place), root)
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 2, "test": 2}
    # What a system left behind, and what is no image, is not lost.
    (place / "class0" / ".ipynb_checkpoints").mkdir()
    (place / "class0" / ".ipynb_checkpoints" / "000.png").write_bytes(b"x")
    (place / "notes.txt").write_text("x")
    assert open_hf(str(place), root).id == opened.id


def test_splits_of_other_names_are_told_of(tmp_path: Path, root: Path) -> None:
    place = save(tmp_path / "d", train=table(range(20)), test=table(range(20, 30)), extra=table(range(30, 40)))
    with pytest.warns(ProbebenchWarning, match=r"read as splits \(train, test\), without extra"):
        open_hf(place, root)


def test_data_that_cannot_be_loaded(tmp_path: Path, root: Path) -> None:
    assert "neither a folder nor owner/name" in refused(str(tmp_path / "nowhere"), root)
    assert "neither a folder nor owner/name" in refused("a/b/c", root)
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded" in refused(str(tmp_path / "empty"), root)
    damaged = tmp_path / "damaged" / "train.parquet"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PAR1 no parquet")
    assert "cannot be loaded" in refused(str(damaged.parent), root)
    place = save(tmp_path / "cut", train=table(range(9)), test=table(range(9)))
    arrow = next((tmp_path / "cut" / "train").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert "cannot be loaded" in refused(place, root)


def test_no_code_of_a_data_set_runs(tmp_path: Path, root: Path) -> None:
    place = tmp_path / "cars"
    place.mkdir()
    (place / "cars.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    table(range(9)).to_parquet(place / "train.parquet")
    assert "Dataset scripts are no longer supported" in refused(str(place), root)
    assert not (tmp_path / "ran").exists()


def test_without_the_library(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert refused("a/b", root) == "data set hf:a/b needs datasets: pip install 'probebench[datasets]'"


def test_the_hub_with_and_without_a_network(tmp_path: Path, root: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for split, numbers in (("train", range(20)), ("test", range(20, 30))):
        table(numbers).to_parquet(repository / f"{split}.parquet")
    local = open_hf(str(repository), root).id
    texts = ["owner/name", "owner/name@main", "owner/name@a1b2c3d4", "owner/name@gone", "owner/other"]
    program = [sys.executable, "-m", "tests.datasets.fake_hub", str(repository), str(tmp_path / "home"), *texts]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    said = [json.loads(line) for line in done.stdout.splitlines()]
    name = f"hf:owner_name-a1b2c3d4-{local[-8:]}"
    for online, text, found, seconds in said:
        assert seconds < 20
        if text == "owner/other":
            reason = "cannot be loaded: " if online else "is not on this machine and the network cannot be reached; run"
            assert found[0].startswith(f"data set hf:owner/other {reason}")
        elif text == "owner/name@gone":
            # The library would take what its cache has of another revision.
            unknown = "no revision gone is known here; check its name, or run once with a network"
            assert unknown in found[0] or (online and "Revision 'gone' doesn't exist" in found[0])
        else:
            assert found == [name, "train-000000", "test-000000"], (online, text, found)
    assert len(said) == 10 and not done.stderr
