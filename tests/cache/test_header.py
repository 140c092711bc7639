import dataclasses
from pathlib import Path
from typing import Any

import pytest

from probebench.cache.file_io import RawFile
from probebench.cache.header import (
    BLOCK,
    SEAL_PLACE,
    SETTINGS_SIZE,
    SLOT_PLACES,
    Description,
    Slot,
    encode_description,
    encode_settings,
    encode_slot,
    read_description,
    read_slot,
    slot_place,
)
from probebench.errors import CacheError
from tests.cache.test_store import write


@pytest.fixture
def description(path: Path) -> Description:
    write(path, [10])
    with RawFile(path) as file:
        return read_description(file)


def block_of(path: Path, parts: dict[int, bytes]) -> RawFile:
    content = bytearray(BLOCK)
    for place, part in parts.items():
        content[place : place + len(part)] = part
    path.write_bytes(content)
    return RawFile(path)


def test_the_description_survives_a_round_trip(tmp_path: Path, description: Description) -> None:
    with block_of(tmp_path / "x", {0: encode_description(description)}) as file:
        assert read_description(file) == description
    assert len(encode_description(description)) == SEAL_PLACE


def test_the_longest_names_have_room(description: Description) -> None:
    about = dataclasses.replace(description.about, model="m" * 200, dataset="folder:" + "d" * 255)
    encode_description(dataclasses.replace(description, about=about, rows=10**9, width=10**5, length=10**15))


def test_the_newest_whole_slot_counts(tmp_path: Path) -> None:
    slots = [Slot(number, 10 * number, {"device": "cpu"}) for number in (7, 8)]
    places = {slot_place(slot.sequence): encode_slot(slot) for slot in slots}
    with block_of(tmp_path / "x", places) as file:
        assert read_slot(file) == slots[1]
    places[slot_place(8)] = places[slot_place(8)].replace(b"80", b"90")
    with block_of(tmp_path / "x", places) as file:
        assert read_slot(file) == slots[0]


def test_something_else_in_a_slots_place_is_no_slot(tmp_path: Path, description: Description) -> None:
    moved = encode_description(description)[:1024]
    with block_of(tmp_path / "x", {place: moved for place in SLOT_PLACES}) as file:
        assert read_slot(file) is None


@pytest.mark.parametrize(
    "text", [b"[" * SEAL_PLACE, b"{}", b'{"format":NaN}', b'{"format":"probebench-features"}', b"3"]
)
def test_nonsense_is_no_description(tmp_path: Path, text: bytes) -> None:
    with block_of(tmp_path / "x", {0: text}) as file, pytest.raises(CacheError):
        read_description(file)


def test_settings_have_their_room_and_a_slot_holds_them() -> None:
    longest: dict[str, Any] = {"x": "y" * (SETTINGS_SIZE - 8)}
    assert len(encode_settings(longest)) == SETTINGS_SIZE
    encode_slot(Slot(1 << 63, 10**12, longest))
    with pytest.raises(ValueError, match="do not fit"):
        encode_settings({"x": "y" * (SETTINGS_SIZE - 7)})
