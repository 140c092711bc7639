import os
from pathlib import Path

import pytest

from probebench.cache.listing import list_files
from probebench.cache.store import feature_path
from tests.cache.test_key import key, preprocessing
from tests.cache.test_store import write
from tests.cache.test_writer import partial_of


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A complete test part, an interrupted train part, a damaged file, and one not even laid out."""
    write(feature_path(tmp_path, "net", "digits", key(split="test")), [10], key(split="test"))
    write(feature_path(tmp_path, "net", "digits", key()), [3], finish=False)
    bad = tmp_path / "features" / "other" / "folder-x" / "val-0.h5"
    bad.parent.mkdir(parents=True)
    bad.write_text("nothing")
    bad.with_name("train-1.h5.partial.new").write_bytes(b"")
    return tmp_path


def test_every_file_is_told_with_how_far_it_is(stored: Path) -> None:
    told = [(entry.model, entry.dataset, entry.split, entry.state) for entry in list_files(stored)]
    assert told == [
        ("net", "digits", "test", "complete"),
        ("net", "digits", "train", "interrupted"),
        ("other", "folder-x", "train", "interrupted"),
        ("other", "folder-x", "val", "damaged"),
    ]
    complete, interrupted, abandoned, damaged = list_files(stored)
    assert (complete.rows, complete.committed) == (10, 10) and (interrupted.rows, interrupted.committed) == (10, 3)
    assert complete.about and complete.about.input_size == 32 and complete.about.dtype == "fp32"
    assert complete.bytes == complete.path.stat().st_size
    assert abandoned.committed == 0 and damaged.rows is None
    assert list_files(stored / "nowhere") == []


def test_room_that_is_only_reserved_is_not_counted(tmp_path: Path) -> None:
    path = feature_path(tmp_path, "net", "digits", key())
    write(path, [3], finish=False)
    os.truncate(partial_of(path), 10**8)
    (entry,) = list_files(tmp_path)
    assert entry.bytes < 10**6 and entry.state == "damaged"


def test_what_a_kill_left_beside_a_complete_file_is_no_file(stored: Path) -> None:
    path = feature_path(stored, "net", "digits", key(split="test"))
    partial_of(path).write_bytes(path.read_bytes())
    assert len(list_files(stored)) == 4


@pytest.mark.parametrize(
    ("models", "datasets", "count"),
    [
        ((), (), 4),
        (("net",), (), 2),
        (("n*", "other"), (), 4),
        ((), ("folder:*",), 2),
        (("net",), ("folder:*",), 0),
        (("NET",), (), 0),
        ((), ("digits", "folder-x"), 4),
    ],
)
def test_globs_choose(stored: Path, models: tuple[str, ...], datasets: tuple[str, ...], count: int) -> None:
    assert len(list_files(stored, models, datasets)) == count


def test_a_damaged_seal_counts_as_damage(tmp_path: Path) -> None:
    own = key(**preprocessing(size=96))
    path = feature_path(tmp_path, "net", "digits", own)
    write(path, [10], own)
    path.write_bytes(path.read_bytes().replace(b"dataset\0", b"datasets", 1))
    (entry,) = list_files(tmp_path)
    assert entry.state == "damaged" and entry.about and entry.about.input_size == 96
