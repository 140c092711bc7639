import os
import time
from pathlib import Path

import pytest

from probebench.cache.listing import list_files, older_and_larger, parse_age, parse_size, remove_files
from probebench.cache.lock import lock_path
from probebench.cache.store import feature_path
from probebench.cache.writer import locked
from probebench.errors import UsageError
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


def store(home: Path, model: str, days: float = 0, finish: bool = True) -> Path:
    path = feature_path(home, model, "digits", key())
    with locked(path):
        write(path, [10 if finish else 3], finish=finish, model=model)
    when = time.time() - days * 86400
    os.utime(path if finish else partial_of(path), (when, when))
    return path


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * 86400), ("12h", 43200), ("90m", 5400), ("2w", 1209600), ("0.5 d", 43200)]
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("500MB", 5e8), ("2gb", 2e9), ("1.5 KB", 1500), ("7B", 7), ("1TB", 1e12)])
def test_sizes(text: str, count: float) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "d", "30", "-3d", "3 days", "1e3d", "٣d", "3M", "inf"])
def test_nonsense_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no age"):
        parse_age(text)
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)


def test_all_that_is_asked_must_hold(tmp_path: Path) -> None:
    store(tmp_path, "new")
    store(tmp_path, "old", days=40)
    entries = list_files(tmp_path)

    def chosen(seconds: float | None, size: float | None) -> list[str]:
        return [entry.model for entry in older_and_larger(entries, seconds, size)]

    assert chosen(None, None) == ["new", "old"] and chosen(30 * 86400, None) == ["old"]
    assert chosen(30 * 86400, 10**6) == [] and chosen(41 * 86400, None) == [] and chosen(None, 1000) == ["new", "old"]


@pytest.mark.parametrize("finish", [True, False])
def test_nothing_stays_of_a_removed_file(tmp_path: Path, finish: bool) -> None:
    path = store(tmp_path, "net", finish=finish)
    other = store(tmp_path, "other")
    partial_of(path).with_name(partial_of(path).name + ".new").write_bytes(b"left")
    assert lock_path(path).exists()
    removal = remove_files(list_files(tmp_path, ["net"]))
    assert len(removal.gone) == 1 and not removal.busy
    assert list((tmp_path / "features").iterdir()) == [other.parent.parent]
    assert other.exists()


def test_a_dry_run_removes_and_makes_nothing(tmp_path: Path) -> None:
    path = store(tmp_path, "net")
    lock_path(path).unlink()
    before = sorted(tmp_path.rglob("*"))
    assert len(remove_files(list_files(tmp_path), dry_run=True).gone) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_that_is_being_written_stays(tmp_path: Path, dry_run: bool) -> None:
    path = store(tmp_path, "net", finish=False)
    other = store(tmp_path, "other")
    with locked(path):
        removal = remove_files(list_files(tmp_path), dry_run)
        assert [entry.model for entry in removal.busy] == ["net"] and partial_of(path).exists()
    assert [entry.model for entry in removal.gone] == ["other"] and other.exists() == dry_run
