"""The seal of a complete feature file: its first 512 bytes, which HDF5 leaves to the user.

It names the format and holds a sha256 over every byte of the file but the features and their checksums, which check one
another row by row. It is read before HDF5 is: a damaged HDF5 structure can hang or crash the library.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from probebench.errors import CacheError
from probebench.fingerprint import canonical_json

FORMAT = "probebench-features"
FORMAT_VERSION = 1
BLOCK = 512

_HDF5 = b"\x89HDF\r\n\x1a\n"
_CHUNK = 1 << 20


def write_seal(path: Path, parts: list[tuple[int, int]]) -> None:
    """Seals a closed file.

    Args:
        path: The file, with a user block of 512 bytes.
        parts: Offset and length in bytes of what the seal leaves to the rows' own checksums.
    """
    with path.open("r+b") as stream:
        text = canonical_json(
            {"format": FORMAT, "version": FORMAT_VERSION, "rows": parts, "sha256": _digest(stream, parts)}
        ).encode()
        stream.seek(0)
        stream.write(text.ljust(BLOCK, b"\0"))
        stream.flush()
        os.fsync(stream.fileno())


def check_seal(path: Path) -> None:
    """Lets only whole files of this format and version through.

    Raises:
        CacheError: The file is foreign, damaged, truncated or of another version.
    """
    mend = "delete it and extract again"
    with path.open("rb") as stream:
        block = stream.read(BLOCK)
        if block.startswith(_HDF5):
            raise CacheError(f"{path} is an HDF5 file, but not one of probebench's; move it out of the features folder")
        try:
            seal = json.loads(block.rstrip(b"\0"))
            named, version = seal["format"] == FORMAT, seal["version"]
        except (ValueError, KeyError, TypeError):
            named, version = False, None
        if not named or len(block) < BLOCK:
            raise CacheError(f"feature file {path} is damaged, or no feature file at all; {mend}")
        if version != FORMAT_VERSION:
            raise CacheError(
                f"feature file {path} has format version {version} and this probebench reads {FORMAT_VERSION}; "
                "use the probebench that wrote it, or delete the file and extract again"
            )
        try:
            parts = [(int(offset), int(length)) for offset, length in seal["rows"]]
            whole = seal["sha256"] == _digest(stream, parts)
        except (ValueError, KeyError, TypeError, OverflowError):
            whole = False
    if not whole:
        raise CacheError(f"feature file {path} is damaged or truncated; {mend}")


def _digest(stream: BinaryIO, parts: list[tuple[int, int]]) -> str:
    """Hashes the length of the file and all its bytes, less the seal and ``parts``."""
    length = stream.seek(0, os.SEEK_END)
    digest = hashlib.sha256(str(length).encode())
    position = BLOCK
    for start, count in [*sorted(parts), (length, 0)]:
        if not position <= start <= start + count <= length:
            raise ValueError("the parts overlap or leave the file")
        stream.seek(position)
        while position < start:
            piece = stream.read(min(_CHUNK, start - position))
            digest.update(piece)
            position += len(piece)
        position = start + count
    return digest.hexdigest()
