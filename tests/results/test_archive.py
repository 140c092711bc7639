"""Predictions files that are made to exhaust memory, or to be read as something else."""

import bz2
import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probebench.errors import ResultError
from probebench.results.archive import read_arrays

NAMES = ("test_ids", "y_true", "y_pred")


def npy(shape: tuple[int, ...], descr: str, content: bytes | int = 0) -> bytes:
    """An array's file with any header, and these bytes, or so many zeros, behind it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + (bytes(content) if isinstance(content, int) else content)


def archive(compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    """Three honest arrays of four images and two trials, less what is given otherwise."""
    honest = {
        "test_ids": npy((4,), "<U1", np.array(list("abcd")).tobytes()),
        "y_true": npy((4,), "<i8", 32),
        "y_pred": npy((2, 4), "<i8", 64),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in (honest | members).items():
            target.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _encrypted() -> bytes:
    content = bytearray(archive())
    for place, _ in _headers(bytes(content)):
        content[place] |= 1
    return bytes(content)


def _headers(content: bytes) -> list[tuple[int, bytes]]:
    """Places of the flags in the archive's own list."""
    places, start = [], 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:
        places.append((start + 8, content[start + 8 : start + 10]))
        start += 4
    return places


def _unknown_compression() -> bytes:
    content = bytearray(archive(zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        start = 0
        while (start := bytes(content).find(signature, start)) >= 0:
            content[start + offset : start + offset + 2] = struct.pack("<H", 97)
            start += 4
    return bytes(content)


def _many_members() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for number in range(3000):
            target.writestr(f"{number}.npy", b"")
    return buffer.getvalue()


def _long_directory() -> bytes:
    """Says in the archive's end that its list takes a gigabyte."""
    content = bytearray(archive())
    content[-10:-6] = struct.pack("<I", 1 << 30)
    return bytes(content)


def _zip64() -> bytes:
    """The same in the fields that stand above these."""
    content = archive()
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 24, 1 << 24, 1 << 30, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(content) - 22, 1)
    return content[:-22] + end64 + locator + content[-22:]


def _twice() -> bytes:
    buffer = io.BytesIO(archive())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as target:
        target.writestr("y_pred.npy", npy((2, 4), "<i8", 64))
    return buffer.getvalue()


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a hundred million small predictions": (
        lambda: archive(y_pred=npy((1, 100_000_000), "|i1", 100_000_000)),
        "has 4 ids, 4 labels and 100000000 images",
    ),
    "as many in all": (
        lambda: archive(
            test_ids=npy((30_000_000,), "<U1", 120_000_000),
            y_true=npy((30_000_000,), "|i1", 30_000_000),
            y_pred=npy((1, 30_000_000), "|i1", 30_000_000),
        ),
        "no data set has so many",
    ),
    "ten million trials": (lambda: archive(y_pred=npy((10_000_000, 4), "|i1", 40_000_000)), "no data set has so many"),
    "trials of nothing": (
        lambda: archive(test_ids=npy((0,), "<U1"), y_true=npy((0,), "<i8"), y_pred=npy((1 << 40, 0), "<i8")),
        "its result tells of 4 in 2",
    ),
    "probabilities of other images": (
        lambda: archive(p_true=npy((2, 5), "<f4", 40)),
        r"p_true.npy has shape \(2, 5\), and its predictions \(2, 4\)",
    ),
    "probabilities of other width": (lambda: archive(p_true=npy((2, 4), "<f8", 64)), "where float32 belongs"),
    "probabilities that are numbers of classes": (
        lambda: archive(p_true=npy((2, 4), "<i4", 32)),
        "p_true.npy has dtype int32",
    ),
    "ids of a megabyte": (lambda: archive(test_ids=npy((4,), f"<U{1 << 20}", 16 << 20)), "has dtype <U1048576"),
    "ids without letters": (lambda: archive(test_ids=npy((4,), "<U0"), y_true=npy((5,), "<i8", 40)), "has 4 ids, 5"),
    "more than may be unpacked": (
        lambda: archive(y_true=npy((40_000_000,), "<i8", 320_000_000)),
        "is too large: 320 MB unpacked",
    ),
    "a header of a terabyte": (lambda: archive(y_pred=npy((1, 1 << 37), "<i8")), "is not as long as its header says"),
    "a negative shape": (lambda: archive(y_true=npy((-4,), "<i8", 32)), "is not as long as its header says|ValueError"),
    "three dimensions": (lambda: archive(y_pred=npy((1, 2, 4), "<i8", 64)), r"has dtype int64 and shape \(1, 2, 4\)"),
    "numbers of no kind": (lambda: archive(y_true=npy((4,), "<f8", 32)), "has dtype float64"),
    "wide whole numbers": (lambda: archive(y_true=npy((4,), "<c16", 64)), "has dtype complex128"),
    "objects": (lambda: archive(y_true=npy((4,), "|O", 32)), "holds pickled objects, which could run code"),
    "structured records": (lambda: archive(y_true=npy((4,), "|V8", 32)), "has dtype"),
    "a long header": (lambda: archive(y_true=b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535), "is damaged"),
    "other trials": (lambda: archive(y_pred=npy((3, 4), "<i8", 96)), "4 images in 3 trials, and its result tells of 4"),
    "bzip2": (lambda: archive(zipfile.ZIP_BZIP2), "compressed in a way that NumPy never uses"),
    "lzma": (lambda: archive(zipfile.ZIP_LZMA), "compressed in a way that NumPy never uses"),
    "an unknown compression": (_unknown_compression, "compressed in a way that NumPy never uses"),
    "encryption": (_encrypted, "is encrypted"),
    "thousands of members": (_many_members, "and lists far more"),
    "a list of a gigabyte": (_long_directory, "and lists far more"),
    "a list of a gigabyte in 64 bits": (_zip64, "and lists far more"),
    "an array twice": (_twice, "each once"),
    "a member more": (lambda: archive(more=b"x"), "does not belong there"),
    "words behind the end": (lambda: archive() + b"words", "it does not end as one"),
    "half of it": (lambda: archive()[:300], "it does not end as one"),
    "nothing": (lambda: b"", "it does not end as one"),
    "no archive": (lambda: bz2.compress(b"x" * 1000), "it does not end as one"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_limits_come_before_memory(name: str, tmp_path: Path) -> None:
    make, said = BOMBS[name]
    path = tmp_path / "mine.npz"
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(ResultError, match=said):
            read_arrays(path, (2, 4))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_as_expected_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path.write_bytes(archive(compression))
        (ids, y_true, y_pred), measures, own = read_arrays(path, (2, 4))
        assert ids.tolist() == list("abcd") and y_true.shape == (4,) and y_pred.shape == (2, 4)
        assert own is None and not measures and read_arrays(path)[0][2].shape == (2, 4)
        path.write_bytes(archive(compression, p_true=npy((2, 4), "<f4", 32)))
        assert {name: (values.shape, values.dtype) for name, values in read_arrays(path)[1].items()} == {
            "p_true": ((2, 4), np.dtype(np.float32))
        }


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:

    os.mkfifo(tmp_path / "mine.npz")
    with pytest.raises(ResultError, match="is a pipe, and no file"):
        read_arrays(tmp_path / "mine.npz")
