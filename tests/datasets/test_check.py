from pathlib import Path

import numpy as np
import pytest

from probebench.datasets import check
from probebench.datasets.base import FileImages, Split
from probebench.datasets.check import check_images
from probebench.errors import DatasetError
from tests.datasets.replicas import pictures


def split(folder: Path, count: int) -> Split:
    names = pictures(folder, [f"{number}.jpg" for number in range(count)])
    return Split(tuple(names), np.zeros(count, np.int64), FileImages.below(folder, names, names))


def test_whole_images_pass(tmp_path: Path) -> None:
    check_images({"train": split(tmp_path / "a", 3), "test": split(tmp_path / "b", 2)}.values())


def test_the_first_that_cannot_be_read_is_named_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_TOGETHER", 2)
    splits = [split(tmp_path / "a", 5), split(tmp_path / "b", 3)]
    (tmp_path / "b" / "0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"b/0.jpg cannot be read \(.*\); repair or remove it$"):
        check_images(splits)
    (tmp_path / "a" / "3.jpg").write_bytes(b"")
    (tmp_path / "a" / "4.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"a/3.jpg cannot be read .*; 2 more cannot be read \(or leave them out\)$"):
        check_images(splits, "or leave them out")
