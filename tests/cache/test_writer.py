import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from probebench.cache.file_io import RawFile
from probebench.cache.header import SLOT_PLACES, SLOT_SIZE, read_description
from probebench.cache.store import FeatureFile, committed_rows, stored_files
from probebench.cache.verify import verify
from probebench.cache.writer import FeatureWriter, bytes_needed
from probebench.errors import CacheError
from tests.cache.test_key import key
from tests.cache.test_store import IDS, LABELS, ROWS, flip, provenance, write


def partial_of(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def opened(path: Path) -> FeatureWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FeatureWriter(path, provenance(), IDS, LABELS, 7)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The bytes of the file when nothing interrupts it."""
    write(tmp_path / "whole.h5", [10])
    return (tmp_path / "whole.h5").read_bytes()


def finished(path: Path) -> bytes:
    with opened(path) as writer:
        writer.append(ROWS[writer.committed :])
        writer.finish()
    return path.read_bytes()


@pytest.mark.parametrize("stops", [[0], [4], [4, 0, 4], [1, 2, 3], [10]])
def test_an_interrupted_file_ends_with_the_bytes_of_an_uninterrupted_one(
    path: Path, tmp_path: Path, whole: bytes, stops: list[int]
) -> None:
    for rows in stops:
        write(path, [rows] if rows else [], finish=False)
        assert not path.exists() and stored_files(tmp_path) == []
        assert len(stored_files(tmp_path, partial=True)) == 1
    assert committed_rows(path) == sum(stops)
    write(path, [10 - sum(stops)])
    assert path.read_bytes() == whole
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_resumed_file_keeps_the_settings_that_it_began_with(path: Path) -> None:
    write(path, [4], finish=False)
    with FeatureWriter(path, provenance(batch_size=99), IDS, LABELS, 7) as writer:
        assert writer.settings["batch_size"] == 4 and writer.committed == 4 and writer.rolled_back == 0


def test_unfinished_rows_cannot_be_finished(path: Path) -> None:
    with opened(path) as writer:
        writer.append(ROWS[:4])
        with pytest.raises(CacheError, match="4 of 10 rows"):
            writer.finish()


@pytest.mark.parametrize("rows", [ROWS[:7], ROWS[:2, :6]], ids=["too many", "too narrow"])
def test_blocks_that_do_not_fit_are_refused(path: Path, rows: Any) -> None:
    with opened(path) as writer:
        writer.append(ROWS[:4])
        with pytest.raises(ValueError, match="do not fit"):
            writer.append(rows)
        assert writer.committed == 4


def test_outsiders_see_how_far_an_interrupted_file_is(path: Path) -> None:
    write(path, [4, 2], finish=False)
    with h5py.File(partial_of(path), "r") as file:
        assert file.attrs["committed"] == 6 and not file.attrs["complete"]
        assert json.loads(file.attrs["settings"])["batch_size"] == 4
        assert np.array_equal(file["features"][:6], ROWS[:6])


def test_hdf5_has_no_part_in_resuming(path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [4], finish=False)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(h5py, "File", forbidden)
    assert finished(path) == whole


def test_any_changed_byte_of_an_interrupted_file_is_mended_or_refused(
    path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third byte, one at a time: the rest is computed to the same file, or one line says what to delete."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    write(path, [3, 3], finish=False)
    partial = partial_of(path)
    content = partial.read_bytes()
    mended = refused = 0
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 0x41
        partial.write_bytes(changed)
        try:
            assert finished(path) == whole
            mended += 1
            path.unlink()
        except CacheError as error:
            refused += 1
            assert "\n" not in str(error) and str(partial) in str(error) and "delete it" in str(error)
            partial.unlink()
    # Slots, seal, mirrors, rows, checksums; then description, structure, labels and ids.
    assert mended > 1000 and refused > 1600


@pytest.mark.parametrize("broken", [b"x" * SLOT_SIZE, b"\0" * 300])
def test_a_torn_slot_leaves_the_state_before_it(path: Path, whole: bytes, broken: bytes) -> None:
    write(path, [4, 2], finish=False)
    with partial_of(path).open("r+b") as stream:
        stream.seek(SLOT_PLACES[0])
        stream.write(broken)
    with opened(path) as writer:
        assert writer.committed == 4
    assert finished(path) == whole


def test_no_slot_at_all_is_refused(path: Path) -> None:
    write(path, [4, 2], finish=False)
    with partial_of(path).open("r+b") as stream:
        stream.seek(SLOT_PLACES[0])
        stream.write(bytes(2 * SLOT_SIZE))
    with pytest.raises(CacheError, match="is damaged; delete it and run again"):
        opened(path)


@pytest.mark.parametrize("row", [0, 2, 5])
def test_rows_that_did_not_reach_the_disk_are_written_again(path: Path, whole: bytes, row: int) -> None:
    write(path, [3, 3], finish=False)
    content = partial_of(path).read_bytes()
    partial_of(path).write_bytes(content.replace(ROWS[row].tobytes(), bytes(28)))
    with opened(path) as writer:
        assert writer.committed == row and writer.rolled_back == 6 - row
    assert finished(path) == whole


def rows_and_checksums(path: Path, rows: slice) -> list[slice]:
    """Where rows and their checksums lie in a file."""
    with RawFile(path) as file:
        places = read_description(file).places
    return [
        slice(start + rows.start * size, start + rows.stop * size)
        for start, size in ((places.features, 28), (places.checksums, 16))
    ]


def test_rows_that_changed_places_with_their_checksums_are_written_again(path: Path, whole: bytes) -> None:
    write(path, [6], finish=False)
    content = bytearray(partial_of(path).read_bytes())
    ones, others = (rows_and_checksums(partial_of(path), rows) for rows in (slice(1, 3), slice(4, 6)))
    for one, other in zip(ones, others, strict=True):
        content[one], content[other] = content[other], content[one]
    partial_of(path).write_bytes(content)
    with opened(path) as writer:
        assert writer.committed == 1 and writer.rolled_back == 5
    assert finished(path) == whole


def test_rows_of_another_key_are_written_again_though_their_checksums_came_along(
    path: Path, tmp_path: Path, whole: bytes
) -> None:
    write(path, [6], finish=False)
    write(tmp_path / "other.h5", [6], key(content="other"), finish=False)
    content = bytearray(partial_of(path).read_bytes())
    theirs = partial_of(tmp_path / "other.h5").read_bytes()
    for place in rows_and_checksums(partial_of(path), slice(2, 4)):
        content[place] = theirs[place]
    partial_of(path).write_bytes(content)
    with opened(path) as writer:
        assert writer.committed == 2 and writer.rolled_back == 4
    assert finished(path) == whole


def test_going_back_writes_rows_anew(path: Path, whole: bytes) -> None:
    with opened(path) as writer:
        writer.append(ROWS[:4] + 1)
        writer.append(ROWS[4:8], skipped=[1])
        writer.rewind(0)
        assert writer.committed == 0
        for row in (-1, 1):
            with pytest.raises(ValueError, match="cannot go back"):
                writer.rewind(row)
    assert committed_rows(path) == 0
    assert finished(path) == whole, "nor is any row skipped"


def test_images_left_out_before_a_rewind_are_forgotten(path: Path, whole: bytes) -> None:
    with opened(path) as writer:
        writer.append(ROWS[:6], skipped=[1, 4])
        writer.rewind(0)
        writer.append(ROWS)
        writer.finish()
    assert path.read_bytes() == whole


def test_rows_before_a_rewind_never_come_back(path: Path) -> None:
    """A loss of power may keep a newer counter and lose the rows that it counts: older ones must not pass for them."""
    with opened(path) as writer:
        writer.append(ROWS[:8] + 1)
        writer.rewind(2)
        before = partial_of(path).read_bytes()
        writer.record({"batch_size": 2})
        writer.append(ROWS[2:6])
        after = partial_of(path).read_bytes()
    # All of the first block arrived, and nothing else since.
    partial_of(path).write_bytes(after[:4096] + before[4096:])
    with opened(path) as writer:
        assert writer.committed == 2 and writer.rolled_back == 4


def test_changed_settings_are_kept_and_told(path: Path) -> None:
    with opened(path) as writer:
        writer.append(ROWS[:4])
        writer.record({"device": "ä", "batch_size": 2})
    with opened(path) as writer:
        assert writer.settings == {"device": "ä", "batch_size": 2} and writer.committed == 4
        with pytest.raises(ValueError, match="do not fit"):
            writer.record({"device": "x" * 800})
        assert writer.settings["device"] == "ä"
    finished(path)
    with FeatureFile(path) as file:
        assert file.settings == {"device": "ä", "batch_size": 2}
    with h5py.File(path) as raw:
        assert json.loads(raw.attrs["settings"]) == {"device": "ä", "batch_size": 2}


def append_skipping(writer: FeatureWriter, size: int) -> None:
    """Commits a block; images 1, 5 and 6 cannot be read."""
    start = writer.committed
    stop = min(start + size, 10)
    writer.append(np.nan_to_num(ROWS[start:stop]), [row - start for row in (1, 5, 6) if start <= row < stop])


@pytest.mark.parametrize("stop", [1, 2, 6, 7, 10])
def test_images_left_out_are_gone_from_the_file_and_listed(path: Path, tmp_path: Path, stop: int) -> None:
    kept = [0, 2, 3, 4, 7, 8, 9]
    with opened(path) as writer:
        while writer.committed < stop:
            append_skipping(writer, 1)
    with opened(path) as writer:
        assert writer.committed == stop
        while writer.committed < 10:
            append_skipping(writer, 4)
        writer.finish()
    with FeatureFile(path) as file:
        assert np.array_equal(file.read(), ROWS[kept]) and file.rows == 7
        assert file.ids == tuple(IDS[row] for row in kept) and np.array_equal(file.labels, LABELS[kept])
        assert len(file.skipped) == 3 and file.skipped.ids == (IDS[1], IDS[5], IDS[6])
        assert file.skipped.positions.tolist() == [1, 5, 6]
        assert file.skipped.labels.tolist() == LABELS[[1, 5, 6]].tolist()
    assert verify(path) is None and [found.name for found in path.parent.iterdir()] == [path.name]
    other = tmp_path / "other.h5"
    with opened(other) as writer:
        append_skipping(writer, 10)
        writer.finish()
    assert other.read_bytes() == path.read_bytes()


def test_a_split_without_a_readable_image_is_an_error(path: Path) -> None:
    with opened(path) as writer:
        writer.append(ROWS, skipped=range(10))
        with pytest.raises(CacheError, match="none of its 10 images could be read"):
            writer.finish()
    assert list(path.parent.iterdir()) == [], "the next run tries the images again"


def test_what_is_left_beside_a_complete_file_goes(path: Path) -> None:
    write(path, [10])
    for leftover in (partial_of(path), partial_of(path).with_name(partial_of(path).name + ".new")):
        leftover.write_bytes(b"left")
    with opened(path) as writer:
        assert writer.committed == 0
    assert not partial_of(path).with_name(partial_of(path).name + ".new").exists()


CALLS = ("pwrite", "ftruncate", "fsync", "replace")


def fail_at(monkeypatch: pytest.MonkeyPatch, stop: int) -> list[int]:
    """Has the call of that number, among all that write, fail as on a full disk."""
    calls = [0]

    def failing(name: str) -> Callable[..., Any]:
        true_call = getattr(os, name)

        def call(*arguments: Any) -> Any:
            calls[0] += 1
            if calls[0] == stop:
                named = arguments[:1] if name == "replace" else ()
                raise OSError(errno.ENOSPC, "No space left on device", *named)
            return true_call(*arguments)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, failing(name))
    return calls


@pytest.mark.parametrize("skipping", [False, True])
def test_a_full_disk_at_any_write_loses_no_committed_row(tmp_path: Path, skipping: bool) -> None:
    def fill(path: Path) -> int:
        committed = 0
        with opened(path) as writer:
            try:
                while writer.committed < 10:
                    committed = writer.committed
                    if skipping:
                        append_skipping(writer, 4)
                    else:
                        writer.append(ROWS[committed : committed + 4])
                committed = 10
                writer.finish()
            except OSError as error:
                assert error.errno == errno.ENOSPC and str(error.filename).startswith(str(path.parent))
                return committed
        return 10

    wanted = tmp_path / "whole.h5"
    with pytest.MonkeyPatch.context() as patch:
        calls = fail_at(patch, 0)
        fill(wanted)
    for stop in range(1, calls[0] + 1):
        path = tmp_path / str(stop) / "x.h5"
        committed = 0
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, stop)
            try:
                committed = fill(path)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        assert path.exists() or committed_rows(path) >= committed
        if not path.exists():
            fill(path)
        assert path.read_bytes() == wanted.read_bytes(), f"call {stop}"


def test_a_file_size_limit_is_an_os_error_that_names_the_file(path: Path) -> None:
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from tests.cache.test_writer import opened\nfrom tests.cache.test_store import ROWS\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5300, 5300))\n"
        "try:\n    opened(Path(sys.argv[1]))\nexcept OSError as error:\n    print(error.errno, error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=Path.cwd())
    assert done.stdout.split() == [str(errno.EFBIG), str(partial_of(path)) + ".new"], done.stderr
    assert list(path.parent.iterdir()) == []


def test_a_damaged_or_foreign_partial_file_is_refused(path: Path) -> None:
    write(path, [4], finish=False)
    partial = partial_of(path)
    whole = partial.read_bytes()
    for damage in (whole[:100], whole[:-1], b"", b"no feature file\n" * 500):
        partial.write_bytes(damage)
        with pytest.raises(CacheError, match="is damaged.*; delete it and run again"):
            opened(path)
    for sought in (IDS[3].encode(), LABELS.tobytes(), b"probebench-features\0"):
        partial.write_bytes(whole)
        flip(partial, sought, 3)
        with pytest.raises(CacheError, match="is damaged; delete it"):
            opened(path)
    partial.write_bytes(whole)
    with pytest.raises(CacheError, match="of another extraction"):
        FeatureWriter(path, provenance(key(content="other")), IDS, LABELS, 7)
    for ids, labels in (([*IDS[:9], "other"], LABELS), (IDS, LABELS[::-1])):
        with pytest.raises(CacheError, match="is damaged"):
            FeatureWriter(path, provenance(), ids, labels, 7)


def test_another_version_or_format_is_refused(path: Path) -> None:
    write(path, [4], finish=False)
    partial = partial_of(path)
    partial.write_bytes(partial.read_bytes().replace(b'"version":2', b'"version":3', 1))
    with pytest.raises(CacheError, match="format version 3 and this probebench reads 2"):
        opened(path)
    for block, said in ((512, "has format version 1"), (0, "an HDF5 file, but not one of probebench's")):
        with h5py.File(partial, "w", userblock_size=block) as file:
            file["x"] = ROWS
        with pytest.raises(CacheError, match=said):
            opened(path)


def test_a_disk_too_small_is_refused_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError) as caught:
        opened(path)
    assert caught.value.errno == errno.ENOSPC and list(path.parent.iterdir()) == []


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("count", "width"), [(1, 1), (3000, 700)])
def test_the_room_that_is_asked_for_is_what_a_file_takes(tmp_path: Path, dtype: str, count: int, width: int) -> None:
    ids = [f"images/{number:05d}.png" for number in range(count)]
    path = tmp_path / "x.h5"
    with FeatureWriter(path, provenance(key(dtype=dtype)), ids, np.zeros(count, np.int64), width) as writer:
        writer.append(np.ones((count, width), np.float32))
        writer.finish()
    needed = bytes_needed(ids, width, dtype)
    assert needed - 40_000 < path.stat().st_size <= needed
