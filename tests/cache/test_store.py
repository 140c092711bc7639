import json
import os
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.cache import rows as rows_module
from probebench.cache.file_io import RawFile
from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, feature_path
from probebench.cache.writer import FeatureWriter, Provenance
from probebench.errors import CacheError
from tests.cache.test_key import key

IDS = [f"bild-{number}-ä" for number in range(10)]
LABELS = np.arange(10) % 3
ROWS = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)


def provenance(own: FeatureKey | None = None, model: str = "net", **settings: Any) -> Provenance:
    return Provenance(own or key(), model, "digits", ("train", "test"), {"device": "cpu", "batch_size": 4, **settings})


def write(
    path: Path, blocks: Sequence[int], own: FeatureKey | None = None, finish: bool = True, model: str = "net"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FeatureWriter(path, provenance(own, model), IDS, LABELS, ROWS.shape[1]) as writer:
        for size in blocks:
            writer.append(ROWS[writer.committed : writer.committed + size])
        if finish:
            writer.finish()


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
        assert json.loads(raw.attrs["settings"]) == {"device": "cpu", "batch_size": 4}
        assert raw["checksums"].shape == (10, 2) and raw["skipped_ids"].shape == (0,)
        assert FeatureKey.model_validate_json(raw.attrs["key"]) == key()


def test_half_precision_is_stored_as_float16(tmp_path: Path) -> None:
    own = key(dtype="bf16")
    path = feature_path(tmp_path, "net", "digits", own)
    write(path, [10], own)
    with FeatureFile(path) as file:
        assert file.read().dtype == np.float16


@pytest.mark.parametrize("keep", [0, 100, 4095, 4096, 6000, -1])
def test_truncated_files_are_refused(path: Path, keep: int) -> None:
    write(path, [10])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CacheError, match="is damaged.*delete it and extract again") as caught:
        FeatureFile(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_foreign_files_are_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("this is not HDF5 at all\n" * 50)
    with pytest.raises(CacheError, match="no feature file at all"):
        FeatureFile(path)
    with h5py.File(path, "w") as file:
        file["x"] = ROWS
    with pytest.raises(CacheError, match="an HDF5 file, but not one of probebench's"):
        FeatureFile(path)


def test_another_version_is_refused(path: Path) -> None:
    write(path, [10])
    content = path.read_bytes()
    for version in (b"1", b"3"):
        path.write_bytes(content.replace(b'"version":2', b'"version":' + version, 1))
        with pytest.raises(CacheError, match=f"format version {int(version)} and this probebench reads 2"):
            FeatureFile(path)


@pytest.mark.parametrize("name", ["model", "settings", "committed"])
def test_an_edited_header_is_refused(path: Path, name: str) -> None:
    write(path, [10])
    with h5py.File(path, "r+") as file:
        file.attrs.modify(name, np.int64(3) if name == "committed" else "x")
    with pytest.raises(CacheError, match="is damaged"):
        FeatureFile(path)


def test_any_changed_byte_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third byte of the file: refused at opening, or at reading its row. HDF5 never sees the damage."""
    write(path, [10])
    whole = path.read_bytes()
    with FeatureFile(path) as file:
        first = file._rows._description.places.features
    opened: list[int] = []
    true_open = h5py.File

    def watched(*arguments: Any, **named: Any) -> Any:
        opened.append(place)
        return true_open(*arguments, **named)

    monkeypatch.setattr(h5py, "File", watched)
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 0x41
        path.write_bytes(content)
        with pytest.raises(CacheError), FeatureFile(path) as file:
            file.read()
    assert opened == [place for place in range(first, first + ROWS.nbytes) if place % 3 == 0]


def flip(path: Path, sought: bytes, beyond: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(sought) + beyond] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_is_found_in_its_row(path: Path) -> None:
    write(path, [10])
    flip(path, ROWS[6].tobytes(), 5)
    with FeatureFile(path) as file:
        assert np.array_equal(file.read(np.array([0, 5])), ROWS[[0, 5]])
        with pytest.raises(CacheError, match=r"row 6 \(bild-6-ä\) and 0 more.*delete it and extract again"):
            file.read()
        for positions in ([2, 6], [6, 2], [6, 6]):
            with pytest.raises(CacheError, match="row 6"):
                file.read(np.array(positions))


def test_rows_cut_off_after_opening_are_an_error(path: Path) -> None:
    write(path, [10])
    with FeatureFile(path) as file:
        os.truncate(path, 5400)
        with pytest.raises(CacheError, match="is truncated"):
            file.read()
        with pytest.raises(CacheError, match="is truncated"):
            file.read(np.array([9]))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FeatureFile(tmp_path / "no.h5")


@pytest.mark.parametrize("size", [1, 3])
def test_rows_that_changed_places_are_found(path: Path, size: int) -> None:
    write(path, [10])
    content = path.read_bytes()
    one, other = content.index(ROWS[1].tobytes()), content.index(ROWS[5].tobytes())
    length = size * ROWS[0].nbytes
    swapped = bytearray(content)
    swapped[one : one + length], swapped[other : other + length] = (
        content[other : other + length],
        content[one : one + length],
    )
    path.write_bytes(swapped)
    with FeatureFile(path) as file, pytest.raises(CacheError, match=f"row 1 .* and {2 * size - 1} more"):
        file.read()


def test_rows_of_another_keys_file_are_found(path: Path, tmp_path: Path) -> None:
    write(path, [10])
    other = tmp_path / "other.h5"
    write(other, [10], key(content="other"))
    content, theirs = bytearray(path.read_bytes()), other.read_bytes()
    place = content.index(ROWS[4].tobytes())
    assert theirs.index(ROWS[4].tobytes()) == place
    with FeatureFile(path) as file:
        # The features are the same here; their checksums are of another key.
        start = file._rows._description.places.checksums + 4 * 16
    content[start : start + 16] = theirs[start : start + 16]
    path.write_bytes(content)
    with pytest.raises(CacheError, match="is damaged"):
        FeatureFile(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_rows_in_any_order_are_those_that_numpy_takes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "patterns" / "x.h5"
    if not path.exists():
        write(path, [10])
    positions = np.array(data.draw(st.lists(st.integers(0, 9), max_size=30)), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        # Pieces of one, two and many rows.
        patch.setattr(rows_module, "PIECE", data.draw(st.sampled_from([1, 2 * ROWS[0].nbytes, 1 << 20])))
        with FeatureFile(path) as file:
            found = file.read(positions)
            assert np.array_equal(file.read(), ROWS)
    assert found.dtype == np.float32 and found.shape == (len(positions), 7)
    assert np.array_equal(found, ROWS[positions])


def test_there_are_no_rows_beyond_the_ends(path: Path) -> None:
    write(path, [10])
    with FeatureFile(path) as file:
        for positions in ([10], [-1], [3, 12, 4]):
            with pytest.raises(IndexError):
                file.read(np.array(positions))


def test_few_rows_cost_few_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [10])
    reads: list[tuple[int, ...]] = []
    true_read = os.preadv

    def counted(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        reads.append(tuple(map(len, buffers)))
        return true_read(descriptor, buffers, offset)

    with FeatureFile(path) as file:
        monkeypatch.setattr(os, "preadv", counted)
        file.read(np.array([8, 2, 3, 4, 8, 0]))
        assert reads == [(28,), (28,) * 3, (28,)], "each row once, neighbours together"
        reads.clear()
        monkeypatch.setattr(rows_module, "_BUFFERS", 4)
        assert np.array_equal(file.read(np.arange(9, -1, -1)), ROWS[::-1])
        assert list(map(len, reads)) == [4, 4, 2], "no more buffers than a call takes"


def test_reads_that_come_in_parts_are_put_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [10])
    true_read = os.preadv

    def short(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        return true_read(descriptor, [buffers[0][:11]], offset)

    with FeatureFile(path) as file:
        monkeypatch.setattr(os, "preadv", short)
        assert np.array_equal(file.read(), ROWS)
        assert np.array_equal(file.read(np.array([5, 6, 2, 6])), ROWS[[5, 6, 2, 6]])


def test_threads_may_share_a_file(path: Path) -> None:
    write(path, [10])
    generator = np.random.default_rng(1)
    asked = [generator.integers(0, 10, 20) for _ in range(200)]
    with FeatureFile(path) as file, ThreadPoolExecutor(8) as pool:
        for positions, found in zip(asked, pool.map(file.read, asked), strict=True):
            assert np.array_equal(found, ROWS[positions])


@pytest.mark.parametrize("order", ["all", "shuffled", "repeated"])
def test_reading_takes_little_more_memory_than_its_result(path: Path, order: str) -> None:
    count, width = 8000, 1000
    rows = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    path.parent.mkdir(parents=True)
    with FeatureWriter(path, provenance(), list(map(str, range(count))), np.zeros(count, np.int64), width) as writer:
        writer.append(rows)
        writer.finish()
    generator = np.random.default_rng(1)
    asked = {"all": None, "shuffled": generator.permutation(count), "repeated": generator.integers(0, count, count)}
    with FeatureFile(path) as file:
        tracemalloc.start()
        found = file.read(asked[order])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert np.array_equal(found, rows if asked[order] is None else rows[asked[order]])
    # Two threads hold a piece of two megabytes each; half of the result would be 16.
    assert most < found.nbytes + 8_000_000


def test_a_file_is_hashed_at_its_first_opening_and_when_it_has_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.cache import store

    write(path, [10])
    hashed: list[Path] = []

    def sealed(file: RawFile, _: object) -> bool:
        hashed.append(file.path)
        return True

    monkeypatch.setattr(store, "is_sealed", sealed)
    # What was written a moment ago is not trusted to stay.
    for _ in range(2):
        FeatureFile(path).close()
    assert hashed == [path, path]
    monkeypatch.setattr(store, "_SETTLED_NS", 0)
    for _ in range(3):
        FeatureFile(path).close()
    assert hashed == [path, path, path]
    os.utime(path)
    FeatureFile(path).close()
    assert len(hashed) == 4


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(CacheError, match=r"feature file .*pipe.h5 is a pipe, and no file; delete it and extract again"):
        FeatureFile(tmp_path / "pipe.h5")
