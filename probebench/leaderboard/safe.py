"""Reads files of strangers: plain files of known kinds and sizes only, and no array before its header is known."""

import os
import pickletools
import re
import stat
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probebench.errors import ResultError
from probebench.leaderboard.findings import Findings
from probebench.leaderboard.rules import LARGEST
from probebench.results.store import Predictions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,199}", re.ASCII)
# Arrays of one predictions file, unpacked.
_UNPACKED = 256 << 20
_MEMBERS = {"test_ids.npy": ("U", 1), "y_true.npy": ("i", 1), "y_pred.npy": ("i", 2)}
_MOST_FILES = 10_000
# What a pickle of letters can call by.
_CALLS = ("GLOBAL", "INST", "REDUCE", "OBJ", "BUILD")


def sound_files(folder: Path, findings: Findings) -> list[Path]:
    """Lists the files below a folder that may be read, in the order of their names; all else is a failure."""
    sound: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: findings.fail(folder, str(error))):
        for name in sorted(folders):
            path = Path(place, name)
            if fault := _name_fault(name) or ("is a symbolic link" if path.is_symlink() else None):
                findings.fail(path, f"{fault}; submissions hold plain files and folders")
                folders.remove(name)
        for name in files:
            path = Path(place, name)
            if fault := _name_fault(name) or file_fault(path):
                findings.fail(path, fault)
            else:
                sound.append(path)
        if len(sound) > _MOST_FILES:
            findings.fail(folder, f"holds more than {_MOST_FILES} files; the others are not looked at")
            break
    return sorted(sound)


def _name_fault(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "its name is not made of letters, digits and . _ - @"


def file_fault(path: Path) -> str | None:
    """Says why a file may not be read, by its kind, size and content; None where it may."""
    try:
        found = path.lstat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return f"is a symbolic link to {path.readlink()}; submissions hold plain files"
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    largest = LARGEST.get(path.suffix)
    if largest is None:
        return f"does not belong here: only {', '.join(sorted(LARGEST))} files do"
    if found.st_size > largest:
        return f"is too large: {found.st_size / 1e6:.1f} MB, where a {path.suffix} file may have {largest / 1e6:.1f}"
    return _content_fault(path.suffix, path.read_bytes())


def _content_fault(suffix: str, content: bytes) -> str | None:
    """Says why a content is not what the name promises: what reads it elsewhere may go by the content alone."""
    if suffix == ".npz":
        return None if content.startswith(b"PK\x03\x04") else "is no .npz file by its content"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "is no text by its content"
    if any(ord(one) < 32 and one not in "\t\n\r" or ord(one) == 127 for one in set(text)):
        return "is no text by its content: it holds control characters"
    return "is a pickle by its content, which could run code" if _is_pickle(content) else None


def _is_pickle(content: bytes) -> bool:
    """Whether unpickling would get through a text and call something; protocol 0 is made of letters."""
    calls = False
    try:
        for operation, _, _ in pickletools.genops(content):
            calls |= operation.name in _CALLS
    # It stumbles over any other text.
    except Exception:
        return False
    return calls


def read_arrays(path: Path) -> Predictions:
    """Reads a predictions file, trusting nothing in it.

    Raises:
        ResultError: It holds anything but the three arrays; the line says what, and names no file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members)
            arrays = {member.filename: _array(archive, member) for member in members}
    except ResultError:
        raise
    # A damaged archive makes zipfile, zlib and numpy raise some ten kinds of errors.
    except Exception as error:
        raise ResultError(f"is damaged or no .npz file ({type(error).__name__})") from error
    ids, y_true, y_pred = (arrays[name] for name in _MEMBERS)
    return Predictions(tuple(ids.tolist()), y_true.astype(np.int64), y_pred.astype(np.int64))


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise ResultError(f"its member {member.filename!r} points outside")
        if member.filename not in _MEMBERS:
            raise ResultError(f"its member {member.filename!r} does not belong there")
    if sorted(member.filename for member in members) != sorted(_MEMBERS):
        raise ResultError("must hold test_ids, y_true and y_pred, each once")
    if (size := sum(member.file_size for member in members)) > _UNPACKED:
        raise ResultError(f"is too large: {size / 1e6:.0f} MB unpacked, where {_UNPACKED / 1e6:.0f} are allowed")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    """Reads one array after its header, which must agree with the member's size: numpy would believe it."""
    kind, dimensions = _MEMBERS[member.filename]
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=1000)
        if dtype.hasobject:
            raise ResultError(f"its member {member.filename} holds pickled objects, which could run code")
        if dtype.kind != kind or len(shape) != dimensions or (kind == "i" and dtype.itemsize > 8):
            raise ResultError(f"its member {member.filename} has dtype {dtype} and shape {shape}")
        size = int(np.prod([*shape, dtype.itemsize], dtype=object))
        if min(shape) < 0 or stream.tell() + size != member.file_size:
            raise ResultError(f"its member {member.filename} is not as long as its header says")
    with archive.open(member) as stream:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=1000)
    return array
