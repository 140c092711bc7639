"""Files that are there whole or not at all."""

import os
from pathlib import Path

import pytest

from probebench.files import bytes_text, replacing, stamp, write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "é")
    assert path.read_bytes() == "é".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00" and [one.name for one in path.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "before")
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "before" and [one.name for one in tmp_path.iterdir()] == ["file.txt"]


def test_a_stamp_sees_a_change_under_the_old_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stamp(path.stat()) != stamp(before) and stamp(path.stat()) == stamp(path.stat())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 bytes"), (949, "949 bytes"), (960, "1.0 kB"), (1000, "1.0 kB"), (4_100_000, "4.1 MB")),
        *((999_960, "1.0 MB"), (12_345_678_901, "12.3 GB"), (3 * 10**12, "3.0 TB"), (5 * 10**15, "5000.0 TB")),
    ],
)
def test_bytes_are_told_in_a_unit_that_shows_them(count: int, text: str) -> None:
    assert bytes_text(count) == text
