"""Opens what comes from outside: regular files only, and never more of one than was said. Limits come before work."""

import errno
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

# Bytes of an entry, a table or a map, and values and nested keys in one. The longest entry has 32 kB and 2,000 values.
TOML_BYTES, _TOML_VALUES, _TOML_DEPTH = 1 << 20, 20_000, 16
# Bytes of one result or manifest, and values in it: what parses it keeps an error of each.
JSON_BYTES, JSON_VALUES = 64 << 20, 50_000
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Comments and strings of TOML; one that is not closed goes on to where it must end.
_TEXTS = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\[\s\S])*?(?:"{3,5}|\\?\Z)|\'\'\'[\s\S]*?(?:\'{3,5}|\Z)'
    r'|"(?:[^"\\\n]|\\.)*(?:"|\\?$)|\'[^\'\n]*(?:\'|$)',
    re.MULTILINE,
)


def kind_fault(path: Path) -> str | None:
    """Says why a path is no regular file, as a predicate; None where it is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    return f"is {next((name for test, name in _KINDS if test(mode)), 'something else')}, and no file"


def read_bytes(path: Path, most: int) -> bytes:
    """Reads a regular file of at most ``most`` bytes; nothing waits for a pipe.

    Raises:
        OSError: It is missing, cannot be read, is no regular file, or is larger; ``strerror`` says which.
    """
    # Opened first and looked at then, so that nothing is put in its place between.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, kind_fault(path) or "is no regular file", str(path))
        with os.fdopen(handle, "rb", closefd=False) as stream:
            content = stream.read(min(found.st_size, most) + 1)
    finally:
        os.close(handle)
    if len(content) > most:
        raise OSError(errno.EINVAL, f"is larger than the {most:,} bytes that such a file may have", str(path))
    return content


def read_toml(path: Path, most: int = TOML_BYTES) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        OSError: As in ``read_bytes``.
        ValueError: It is not TOML, or holds more values or deeper keys than any entry has.
    """
    text = read_bytes(path, most).decode()
    # Texts and comments can only hold more of these, and a key ends with its line: most files need no closer look.
    dots = max(line.count(".") for line in text.split("\n"))
    if dots > _TOML_DEPTH or text.count(",") + text.count("=") > _TOML_VALUES:
        bare = _TEXTS.sub("s", text)
        # The parser's memory grows with the square of a key's parts.
        parts = max((piece.count(".") for piece in re.split(r"[^\w.\-\t ]", bare)), default=0)
        if parts > _TOML_DEPTH:
            raise ValueError(f"nested too deeply: a key of {parts + 1} parts")
        if (values := bare.count(",") + bare.count("=")) > _TOML_VALUES:
            raise ValueError(f"{values:,} values, where {_TOML_VALUES:,} are the most")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path, most: int = JSON_BYTES) -> bytes:
    """Reads the text of a JSON file, unparsed.

    Raises:
        OSError: As in ``read_bytes``.
        ValueError: It holds more values than any result has.
    """
    content = read_bytes(path, most)
    if (values := content.count(b",")) > JSON_VALUES:
        raise ValueError(f"{values:,} values, where {JSON_VALUES:,} are the most")
    return content
