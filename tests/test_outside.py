"""Limits before work: kinds and sizes of files, and what a parser would choke on."""

import os
import socket
import tomllib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.errors import RegistryError, ResultError, UsageError
from probebench.leaderboard.check_submission import read_manifest
from probebench.outside import kind_fault, read_bytes, read_json, read_toml
from probebench.registry import CheckpointSpec
from probebench.registry.load import read_entry, shipped_registry
from probebench.results.mapping import read_map
from probebench.results.store import read_result


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "is a pipe, and no file"),
    "a folder": (Path.mkdir, "is a folder, and no file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, and no file"),
    "a link to a folder": (lambda path: path.symlink_to(path.parent), "is a folder, and no file"),
    "a link to nothing": (lambda path: path.symlink_to(path.parent / "nowhere"), "No such file or directory"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_regular_file_is_told_at_once_by_every_reader(name: str, tmp_path: Path) -> None:
    make, said = KINDS[name]
    path = tmp_path / "mine.toml"
    make(path)
    with pytest.raises(OSError, match=said):
        read_bytes(path, 10)
    with pytest.raises(RegistryError, match=f"mine.toml: cannot be read: {said}"):
        read_entry(path, CheckpointSpec)
    with pytest.raises(ResultError, match=f"cannot be read .{said}"):
        read_result(path)
    with pytest.raises(ResultError, match=f"cannot be read .{said}|is missing: make submissions"):
        read_manifest(path)


def test_a_socket_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    _socket(tmp_path / "s")
    assert kind_fault(tmp_path / "s") == "is a socket, and no file"
    assert kind_fault(tmp_path / "nowhere") == "does not exist"
    (tmp_path / "file").touch()
    assert kind_fault(tmp_path / "file") is None


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="is larger than the 4 bytes that such a file may have"):
        read_bytes(tmp_path / "file", 4)
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RegistryError, match="huge: cannot be read: is larger than the 1,048,576 bytes"):
        read_entry(tmp_path / "huge", CheckpointSpec)


DOTS = "a" + ".a" * 30_000
BOMBS: dict[str, tuple[str, str]] = {
    "one key of 30,000 dots": (f"{DOTS} = 1", "a key of 30001 parts"),
    "dots in a heading": (f"[{DOTS}]", "a key of 30001 parts"),
    "dots in a list of tables": (f"[[{DOTS}]]", "a key of 30001 parts"),
    "dots in an inline table": (f"x = {{ {DOTS} = 1 }}", "a key of 30001 parts"),
    "dots with spaces": ("a" + " .\ta" * 30_000 + " = 1", "a key of 30001 parts"),
    "dots between quotes": ("'a'" + '."a"' * 30_000 + " = 1", "a key of 30001 parts"),
    "dots between empty quotes": ('""' + '.""' * 30_000 + " = 1", "a key of 30001 parts"),
    "dots behind a long text": (f'x = {{ y = """a"""", {DOTS} = 1 }}', "a key of 30001 parts"),
    "dots behind a quoted comment": (f'x = "#"\n{DOTS} = 1', "a key of 30001 parts"),
    "dots behind a comment of quotes": (f'# """\n{DOTS} = 1\n# """', "a key of 30001 parts"),
    "dots behind an escaped quote": (f'x = {{ y = "\\"", {DOTS} = "1" }}', "a key of 30001 parts"),
    "many lists in one another": ("a = " + "[" * 30_000, "nested too deeply"),
    "many tables in one another": ("a = " + "{ a = " * 20_000, "nested too deeply|20,001 values"),
    "many values": ("a = [" + "0," * 30_000 + "]", "30,001 values, where 20,000 are the most"),
    "many keys": ("".join(f"a{one} = 1\n" for one in range(30_000)), "30,000 values"),
    "a number of many digits": ("a = " + "9" * 30_000, "[Ee]xceeds the limit"),
    "no text": ("\ud800", "utf-8|surrogates"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_toml_is_one_line_and_takes_little(name: str, tmp_path: Path) -> None:
    text, said = BOMBS[name]
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    tracemalloc.start()
    try:
        with pytest.raises(RegistryError, match=f"mine.toml: not TOML: .*({said})") as caught:
            read_entry(path, CheckpointSpec)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    with pytest.raises(UsageError, match="is not TOML"):
        read_map(str(path))


def test_whatever_the_shipped_registry_says_is_read_as_before() -> None:
    for path in (*sorted(shipped_registry().glob("*/*.toml"))[::9], shipped_registry() / "architectures.toml"):
        assert read_toml(path) == tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        'a = "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19"',
        "a = '" + "." * 100 + "' # " + "." * 100,
        'a = """\n' + "x.y" * 100 + '\n"""\nb.c.d = """ "" """"',
        "a = [" + "0.1, " * 200 + "]",
        "\n".join(f"a{one} = {one}.5" for one in range(100)),
    ],
)
def test_dots_that_nest_nothing_are_no_bomb(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert read_toml(tmp_path / "a.toml") == tomllib.loads(text)


@pytest.mark.parametrize("text", ["[" + "0," * 200_000 + "0]", '{"trials": [' + "{}," * 200_000 + "{}]}"])
def test_a_bomb_of_json_is_one_line_and_takes_little(text: str, tmp_path: Path) -> None:
    """Of each value that is wrong, what parses it would keep an error."""
    path = tmp_path / "mine.json"
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="200,000 values, where 100,000 are the most"):
            read_json(path)
        with pytest.raises(ResultError, match="200,000 values"):
            read_result(path)
        with pytest.raises(ResultError, match="200,000 values"):
            read_manifest(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_of_nothing_but_faults_is_a_short_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"unknown{one} = 1\n" for one in range(5000)))
    with pytest.raises(RegistryError, match=r"and \d+ more$") as caught:
        read_entry(path, CheckpointSpec)
    assert len(str(caught.value)) < 2000
