"""Which files of strangers may be read: plain ones of known names, kinds, sizes and contents."""

import json
import os
import pickletools
import re
import stat
from pathlib import Path

from probebench.leaderboard.findings import Findings
from probebench.leaderboard.rules import LARGEST
from probebench.outside import JSON_VALUES
from probebench.results.packed import SUFFIX

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,199}", re.ASCII)
_MOST_FILES = 10_000
# Marks of direction and signs of no width; joiners inside emoji are none of these.
_HIDDEN = tuple(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0x2060, 0x61C, 0xFEFF))
)
# What a pickle of letters can call by.
_CALLS = ("GLOBAL", "INST", "REDUCE", "OBJ", "BUILD")


# A checkpoint's packed runs, which the board's own results are kept in.
_LARGEST_PACK = 32 << 20


def sound_files(folder: Path, findings: Findings, packs: bool = False) -> list[Path]:
    """Lists the files below a folder that may be read, in the order of their names; all else is a failure.

    Args:
        folder: The folder.
        findings: Takes the failures.
        packs: Whether packs of results may be among them.
    """
    sound: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=lambda error: findings.fail(folder, str(error))):
        for name in sorted(folders):
            path = Path(place, name)
            if fault := _name_fault(name) or ("is a symbolic link" if path.is_symlink() else None):
                findings.fail(path, f"{fault}; submissions hold plain files and folders")
                folders.remove(name)
            elif path.suffix in (*LARGEST, SUFFIX):
                # What looks for the file would take it for missing.
                findings.fail(path, "is a folder, and no file")
                folders.remove(name)
        for name in files:
            path = Path(place, name)
            if fault := _name_fault(name) or file_fault(path, packs):
                findings.fail(path, fault)
            else:
                sound.append(path)
        if len(sound) > _MOST_FILES:
            findings.fail(folder, f"holds more than {_MOST_FILES} files; the others are not looked at")
            break
    return sorted(sound)


def _name_fault(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "its name is not made of letters, digits and . _ - @"


def file_fault(path: Path, packs: bool = False) -> str | None:
    """Says why a file may not be read, by its kind, size and content; None where it may, as packs if these may be."""
    try:
        found = path.lstat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISLNK(found.st_mode):
        return f"is a symbolic link to {path.readlink()}; submissions hold plain files"
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    largest = _LARGEST_PACK if packs and path.suffix == SUFFIX else LARGEST.get(path.suffix)
    if largest is None:
        return f"does not belong here: only {', '.join(sorted(LARGEST))} files do"
    if found.st_size > largest:
        return f"is too large: {found.st_size / 1e6:.1f} MB, where a {path.suffix} file may have {largest / 1e6:.1f}"
    return content_fault(path.suffix, path.read_bytes())


def content_fault(suffix: str, content: bytes) -> str | None:
    """Says why a content is not what the name promises: what reads it elsewhere may go by the content alone."""
    if suffix in (".npz", SUFFIX):
        return None if content.startswith(b"PK\x03\x04") else f"is no {suffix} file by its content"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "is no text by its content"
    if any(ord(one) < 32 and one not in "\t\n\r" or ord(one) == 127 for one in set(text)):
        return "is no text by its content: it holds control characters"
    if hidden := next((one for one in _HIDDEN if one in text), None):
        return f"holds invisible signs or such as turn the direction of reading: {ascii(hidden)}"
    if suffix == ".json" and (name := _said_twice(text)) is not None:
        return f"says {ascii(name)[:80]} twice"
    return "is a pickle by its content, which could run code" if _is_pickle(content) else None


def _said_twice(text: str) -> str | None:
    """Returns a key that an object of a JSON text holds twice: a reader sees the one, and programs take the other."""
    twice: list[str] = []

    def keys(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            twice.extend([name] if name in seen else ())
            seen.add(name)

    if text.count(",") > JSON_VALUES:
        # Who reads it refuses it for that.
        return None
    try:
        json.loads(text, object_pairs_hook=keys)
    except (ValueError, RecursionError):
        # What reads it says where it is damaged.
        return None
    return twice[0] if twice else None


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
