from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probebench.datasets.base import FileImages, dataset_fingerprint, decode, digests_fingerprint
from probebench.errors import DatasetError
from probebench.fingerprint import fingerprint


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1500])
def test_fingerprints_in_pieces_are_those_of_the_whole(count: int) -> None:
    ids = tuple(f'é "{number}" \\' for number in range(count))
    labels = np.arange(count) % 7
    splits = {"train": (ids, labels), "test": (ids[:3], labels[:3]), "à": ((), labels[:0])}
    whole = {name: {"ids": list(names), "labels": numbers.tolist()} for name, (names, numbers) in splits.items()}
    assert dataset_fingerprint(splits) == fingerprint(whole)
    digests = [fingerprint(number) for number in range(count)]
    assert digests_fingerprint(np.array(digests, dtype="S64")) == fingerprint(digests)


def test_a_fingerprint_of_no_splits() -> None:
    assert dataset_fingerprint({}) == fingerprint({})


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    for name in ("Popen", "check_call", "run"):
        monkeypatch.setattr(subprocess, name, started)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.eps").read_bytes())
    with pytest.raises(DatasetError, match="a.jpg cannot be read .not an image"):
        decode(tmp_path / "a.jpg", "a.jpg")


@pytest.mark.parametrize("name", ["big.png", "big.bmp"])
def test_a_large_image_says_how_it_is_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses twice its constant; --max-pixels sets the limit of every process."""
    Image.new("L", (300, 200)).save(tmp_path / name)
    images = FileImages.below(tmp_path, [name], ["x"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    with pytest.raises(DatasetError, match=r"has 60,000 pixels, and files of more than .* say --max-pixels 60000"):
        images.load(0)
    monkeypatch.setenv("PROBEBENCH_MAX_PIXELS", "59999")
    with pytest.raises(DatasetError, match=r"files of more than 59,999 are taken for"):
        images.load(0)
    monkeypatch.setenv("PROBEBENCH_MAX_PIXELS", "60000")
    assert images.load(0).size == (300, 200)
