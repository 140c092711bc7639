from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from probebench.cache.key import FeatureKey
from probebench.cache.store import FeatureFile, feature_path, row_checksums
from probebench.cache.writer import FeatureWriter, Header
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


@pytest.mark.parametrize("keep", [0, 100, 511, 512, 3000, -1])
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
    path.write_bytes(content.replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(CacheError, match="format version 2 and this probebench reads 1"):
        FeatureFile(path)


@pytest.mark.parametrize("name", ["model", "settings", "committed"])
def test_an_edited_header_is_refused(path: Path, name: str) -> None:
    write(path, [10])
    with h5py.File(path, "r+") as file:
        file.attrs.modify(name, np.int64(3) if name == "committed" else "x")
    with pytest.raises(CacheError, match="is damaged"):
        FeatureFile(path)


def test_any_changed_byte_is_found(path: Path) -> None:
    """Every byte of the file, one at a time: refused at opening, or at reading its row. HDF5 never sees the damage."""
    write(path, [10])
    whole = path.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0x41
        path.write_bytes(content)
        with pytest.raises(CacheError), FeatureFile(path) as file:
            file.read()


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


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FeatureFile(tmp_path / "no.h5")


def test_checksums_are_of_each_rows_bytes() -> None:
    import zlib

    assert row_checksums(ROWS).tolist() == [zlib.crc32(row.tobytes()) for row in ROWS]
    assert row_checksums(ROWS.T.copy().T).tolist() == row_checksums(ROWS).tolist()
