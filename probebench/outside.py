"""Opens what comes from outside, regular files only and never more than was said, and says what is wrong with it.

Limits come before work.
"""

import errno
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound="BaseModel")

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

# Parts of a fault's place that name a choice of types, and no key of the file.
_CHOICE = re.compile(r"(constrained|function)-|(bool|int|float|str|tuple|list|dict|literal)(\[|$)")
_WORDS = re.compile(r"literal\[(.*)\]")


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
        ValueError: It is not TOML, or holds more values, deeper keys or larger integers than any entry has.
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
        if (count := bare.count(",") + bare.count("=")) > _TOML_VALUES:
            raise ValueError(f"{count:,} values, where {_TOML_VALUES:,} are the most")
    try:
        values = tomllib.loads(text)
        _check_values(values)
        return values
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check_values(value: object, *keys: str) -> None:
    """Refuses what TOML's own limits leave out, and nesting that no entry has."""
    if len(keys) > 4 * _TOML_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError(f"{'.'.join(keys)}: an integer of more than 64 bits")
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        _check_values(one, *keys, str(key))


def strictly(kind: type[Model], values: Mapping[str, Any]) -> Model:
    """Makes a model of what a TOML file holds, with no value for one of another type.

    By way of JSON, whose strict reading takes lists for tuples, and "no", 1.0 and "3" for nothing but what they are. A
    date or a time becomes a list, which no text is.

    Raises:
        pydantic.ValidationError: The values do not follow the model.
    """
    return kind.model_validate_json(json.dumps(values, default=lambda value: [str(value)]), strict=True)


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


def explain(error: "ValidationError", *, whole: str = "entry", facts: bool = False, most: int = 10) -> str:
    """Says every fault as ``key: fault``, separated by semicolons.

    Args:
        error: What pydantic raised.
        whole: What a fault of no single key is said of.
        facts: Whether the file's keys are facts, of which "unknown" is one.
        most: Faults that are told; of others, how many there are.
    """
    faults: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    # The input, which may be large, would be copied into each.
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        place = [str(part) for part in fault["loc"]]
        key = ".".join(part for number, part in enumerate(place) if not number or not _CHOICE.match(part)) or whole
        missing = 'missing (write "unknown" where nobody knows)' if facts else "missing"
        message = {"missing": missing, "extra_forbidden": "unknown key"}.get(
            fault["type"], fault["msg"].removeprefix("Value error, ")
        )
        # Of a choice such as number or "unknown", pydantic tells what is wrong with each: one is enough.
        if place and (word := _WORDS.fullmatch(place[-1])):
            words[key] = word[1].replace("'", '"')
            faults.setdefault(key, [])
        elif message not in (own := faults.setdefault(key, [])):
            own.append(message)
    told = []
    for key, messages in faults.items():
        ending = f" (or {words[key]})" if key in words else ""
        told += [f"{key}: {message}{ending}" for message in messages or ["none of its words"]]
    text = "; ".join(told[:most]) + (f"; and {len(told) - most} more" if told[most:] else "")
    # Keys and values of a stranger's file may hold what redraws a terminal.
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
