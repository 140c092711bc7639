"""The first 4096 bytes of a feature file, which HDF5 leaves to the user: what lies where, and how far it is.

======  =====  =========================================================================================
offset  bytes  content
======  =====  =========================================================================================
0       1536   the description, written once: format, version, shape, places, key, sha256 of what is fixed
1536    512    the seal of a complete file; in an interrupted one it says nothing
2048    1024   commit slot 0
3072    1024   commit slot 1
======  =====  =========================================================================================

Each is JSON, padded with zeros, with a checksum of itself. Slots are written in turns and the newest that is whole
counts, so a write that was torn leaves the state before it. All of a state is in one slot: it cannot be half new.

The seal is a sha256 over every byte but the features, which the checksums under it check. It is read before HDF5 is: a
damaged HDF5 structure can hang or crash the library.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from probebench.cache.checksums import COLUMNS
from probebench.cache.file_io import RawFile
from probebench.errors import CacheError
from probebench.fingerprint import canonical_json, fingerprint

FORMAT = "probebench-features"
FORMAT_VERSION = 2
BLOCK = 4096
SEAL_PLACE, SEAL_SIZE = 1536, 512
SLOT_PLACES, SLOT_SIZE = (2048, 3072), 1024
# A slot holds the settings and 200 bytes more.
SETTINGS_SIZE = 768

# The sequence number of a complete file's first slot: whatever the way there, complete files have the same bytes.
FINAL = 1 << 62

_HDF5 = b"\x89HDF\r\n\x1a\n"
_FIRST_VERSION_BLOCK = 512

# How features were computed: device, batch size and the like. Under equal settings bytes are equal.
Settings = Mapping[str, str | int | bool]

_CHUNK = 1 << 20

# Offset and length in bytes.
_Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Offsets, in bytes from the start of the file, of what is written and read without HDF5.

    Attributes:
        features: (rows, width) float16 or float32.
        checksums: (rows, 2) uint64, of features and of label and id.
        labels: (rows,) int64.
        ids: (rows,) strings of fixed length.
        committed: The attribute, int64.
        complete: The attribute, one byte.
        settings: The attribute, SETTINGS_SIZE bytes.
    """

    features: int
    checksums: int
    labels: int
    ids: int
    committed: int
    complete: int
    settings: int


@dataclass(frozen=True, kw_only=True)
class About:
    """Whose features these are, for listings: read without HDF5, so of interrupted files too.

    Attributes:
        layer: Which features; "" in files from before there was a choice.
    """

    model: str
    dataset: str
    split: str
    input_size: int
    dtype: str
    layer: str = ""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What never changes once a file is laid out.

    Attributes:
        rows: N, images.
        width: D, features of an image.
        dtype: "float16" or "float32", little-endian.
        ids_size: Bytes of each id.
        length: Of the file in bytes.
        places: Where everything lies.
        key: sha256 of the key.
        about: Whose features these are.
        sha256: Over the length and all bytes but the first block, features, checksums and the attributes that change.
    """

    rows: int
    width: int
    dtype: str
    ids_size: int
    length: int
    places: Places
    key: str
    about: About
    sha256: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of features."""
        return self.width * (4 if self.dtype == "float32" else 2)


@dataclass(frozen=True)
class Slot:
    """How far a file is.

    Attributes:
        sequence: Its number among all states of the file.
        committed: Rows that are written.
        settings: Device, batch size and the like in force.
    """

    sequence: int
    committed: int
    settings: Settings


def encode_description(description: Description) -> bytes:
    """Returns the bytes of a description."""
    return _encode({"format": FORMAT, "version": FORMAT_VERSION} | asdict(description), SEAL_PLACE)


def read_description(
    file: RawFile, what: str = "feature file", mend: str = "delete it and extract again"
) -> Description:
    """Reads what a file says of itself.

    Raises:
        CacheError: The file is foreign, damaged, or of another version; one line, with the mend.
    """
    block = file.read(0, BLOCK)
    if block.startswith(_HDF5):
        raise CacheError(
            f"{file.path} is an HDF5 file, but not one of probebench's; move it out of the features folder"
        )
    damaged = CacheError(f"{what} {file.path} is damaged, or no feature file at all; {mend}")
    # The first version left its block empty while a file was growing.
    old = block[:_FIRST_VERSION_BLOCK].strip(b"\0") == b"" and block[_FIRST_VERSION_BLOCK:].startswith(_HDF5)
    stated = {"format": FORMAT, "version": 1} if old else _parse(block[:SEAL_PLACE])
    if stated is None or stated.get("format") != FORMAT:
        raise damaged
    version = stated.get("version")
    if version != FORMAT_VERSION:
        raise CacheError(
            f"{what} {file.path} has format version {version} and this probebench reads {FORMAT_VERSION}; "
            f"use the probebench that wrote it, or {mend}"
        )
    facts = _decode(block[:SEAL_PLACE])
    if facts is None or len(block) < BLOCK:
        raise damaged
    del facts["format"], facts["version"]
    return Description(**facts | {"places": Places(**facts["places"]), "about": About(**facts["about"])})


def encode_slot(slot: Slot) -> bytes:
    """Returns the bytes of a slot."""
    # Written with every block; asdict would copy the settings at a tenth of a block's cost.
    return _encode({"sequence": slot.sequence, "committed": slot.committed, "settings": dict(slot.settings)}, SLOT_SIZE)


def encode_settings(settings: Settings) -> bytes:
    """Returns the settings as they stand in the file's attribute.

    Raises:
        ValueError: They take more than SETTINGS_SIZE bytes.
    """
    return _pad(canonical_json(dict(settings)), SETTINGS_SIZE)


def read_slot(file: RawFile) -> Slot | None:
    """Returns the newest slot that is whole; None where neither is."""
    found = [_decode(file.read(place, SLOT_SIZE)) for place in SLOT_PLACES]
    # Something else that is whole, moved here by a damaged disk, is no slot.
    names = {field.name for field in fields(Slot)}
    slots = [Slot(**facts) for facts in found if facts is not None and facts.keys() == names]
    return max(slots, key=lambda slot: slot.sequence, default=None)


def slot_place(sequence: int) -> int:
    """Returns where the slot of that number belongs."""
    return SLOT_PLACES[sequence % 2]


def encode_seal(file: RawFile, description: Description) -> bytes:
    """Returns the seal that a file's bytes ask for, as it stands in the file."""
    sha256 = _sha256(file, [(SEAL_PLACE, SEAL_SIZE), _features(description)])
    return canonical_json({"complete": True, "sha256": sha256}).encode().ljust(SEAL_SIZE, b"\0")


def is_sealed(file: RawFile, description: Description) -> bool:
    """Says whether a file is complete and unchanged, but for its features; the description may be damaged too."""
    if file.length() != description.length:
        return False
    return file.read(SEAL_PLACE, SEAL_SIZE) == encode_seal(file, description)


def fixed_sha256(file: RawFile, description: Description) -> str:
    """Returns the sha256 over what never changes once a file is laid out: the structure, labels and ids."""
    places = description.places
    return _sha256(
        file,
        [
            (0, BLOCK),
            _features(description),
            (places.checksums, description.rows * COLUMNS * 8),
            (places.committed, 8),
            (places.complete, 1),
            (places.settings, SETTINGS_SIZE),
        ],
    )


def _features(description: Description) -> _Span:
    return description.places.features, description.rows * description.row_bytes


def _sha256(file: RawFile, left_out: list[_Span]) -> str:
    """Hashes the length of the file and all its bytes but those left out."""
    length = file.length()
    digest = hashlib.sha256(str(length).encode())
    position = 0
    for start, count in [*sorted(left_out), (length, 0)]:
        while position < start:
            # A file that ends early gives nothing here, and another digest.
            digest.update(file.read(position, min(_CHUNK, start - position)))
            position = min(position + _CHUNK, start)
        position = start + count
    return digest.hexdigest()


def _encode(value: dict[str, Any], size: int) -> bytes:
    return _pad(canonical_json(value | {"checksum": fingerprint(value)}), size)


def _pad(text: str, size: int) -> bytes:
    content = text.encode()
    if len(content) > size:
        raise ValueError(f"{len(content)} bytes do not fit into {size}: {text}")
    return content.ljust(size, b"\0")


def _parse(block: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(block.split(b"\0", 1)[0])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decode(block: bytes) -> dict[str, Any] | None:
    """Returns what was encoded; None if any byte of it changed, the padding too."""
    value = _parse(block)
    if value is None:
        return None
    value.pop("checksum", None)
    try:
        return value if block == _encode(value, len(block)) else None
    # JSON may hold what the canonical form cannot: NaN, or half of a character.
    except (ValueError, RecursionError):
        return None
