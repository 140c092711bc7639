"""Shards for tests, written by webdataset, and a server of them on this machine."""

import io
import tarfile
import threading
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from PIL import Image

from probebench.datasets.base import Dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3


def sample(number: int, suffix: str = "png") -> dict[str, Any]:
    return {"__key__": f"{number:06d}", suffix: Image.fromarray(PIXELS[number]), "cls": int(LABELS[number])}


def write_shards(pattern: Path, numbers: Sequence[int], each: int = 10) -> None:
    pattern.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(str(pattern), maxcount=each, verbose=0) as writer:
        for number in numbers:
            writer.write(sample(number))


def write_files(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def png(number: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(buffer, "PNG")
    return buffer.getvalue()


def assert_same(opened: Dataset, expected: dict[str, Sequence[int]]) -> None:
    """Ids, labels and pixels are those of the arrays, split by split and in order."""
    assert {name: len(split) for name, split in opened.splits.items()} == {k: len(v) for k, v in expected.items()}
    for name, numbers in expected.items():
        split = opened.splits[name]
        assert [int(name.rsplit("/", 1)[-1]) for name in split.ids] == list(numbers)
        assert np.array_equal(split.labels, LABELS[list(numbers)])
        for position, number in enumerate(numbers):
            split.images.check(position)
            assert np.array_equal(np.asarray(split.images.load(position)), PIXELS[number])


class Host:
    """A server of files on this machine, which says what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder))
        )
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def tars(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".tar")]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def remote(host: Host) -> str:
    return f"train={host.url}/cars/train/{{000..002}}.tar;test={host.url}/cars/test/000.tar"


# Two samples with nothing wrong.
GOOD = {"0.png": png(0), "0.cls": b"0", "1.png": png(1), "1.cls": b"1"}
