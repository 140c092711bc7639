"""A submission's files by their content: whatever reads them elsewhere may not go by their names."""

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probebench.leaderboard.findings import Findings
from probebench.leaderboard.safe import sound_files


class _Call:
    """Pickles as a call of os.mkdir."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("ran",)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Call()))
    return buffer.getvalue()


_PICKLE = {protocol: pickle.dumps(_Call(), protocol=protocol) for protocol in (0, 2, 5)}
DISGUISED: dict[str, bytes] = {
    "README.md of a pickle": _PICKLE[2],
    "README.md of a new pickle": _PICKLE[5],
    "README.md of an old pickle, which is text": _PICKLE[0],
    "README.md of an old pickle with words behind it": _PICKLE[0] + b"\n# About\nMy model.\n",
    "README.md of an instance": b"(S'touch ran'\nios\nsystem\n.",
    "README.md of a legacy torch file": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2),
    "README.md of a zip": _zip(),
    "README.md of an HDF5 file": b"\x89HDF\r\n\x1a\n\x00\x00",
    "README.md of a program": b"\x7fELF\x02\x01\x01\x00",
    "README.md of a Windows program": b"MZ\x90\x00\x03\x00",
    "README.md of a gzip": gzip.compress(b"# About"),
    "README.md of safetensors": (2).to_bytes(8, "little") + b"{}",
    "README.md of NumPy's": b"\x93NUMPY\x01\x00",
    "README.md of a PNG": b"\x89PNG\r\n\x1a\n",
    "README.md of another encoding": "# \xc4rger".encode("utf-16"),
    "README.md of latin-1": "# \xc4rger".encode("latin-1"),
    "README.md that redraws a terminal": b"# \x1b[2J",
    "README.md with a null": b"# About\x00",
    "mine.toml of a pickle": _PICKLE[2],
    "mine.toml of an old pickle": _PICKLE[0],
    "manifest.json of a zip": _zip(),
    "digits.json of HDF5": b"\x89HDF\r\n\x1a\n",
    "digits.npz of a pickle": _PICKLE[2],
    "digits.npz of a program before a zip": b"\x7fELF" + _zip(),
    "digits.npz of HDF5": b"\x89HDF\r\n\x1a\n",
    "digits.npz of an empty zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("name", DISGUISED)
def test_a_content_that_the_name_does_not_promise_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.split(" ", 1)[0]
    path.write_bytes(DISGUISED[name])
    findings = Findings(tmp_path)
    assert sound_files(tmp_path, findings) == []
    (failure,) = findings.failures
    assert failure.file == path.name and "by its content" in failure.what


@pytest.mark.parametrize(
    "text",
    [
        *("", "# My checkpoint\n\nTrained on *two* sets.\r\n\tSee c:\n", "N.", "cosine\nsimilarity\nis what it is.\n"),
        *("\u00c4rger, \u4e2d\u6587, \U0001f600 and \u2028 are letters too", "(a) one\n(b) two\n."),
    ],
)
def test_what_people_write_is_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    findings = Findings(tmp_path)
    assert sound_files(tmp_path, findings) == [tmp_path / "README.md"] and not findings.failures
