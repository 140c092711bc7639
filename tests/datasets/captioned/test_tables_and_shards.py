import io
from pathlib import Path

import datasets
import numpy as np
import pytest

from probebench.datasets.captioned.open import open_source
from probebench.datasets.captioned.subset import subset
from probebench.datasets.open import open_dataset
from probebench.errors import DatasetError, ProbebenchError, ProbebenchWarning, UsageError
from probebench.registry import Registry
from tests.datasets.captioned.making import pattern
from tests.datasets.shards import write_files


def encoded(seed: int) -> bytes:
    content = io.BytesIO()
    pattern(seed).save(content, "PNG")
    return content.getvalue()


def samples(numbers: range, labelled: bool = True) -> dict[str, bytes]:
    files = {}
    for number in numbers:
        files[f"{number:03d}.png"] = encoded(number)
        files[f"{number:03d}.txt"] = f" picture {number}, café\n".encode()
        if labelled:
            files[f"{number:03d}.cls"] = str(number % 3).encode()
    return files


# ---------------------------------------------------------------- shards


def test_shards_with_captions_and_labels(tmp_path: Path, shipped: Registry, root: Path) -> None:
    write_files(tmp_path / "s" / "a-000.tar", samples(range(4)))
    write_files(tmp_path / "s" / "a-001.tar", samples(range(4, 7)))
    (tmp_path / "s" / "classnames.txt").write_text("red\ngreen\nblue\n")
    for _ in range(2):
        source = open_source(f"wds:{tmp_path}/s", shipped, root)
        assert source.captions == tuple(f"picture {number}, café" for number in range(7))
        assert source.class_names == ("red", "green", "blue") and source.labels is not None
        assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert np.array_equal(np.asarray(source.images.load(5)), np.asarray(pattern(5)))
        assert source.id == f"wds:s-{source.fingerprint[:8]}"
    assert len(subset(source, 3, root)) == 3


def test_shards_without_labels_train_alone_of_splits(tmp_path: Path, shipped: Registry, root: Path) -> None:
    write_files(tmp_path / "train-000.tar", samples(range(3), labelled=False))
    write_files(tmp_path / "test-000.tar", samples(range(3, 5), labelled=False))
    source = open_source(f"wds:{tmp_path}", shipped, root)
    assert len(source) == 3 and source.labels is None and source.class_names == ()


def test_shards_of_a_data_set_are_read_as_before(tmp_path: Path, shipped: Registry, root: Path) -> None:
    write_files(tmp_path / "s" / "a-000.tar", samples(range(15)))
    open_source(f"wds:{tmp_path}/s", shipped, root)
    assert len(open_dataset(f"wds:{tmp_path}/s", shipped, root).splits["train"]) == 12


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"001.txt": None}, "sample 001 has no caption: give it a .txt"),
        ({"001.txt": b"  \n"}, "1 images have an empty caption, first 001"),
        ({"001.txt": "café".encode("latin-1")}, "the .txt of sample 001 is not UTF-8"),
        ({"001.txt": b"x" * (2 << 20)}, "its .txt has 2097152 bytes"),
        ({"001.cls": None}, "1 samples have no .cls where others have one, first 001"),
        ({"001.cls": b"cat"}, "its label 'cat' is not a class number"),
    ],
)
def test_wrong_samples_are_named(
    tmp_path: Path, shipped: Registry, root: Path, change: dict[str, bytes | None], line: str
) -> None:
    files = {name: content for name, content in {**samples(range(3)), **change}.items() if content is not None}
    write_files(tmp_path / "s" / "a.tar", files)
    with pytest.raises(DatasetError) as caught:
        open_source(f"wds:{tmp_path}/s", shipped, root)
    assert line in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- tables


def saved(path: Path, **changes: list[object] | None) -> str:
    columns: dict[str, list[object] | None] = {
        "image": [{"bytes": encoded(number), "path": None} for number in range(6)],
        "caption": [f"picture {number}" for number in range(6)],
        "kind": ["b", "a", "b", "c", "a", "b"],
    }
    kept = {name: values for name, values in {**columns, **changes}.items() if values is not None}
    rows = datasets.Dataset.from_dict(kept).cast_column("image", datasets.Image())
    rows.save_to_disk(path)
    return f"hf:{path}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_table_with_captions(tmp_path: Path, shipped: Registry, root: Path) -> None:
    place = saved(tmp_path / "t")
    source = open_source(f"{place}?caption=caption&label=kind", shipped, root)
    assert source.captions[4] == "picture 4" and source.class_names == ("a", "b", "c")
    assert source.labels is not None and source.labels.tolist() == [1, 0, 1, 2, 0, 1]
    assert np.array_equal(np.asarray(source.images.load(3)), np.asarray(pattern(3)))
    # The usual name is found; labels are taken where their column is named.
    plain = open_source(place, shipped, root)
    assert plain.captions == source.captions and plain.labels is None and plain.fingerprint != source.fingerprint


def test_of_splits_train_is_read_and_the_rest_is_told(tmp_path: Path, shipped: Registry, root: Path) -> None:
    rows = datasets.load_from_disk(saved(tmp_path / "t").removeprefix("hf:"))
    datasets.DatasetDict({"train": rows.select(range(4)), "test": rows.select([4, 5])}).save_to_disk(tmp_path / "d")
    with pytest.warns(ProbebenchWarning, match="read as train, without test"):
        assert len(open_source(f"hf:{tmp_path}/d", shipped, root)) == 4


@pytest.mark.parametrize(
    ("query", "changes", "line"),
    [
        ("?caption=words", {}, "column 'words' holds no captions; of its columns these may: caption, kind"),
        ("", {"caption": None, "one": ["x"] * 6}, "has several columns of captions (kind, one): name one as"),
        ("", {"caption": None, "kind": None}, "has no column of captions among image"),
        ("?label=colour", {}, "has no column 'colour'; its columns: image, caption, kind"),
        ("?label=kind", {"kind": ["a", None, "b", "a", "a", "a"]}, "row 1 has no label in kind"),
        ("", {"caption": ["a", "b", None, "c", "", "d"]}, "2 images have an empty caption, first image-000002"),
        ("?colour=red", {}, "colour is neither image nor label nor caption"),
    ],
)
def test_wrong_tables_are_one_line(
    tmp_path: Path, shipped: Registry, root: Path, query: str, changes: dict[str, list[object] | None], line: str
) -> None:
    place = saved(tmp_path / "t", **changes)
    with pytest.raises(ProbebenchError) as caught:
        open_source(f"{place}{query}", shipped, root)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_captions_are_no_part_of_a_data_set(tmp_path: Path, shipped: Registry, root: Path) -> None:
    with pytest.raises(UsageError, match="captions are for sources of pre-training"):
        open_dataset(f"{saved(tmp_path / 't')}?caption=caption", shipped, root)
