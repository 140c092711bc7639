from pathlib import Path

import h5py
import pytest

from probebench.cache import rows as rows_module
from probebench.cache.file_io import RawFile
from probebench.cache.header import BLOCK, SEAL_PLACE, read_description
from probebench.cache.verify import Damage, verify
from probebench.cache.writer import FeatureWriter
from tests.cache.test_store import IDS, LABELS, ROWS, flip, provenance, write
from tests.cache.test_writer import append_skipping, opened, partial_of


def damaged(path: Path) -> Damage:
    found = verify(path)
    assert found is not None and str(path) in found.message and "\n" not in found.message
    return found


def places(path: Path) -> tuple[int, int, int]:
    """Where features, checksums and labels begin."""
    with RawFile(path) as file:
        described = read_description(file).places
    return described.features, described.checksums, described.labels


def test_whole_files_are_whole(path: Path) -> None:
    write(path, [3, 2], finish=False)
    assert verify(partial_of(path)) is None
    write(path, [5])
    assert verify(path) is None


@pytest.mark.parametrize("finish", [False, True])
def test_damaged_rows_are_named(path: Path, finish: bool) -> None:
    write(path, [5, 5], finish=finish)
    where = path if finish else partial_of(path)
    for row in (2, 3, 4, 8):
        flip(where, ROWS[row].tobytes(), 9)
    found = damaged(where)
    assert found.features == (2, 3, 4, 8) and found.records == ()
    assert "features of rows 2-4, 8 (bild-2-ä, bild-3-ä, bild-4-ä, …)" in found.message
    assert ("extract again" if finish else "run the extraction again: it goes on at row 2") in found.message


def test_long_lists_are_cut(path: Path) -> None:
    write(path, [10])
    with path.open("r+b") as stream:
        for row in range(0, 10, 2):
            stream.seek(places(path)[0] + 28 * row)
            stream.write(b"xx")
        stream.seek(places(path)[0] + 28 * 9)
        stream.write(b"xx")
    assert "features of rows 0, 2, 4, 6, 8-9 (" in damaged(path).message


@pytest.mark.parametrize("finish", [False, True])
def test_damaged_labels_and_ids_are_named(path: Path, finish: bool) -> None:
    write(path, [5, 5], finish=finish)
    where = path if finish else partial_of(path)
    flip(where, IDS[7].encode(), 2)
    flip(where, LABELS[:4].tobytes(), 8 * 3)
    found = damaged(where)
    assert found.features == () and found.records == (3, 7)
    assert "label or id of rows 3, 7 (bild-3-ä, bimd-7-ä)" in found.message and "delete it" in found.message


@pytest.mark.parametrize("finish", [False, True])
def test_damaged_checksums_are_of_their_rows(path: Path, finish: bool) -> None:
    write(path, [5, 5], finish=finish)
    where = path if finish else partial_of(path)
    with where.open("r+b") as stream:
        stream.seek(places(where)[1] + 16 * 4)
        stream.write(bytes(8))
        stream.seek(8, 1)
        stream.seek(places(where)[1] + 16 * 6 + 8)
        stream.write(bytes(8))
    found = damaged(where)
    assert found.features == (4,) and found.records == (6,)


def test_only_rows_that_count_are_looked_at(path: Path) -> None:
    write(path, [5], finish=False)
    with partial_of(path).open("r+b") as stream:
        stream.seek(places(partial_of(path))[0] + 28 * 5)
        stream.write(b"half a row")
    assert verify(partial_of(path)) is None


def test_images_left_out_are_no_damage(path: Path) -> None:
    with opened(path) as writer:
        append_skipping(writer, 7)
    assert verify(partial_of(path)) is None


def test_a_mark_of_an_image_left_out_is_damage_in_a_complete_file(path: Path) -> None:
    write(path, [10])
    with FeatureWriter(path.with_name("other.h5"), provenance(), IDS, LABELS, 7) as writer:
        mark = writer._rows.hasher.skipped([3])
    with path.open("r+b") as stream:
        stream.seek(places(path)[1] + 16 * 3)
        stream.write(mark.tobytes())
    assert damaged(path).features == (3,)


@pytest.mark.parametrize("finish", [False, True])
def test_damage_beside_the_rows_is_told(path: Path, finish: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [10], finish=finish)
    where = path if finish else partial_of(path)
    whole = where.read_bytes()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("HDF5 must not see a damaged file")

    monkeypatch.setattr(h5py, "File", forbidden)
    for said, content in {
        "bytes instead of": whole[:-1],
        "instead of": whole + b"x",
        "no feature file at all": whole[:100],
        "has format version 3": whole.replace(b'"version":2', b'"version":3', 1),
        "what it says beside its rows": whole.replace(b"dataset\0", b"datasets", 1),
    }.items():
        where.write_bytes(content)
        assert said in damaged(where).message and damaged(where).features == ()
    where.write_bytes(whole[:SEAL_PLACE] + bytes(BLOCK - SEAL_PLACE) + whole[BLOCK:])
    assert ("what it says beside its rows" if finish else "where it counts its rows") in damaged(where).message


def test_large_files_are_read_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "PIECE", 2 * 28)
    write(path, [10])
    for row in (1, 2, 9):
        flip(path, ROWS[row].tobytes())
    assert damaged(path).features == (1, 2, 9)
