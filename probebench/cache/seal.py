"""The seal of a complete feature file: a sha256 over every byte but the features, which the checksums under it check.

It is read before HDF5 is: a damaged HDF5 structure can hang or crash the library.
"""

import hashlib

from probebench.cache.checksums import COLUMNS
from probebench.cache.file_io import RawFile
from probebench.cache.header import BLOCK, SEAL_PLACE, SEAL_SIZE, SETTINGS_SIZE, Description
from probebench.fingerprint import canonical_json

_CHUNK = 1 << 20

# Offset and length in bytes.
Span = tuple[int, int]


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


def _features(description: Description) -> Span:
    return description.places.features, description.rows * description.row_bytes


def _sha256(file: RawFile, left_out: list[Span]) -> str:
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
