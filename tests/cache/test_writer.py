import errno
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from probebench.cache.store import FeatureFile, stored_files
from probebench.cache.writer import FeatureWriter, locked
from probebench.errors import CacheError
from tests.cache.test_key import key
from tests.cache.test_store import IDS, LABELS, ROWS, header, write


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
from probebench.cache import writer as store
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


def test_a_damaged_or_foreign_partial_file_is_refused(path: Path) -> None:
    write(path, [4], finish=False)
    partial = path.with_name(path.name + ".partial")
    whole = partial.read_bytes()
    partial.write_bytes(whole[:100])
    with pytest.raises(CacheError, match="is damaged; delete it"):
        FeatureWriter(path, header(), IDS, LABELS, 7)
    for place in (whole.index(IDS[3].encode()), whole.index(ROWS[2].tobytes()), whole.index(LABELS.tobytes()) + 8):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        partial.write_bytes(flipped)
        with pytest.raises(CacheError, match="is damaged; delete it"):
            FeatureWriter(path, header(), IDS, LABELS, 7)
    partial.write_bytes(whole)
    with pytest.raises(CacheError, match="of another extraction"):
        FeatureWriter(path, header(key(content="other")), IDS, LABELS, 7)


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


def test_a_disk_too_small_is_refused_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    path.parent.mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        FeatureWriter(path, header(), IDS, LABELS, 7)
    assert caught.value.errno == errno.ENOSPC and list(path.parent.iterdir()) == []
