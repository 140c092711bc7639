import errno
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, FeatureWriter, Header, feature_path, locked, row_checksums, stored_files
from probebench.errors import CacheError
from tests.cache.test_key import key

IDS = [f"bild-{number}-ä" for number in range(10)]
LABELS = np.arange(10) % 3
ROWS = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)


def header(own: FeatureKey | None = None, **settings: Any) -> Header:
    return Header(own or key(), "net", "digits", ("train", "test"), {"device": "cpu", "batch_size": 4, **settings})


def write(path: Path, blocks: list[int], own: FeatureKey | None = None, finish: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FeatureWriter(path, header(own), IDS, LABELS, ROWS.shape[1]) as writer:
        for size in blocks:
            writer.append(ROWS[writer.committed : writer.committed + size])
        if finish:
            writer.finish()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return feature_path(tmp_path, "net", "digits", key())


def test_a_file_reads_back_and_is_plain_hdf5(path: Path) -> None:
    write(path, [4, 4, 2])
    with FeatureFile(path) as file:
        assert np.array_equal(file.read(), ROWS) and file.read().dtype == np.float32
        assert file.ids == tuple(IDS) and np.array_equal(file.labels, LABELS)
        assert (
            file.key == key() and file.splits == ("train", "test") and (file.model, file.dataset) == ("net", "digits")
        )
        assert file.settings["batch_size"] == 4
        positions = np.array([7, 0, 7, 3])
        assert np.array_equal(file.read(positions), ROWS[positions])
    with h5py.File(path) as raw:
        assert np.array_equal(raw["features"][:], ROWS)
        assert raw["labels"].dtype == np.int64 and [text.decode() for text in raw["ids"][:]] == IDS
        assert raw.attrs["complete"] and raw.attrs["committed"] == 10
        assert FeatureKey.model_validate_json(raw.attrs["key"]) == key()


def test_half_precision_is_stored_as_float16(tmp_path: Path) -> None:
    own = key(dtype="bf16")
    path = feature_path(tmp_path, "net", "digits", own)
    write(path, [10], own)
    with FeatureFile(path) as file:
        assert file.read().dtype == np.float16


@pytest.mark.parametrize("stops", [[0], [4], [4, 0, 4], [1, 2, 3]])
def test_an_interrupted_file_ends_with_the_bytes_of_an_uninterrupted_one(
    path: Path, tmp_path: Path, stops: list[int]
) -> None:
    for rows in stops:
        write(path, [rows] if rows else [], finish=False)
        assert not path.exists() and stored_files(tmp_path) == []
        assert len(stored_files(tmp_path, partial=True)) == 1
    write(path, [10 - sum(stops)])
    whole = tmp_path / "whole.h5"
    write(whole, [10])
    assert path.read_bytes() == whole.read_bytes()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_resumed_file_keeps_the_settings_that_it_began_with(path: Path) -> None:
    write(path, [4], finish=False)
    with FeatureWriter(path, header(batch_size=99), IDS, LABELS, 7) as writer:
        assert writer.settings["batch_size"] == 4 and writer.committed == 4


def test_unfinished_rows_cannot_be_finished(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with FeatureWriter(path, header(), IDS, LABELS, 7) as writer:
        writer.append(ROWS[:4])
        with pytest.raises(CacheError, match="4 of 10 rows"):
            writer.finish()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from probebench.cache import store
from tests.cache.test_store import IDS, LABELS, ROWS, header
calls, stop = 0, int(sys.argv[2])
sync = store.FeatureWriter._sync
def counted(self):
    global calls
    calls += 1
    if calls == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(self)
store.FeatureWriter._sync = counted
with store.FeatureWriter(Path(sys.argv[1]), header(), IDS, LABELS, 7) as writer:
    while writer.committed < 10:
        writer.append(ROWS[writer.committed : writer.committed + 2])
    writer.finish()
"""


@pytest.mark.parametrize("stop", [1, 2, 5, 6, 11])
def test_a_killed_writer_loses_at_most_the_block_in_hand(path: Path, tmp_path: Path, stop: int) -> None:
    path.parent.mkdir(parents=True)
    command = [sys.executable, "-c", KILLED, str(path), str(stop)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with FeatureWriter(path, header(), IDS, LABELS, 7) as writer:
        # Each block syncs twice: after its rows, and after the counter.
        assert writer.committed in (2 * ((stop - 1) // 2), 2 * (stop // 2))
        writer.append(ROWS[writer.committed :])
        writer.finish()
    whole = tmp_path / "whole.h5"
    write(whole, [10])
    assert path.read_bytes() == whole.read_bytes()


def test_a_full_disk_is_an_os_error_and_keeps_what_was_committed(path: Path) -> None:
    """A limit on file size fails the same system calls as a full disk does."""
    rows = np.ones((400, 512), np.float32)
    ids, labels = [str(number) for number in range(400)], np.zeros(400, np.int64)
    path.parent.mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with FeatureWriter(path, header(), ids, labels, 512) as writer:
        writer.append(rows[:100])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (350_000, hard))
        with (
            pytest.raises(OSError) as caught,
            FeatureWriter(path, header(), ids, labels, 512) as writer,
        ):
            writer.append(rows[100:300])
        assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    with FeatureWriter(path, header(), ids, labels, 512) as writer:
        assert writer.committed == 100
        writer.append(rows[100:])
        writer.finish()
    with FeatureFile(path) as file:
        assert np.array_equal(file.read(), rows)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "empty":
        content = bytearray()
    elif how == "half":
        content = content[: len(content) // 2]
    elif how == "less by one":
        content = content[:-1]
    elif how == "text":
        content = bytearray(b"this is not HDF5 at all\n" * 50)
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "half", "less by one", "text"])
def test_truncated_and_foreign_files_are_refused(path: Path, how: str) -> None:
    write(path, [10])
    damage(path, how)
    with pytest.raises(CacheError, match="delete it and extract again") as caught:
        FeatureFile(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def edit(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            if value is None:
                del file.attrs[name]
            else:
                file.attrs[name] = value


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"format": "other"}, "not one of probebench's"),
        ({"format": None}, "not one of probebench's"),
        ({"format_version": 2}, "format version 2 and this probebench reads 1"),
        ({"complete": False}, "is not complete"),
        ({"committed": 9}, "does not agree"),
        ({"key_digest": "0"}, "does not agree"),
        ({"key": "{}"}, "is damaged"),
        ({"model": None}, "is damaged"),
        ({"settings": "?"}, "is damaged"),
    ],
)
def test_headers_that_do_not_agree_are_refused(path: Path, attributes: dict[str, Any], said: str) -> None:
    write(path, [10])
    edit(path, **attributes)
    with pytest.raises(CacheError, match=said):
        FeatureFile(path)


@pytest.mark.parametrize("name", ["features", "labels", "ids", "checksums"])
def test_missing_parts_are_refused(path: Path, name: str) -> None:
    write(path, [10])
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(CacheError, match="is damaged"):
        FeatureFile(path)


def test_a_flipped_byte_is_found_in_its_row(path: Path) -> None:
    write(path, [10])
    content = bytearray(path.read_bytes())
    place = content.index(ROWS[6].tobytes()) + 5
    content[place] ^= 1
    path.write_bytes(content)
    with FeatureFile(path) as file:
        assert np.array_equal(file.read(np.array([0, 5])), ROWS[[0, 5]])
        with pytest.raises(CacheError, match=r"row 6 \(bild-6-ä\)"):
            file.read()
        with pytest.raises(CacheError, match="row 6"):
            file.read(np.array([2, 6]))


def test_a_damaged_or_foreign_partial_file_is_refused(path: Path) -> None:
    write(path, [4], finish=False)
    partial = path.with_name(path.name + ".partial")
    whole = partial.read_bytes()
    partial.write_bytes(whole[:100])
    with pytest.raises(CacheError, match="is damaged; delete it"):
        FeatureWriter(path, header(), IDS, LABELS, 7)
    partial.write_bytes(whole)
    with pytest.raises(CacheError, match="of another extraction"):
        FeatureWriter(path, header(key(content="other")), IDS, LABELS, 7)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FeatureFile(tmp_path / "no.h5")


def test_checksums_are_of_each_rows_bytes() -> None:
    import zlib

    assert row_checksums(ROWS).tolist() == [zlib.crc32(row.tobytes()) for row in ROWS]
    assert row_checksums(ROWS.T.copy().T).tolist() == row_checksums(ROWS).tolist()


def test_the_lock_lets_one_in_at_a_time(path: Path) -> None:
    inside: list[str] = []

    def other() -> None:
        with locked(path):
            inside.append("other")

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive() and inside == []
    thread.join(timeout=10)
    assert inside == ["other"]
