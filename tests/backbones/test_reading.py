"""The corpus of hostile weights files: each is refused in one line, and nothing in it runs."""

import collections
import functools
import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from probebench.backbones import reading
from probebench.backbones.adapters import read_state_dict
from probebench.backbones.locate import require_file
from probebench.backbones.weights import load_into
from probebench.errors import WeightsError

NETWORK = torch.nn.Linear(3, 2)
STATE = NETWORK.state_dict()
# Where a payload that ran would leave its mark; the tests look for it.
MARK = "ran"


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def raw(*instructions: bytes) -> bytes:
    """A pickle written by hand: protocol 2, the instructions, stop."""
    return b"\x80\x02" + b"".join(instructions) + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def torch_zip(payload: bytes, members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive that torch.save writes, around any pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return stream.getvalue()


def saved(content: object, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    """The persistent id of a storage that is said to hold so many numbers."""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"


def number(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tensor(count: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    sizes = b"(" + b"".join(map(number, shape)) + b"t"
    steps = b"(" + b"".join(map(number, stride)) + b"t"
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", storage("0", count), number(offset), sizes, steps, b"\x89", hooks)


def state_of(value: bytes) -> bytes:
    return raw(b"}", text("weight"), value, b"s")


def safetensors(header: object, content: bytes = b"", length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + content


def float32(shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def marks(folder: Path) -> dict[str, bytes]:
    """Pickles that leave a mark when they are read as pickle reads them."""
    mark = str(folder / MARK)
    shell = f"touch {mark}"
    return {
        "os.system": saved({"state_dict": STATE, "args": Call(os.system, shell)}),
        "os.system, legacy": saved({"state_dict": STATE, "args": Call(os.system, shell)}, legacy=True),
        "os.system, bare pickle": pickle.dumps({"state_dict": Call(os.system, shell)}),
        "posix by hand": torch_zip(raw(call("posix", "system", text(shell)))),
        "nt by hand": torch_zip(raw(call("nt", "system", text(shell)))),
        "os.mkdir": saved({"state_dict": STATE, "epoch": Call(os.mkdir, mark)}),
        "subprocess": torch_zip(raw(call("subprocess", "check_output", b"(" + text("touch") + text(mark) + b"l"))),
        "builtins.eval": torch_zip(raw(call("builtins", "eval", text(f"open({mark!r}, 'w')")))),
        "builtins.exec": torch_zip(raw(call("builtins", "exec", text(f"open({mark!r}, 'w')")))),
        "__builtin__.eval": torch_zip(raw(call("__builtin__", "eval", text(f"open({mark!r}, 'w')")))),
        "builtins.getattr": torch_zip(raw(call("builtins", "getattr", b"cos\npath\n", text("join")))),
        "builtins.__import__": torch_zip(raw(call("builtins", "__import__", text("antigravity")))),
        "open": torch_zip(raw(call("io", "open", text(mark), text("w")))),
        "pathlib.Path.touch": torch_zip(raw(call("pathlib", "Path.touch", text(mark)))),
        "importlib": torch_zip(raw(call("importlib", "import_module", text("this")))),
        "runpy": torch_zip(raw(call("runpy", "run_path", text(mark)))),
        "code object": torch_zip(raw(call("types", "CodeType", b"K\x00" * 6))),
        "torch.load": torch_zip(raw(call("torch", "load", text(mark)))),
        "torch.hub.load": torch_zip(raw(call("torch.hub", "load", text("a/b"), text("c")))),
        "torch.storage": torch_zip(raw(call("torch.storage", "_load_from_bytes", b"B\x01\x00\x00\x00x"))),
        "numpy.load": torch_zip(raw(call("numpy", "load", text(mark)))),
        "numpy.memmap": torch_zip(raw(call("numpy", "memmap", text(mark), text("f"), text("w+")))),
        "functools.partial": torch_zip(raw(call("functools", "partial", b"cos\nsystem\n", text(shell)))),
        "operator.attrgetter": torch_zip(raw(call("operator", "attrgetter", text("system")))),
        "class of ours": torch_zip(raw(call("probebench.backbones.download", "fetch", text("x"), text(mark)))),
        "extension registry": torch_zip(raw(b"\x82\x01")),
        "persistent id": pickle.dumps({"a": 1})[:-1] + b"Q.",
        "build on an allowed class": torch_zip(
            raw(b"cargparse\nNamespace\n", b"}", text("x"), b"cos\nsystem\n", b"sb")
        ),
        "legacy tar": _tar(mark),
    }


def _tar(mark: str) -> bytes:
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "../../" + MARK):
            content = pickle.dumps(Call(os.mkdir, mark))
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@functools.cache
def bombs() -> dict[str, bytes]:
    """Files that declare far more than they hold."""
    zeros = bytes(1 << 20)
    many = {f"archive/data/{number}": zeros for number in range(4)}
    shared = torch.zeros(1 << 16)
    overlapping = bytearray(saved(STATE))
    record = overlapping.rfind(b"PK\x01\x02")
    overlapping[record + 20 : record + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    return {
        "zip bomb": torch_zip(state_of(tensor(4, (4,), (1,))), many, zipfile.ZIP_DEFLATED),
        "lzma bomb": torch_zip(state_of(tensor(4, (4,), (1,))), many, zipfile.ZIP_LZMA),
        "overlapping members": bytes(overlapping),
        "huge tensor": torch_zip(state_of(tensor(1 << 50, (1 << 50,), (1,))), {"archive/data/0": bytes(16)}),
        "huge stride": torch_zip(state_of(tensor(4, (2, 2), (1 << 40, 1))), {"archive/data/0": bytes(16)}),
        "stride of nought": torch_zip(state_of(tensor(4, (1 << 40,), (0,))), {"archive/data/0": bytes(16)}),
        "negative size": torch_zip(state_of(tensor(4, (-4,), (1,))), {"archive/data/0": bytes(16)}),
        "beyond its storage": torch_zip(state_of(tensor(4, (4,), (1,), 1 << 20)), {"archive/data/0": bytes(16)}),
        "one storage a thousand times": saved({f"w{number}": shared.view(256, 256) for number in range(1000)}),
        "legacy, huge storage": re.sub(
            rb"(cpuq.)K\x06", lambda found: found[1] + b"J\xff\xff\xff\x7f", saved(STATE, legacy=True)
        ),
        "safetensors, huge header": safetensors({}, length=1 << 40),
        "safetensors, header beyond the file": safetensors({"w": float32([1], 0, 4)}, length=1 << 20),
        "safetensors, huge tensor": safetensors({"w": float32([1 << 40], 0, 1 << 42)}),
        "safetensors, overflowing shape": safetensors({"w": float32([1 << 62, 1 << 62], 0, 4)}, bytes(4)),
        "safetensors, overlapping": safetensors({"a": float32([2], 0, 8), "b": float32([2], 4, 12)}, bytes(12)),
        "safetensors, hole": safetensors({"a": float32([1], 0, 4), "b": float32([1], 8, 12)}, bytes(12)),
        "safetensors, negative": safetensors({"a": float32([1], -4, 0)}),
        "safetensors, more data than said": safetensors({"a": float32([1], 0, 4)}, bytes(64)),
        "safetensors, twice the same name": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'),
        "safetensors, deep": safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    }


@functools.cache
def damaged() -> dict[str, bytes]:
    """Truncated, foreign, or in another container."""
    whole = saved(STATE)
    old = saved(STATE, legacy=True)
    safe = save(STATE)
    return {
        "empty": b"",
        "one byte": b"\x80",
        "half a zip": whole[: len(whole) // 2],
        "zip less its end": whole[:-10],
        "legacy cut in the data": old[:-4],
        "legacy cut in the pickle": old[:60],
        "safetensors cut": safe[:-1],
        "html page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 102540417\n",
        "gzip": b"\x1f\x8b\x08" + bytes(40),
        "npz": _npz(),
        "zip of text": torch_zip(b"hello"),
        "torchscript": torch_zip(raw(b"}"), {"archive/constants.pkl": b"", "archive/code/__torch__.py": b"exit()"}),
    }


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, weight=np.zeros((2000, 3)))
    return stream.getvalue()


@functools.cache
def odd_tensors() -> dict[str, bytes]:
    """Read without harm, and not the weights of this network."""
    return {
        "sparse": saved({**STATE, "weight": torch.eye(2, 3).to_sparse()}),
        "quantised": saved({**STATE, "weight": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint8)}),
        "on no device": saved({**STATE, "weight": torch.ones(2, 3, device="meta")}),
        "whole numbers": saved({**STATE, "weight": torch.ones(2, 3, dtype=torch.int64)}),
        "8-bit": saved({**STATE, "weight": torch.ones(2, 3).to(torch.float8_e4m3fn)}),
        "complex": saved({**STATE, "weight": torch.ones(2, 3, dtype=torch.complex64)}),
        "boolean": saved({**STATE, "weight": torch.ones(2, 3, dtype=torch.bool)}),
        "NaN": saved({**STATE, "weight": torch.full((2, 3), torch.nan)}),
        "infinite": saved({**STATE, "weight": torch.full((2, 3), torch.inf)}),
        "infinite in float32": saved({**STATE, "weight": torch.full((2, 3), 1e300, dtype=torch.float64)}),
        "NaN, safetensors": save({**STATE, "bias": torch.tensor([0.0, torch.nan])}),
        "another shape": saved({**STATE, "weight": torch.ones(3, 2)}),
        "names that climb": saved({"../../../etc/passwd": STATE["weight"], "bias": STATE["bias"]}),
        "names that redraw the terminal": saved({"\x1b[2J\x1b]0;owned\x07\n": STATE["weight"], "bias": STATE["bias"]}),
        "a name of a million letters": saved({"w" * 1_000_000: STATE["weight"], "bias": STATE["bias"]}),
        "a list": saved([STATE["weight"]]),
        "nothing": saved({}),
        "nested in itself": saved(_knot()),
        "an allowed class in a tensor's place": saved({"weight": collections.defaultdict(list), "bias": np.ones(2)}),
    }


def _knot() -> dict[str, object]:
    knot: dict[str, object] = {}
    knot["model"] = knot
    return knot


@functools.cache
def climbing() -> dict[str, bytes]:
    """Archives whose members would land elsewhere if somebody unpacked them."""
    good = state_of(tensor(4, (4,), (1,)))
    names = ("archive/../../ran", "/tmp/ran", "..\\..\\ran", "C:\\ran", "archive/data/../../../ran")
    return {name: torch_zip(good, {"archive/data/0": bytes(16), name: b"x"}) for name in names}


CORPUS: dict[str, Callable[[Path], bytes]] = {
    **{name: lambda folder, name=name: marks(folder)[name] for name in marks(Path())},  # type: ignore[misc]
    **{name: lambda _, name=name: {**bombs(), **damaged(), **odd_tensors(), **climbing()}[name]  # type: ignore[misc]
       for name in (*bombs(), *damaged(), *odd_tensors(), *climbing())},
}  # fmt: skip


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", CORPUS)
def test_hostile_files_are_refused_in_one_line_without_running_anything(tmp_path: Path, name: str, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(CORPUS[name](tmp_path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(WeightsError) as caught:
        load_into(torch.nn.Linear(3, 2), read_state_dict(file), "a line", file)
    said = str(caught.value)
    assert str(file) in said and said.isprintable() and len(said) < 700
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("/tmp/ran").exists()


def test_payloads_do_run_where_nothing_stops_them(tmp_path: Path) -> None:
    """Otherwise the corpus would prove nothing."""
    for place, name in enumerate(("os.system, bare pickle", "posix by hand", "open", "builtins.eval")):
        mark = tmp_path / str(place)
        mark.mkdir()
        content = marks(mark)[name]
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read(next(one for one in archive.namelist() if one.endswith("data.pkl")))
        try:
            _Permissive(io.BytesIO(content)).load()
        except Exception as error:
            assert (mark / MARK).exists(), error
        assert (mark / MARK).exists(), name


class _Permissive(pickle.Unpickler):
    def persistent_load(self, pid: object) -> object:
        return None


def test_allowed_classes_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    def ran(*_: object, **__: object) -> None:
        raise AssertionError("a class of the file's ran")

    monkeypatch.setattr(argparse.Namespace, "__init__", ran)
    payload = raw(b"}", text("weight"), tensor(4, (4,), (1,)), b"s", text("args"), call("argparse", "Namespace"), b"s")
    (tmp_path / "w.pt").write_bytes(torch_zip(payload, {"archive/data/0": bytes(16)}))
    content = reading.read_checkpoint(tmp_path / "w.pt")
    assert isinstance(content["weight"], torch.Tensor) and type(content["args"]) is reading._Inert


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "device.pt").symlink_to("/dev/zero")
    for name, said in (
        ("folder.pt", "is a folder, and no file"),
        ("pipe.pt", "is a pipe, and no file"),
        ("device.pt", "is a device, and no file"),
        ("no.pt", "does not exist"),
    ):
        for reader in (read_state_dict, require_file):
            with pytest.raises(WeightsError, match=f"weights file .*{name} {said}"):
                reader(tmp_path / name)


# What a user is to do about it differs, so each is called what it is.
WORDS: dict[str, str] = {
    "torchscript": "is a TorchScript program, not a state dict",
    "torchscript, compressed": "is a TorchScript program, not a state dict",
    "a compressed archive": "is compressed, as torch.save never does",
    "html page": "is text, which begins with '<!DOCTYPE html><html><body>404 Not Foun…', and no weights; fetch",
    "git lfs pointer": "is text, which begins with 'version https://git-lfs.github.com/spec…', and no weights",
    "an error of a server": 'is text, which begins with \'{"error": "Repository not found"}\', and no weights',
    "a text of windows": "is text, which begins with '404', and no weights",
    "a table": "is text, which begins with 'epoch,loss', and no weights",
    "safetensors, header beyond the file": "declares a header of 1,048,576 bytes, which is longer than the file",
    "safetensors, a long header": "declares a header of 5,242,880 bytes, which is longer than any network's",
    "safetensors, many tensors": "declares a header of 2,160,001 bytes, which is longer than any network's",
}


@functools.cache
def worded() -> dict[str, bytes]:
    members = {"archive/constants.pkl": b"", "archive/code/__torch__.py": b"exit()" * 100}
    many = {f"{number:020d}": float32([0], 0, 0) for number in range(30_000)}
    return {
        "torchscript, compressed": torch_zip(raw(b"}"), members, zipfile.ZIP_DEFLATED),
        "a compressed archive": torch_zip(raw(b"}"), {"archive/data/0": bytes(1000)}, zipfile.ZIP_DEFLATED),
        "an error of a server": b'{"error": "Repository not found"}\n',
        "a text of windows": b"\r\n404\r\nNot found\r\n",
        "a table": b"epoch,loss\n1,0.5\n" * 100,
        "safetensors, a long header": safetensors(b"{" + b" " * (5 << 20), length=5 << 20),
        "safetensors, many tensors": safetensors(json.dumps(many, separators=(",", ":")).encode()),
    }


@pytest.mark.parametrize("name", WORDS)
def test_a_file_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes({**bombs(), **damaged(), **worded()}[name])
    with pytest.raises(WeightsError, match=re.escape(WORDS[name])):
        read_state_dict(file)


def test_good_files_of_each_container(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(saved(STATE))
    (tmp_path / "w.pth").write_bytes(saved(STATE, legacy=True))
    save_file(STATE, tmp_path / "w.safetensors")
    save_file(STATE, tmp_path / "w.bin")
    for file in tmp_path.iterdir():
        state = read_state_dict(file)
        assert all(torch.equal(state[name], value) for name, value in STATE.items()), file
