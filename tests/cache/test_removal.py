import os
import time
from pathlib import Path

import pytest

from probebench.cache.listing import list_files
from probebench.cache.lock import lock_path
from probebench.cache.removal import older_and_larger, parse_age, parse_size, remove_files
from probebench.cache.store import feature_path
from probebench.cache.writer import locked
from probebench.errors import UsageError
from tests.cache.test_key import key
from tests.cache.test_store import write
from tests.cache.test_writer import partial_of


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
