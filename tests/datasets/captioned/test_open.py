from pathlib import Path

import numpy as np
import pytest

from probebench.datasets.captioned.open import NotPreparedError, open_source
from probebench.datasets.captioned.table import TABLE
from probebench.errors import DatasetError, UsageError
from probebench.registry import Registry
from tests.datasets.captioned.making import captioned_folder, pattern


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return captioned_folder(tmp_path / "my photos", [pattern(seed) for seed in range(4)], ["b", "a", "b", "c"])


def test_a_folder_of_ones_own(folder: Path, shipped: Registry, root: Path) -> None:
    source = open_source(str(folder), shipped, root)
    assert source.ids == ("000.png", "001.png", "002.png", "003.png") and source.captions[2] == "picture 2"
    assert source.class_names == ("a", "b", "c") and source.labels is not None
    assert source.labels.tolist() == [1, 0, 1, 2]
    assert np.array_equal(np.asarray(source.images.load(3)), np.asarray(pattern(3)))
    assert source.id == f"folder:my_photos-{source.fingerprint[:8]}"
    assert open_source(f"folder:{folder}", shipped, root).id == source.id


@pytest.mark.parametrize("change", ["caption", "label", "image", "name"])
def test_the_fingerprint_covers_all_of_it(folder: Path, shipped: Registry, root: Path, change: str) -> None:
    before = open_source(str(folder), shipped, root).fingerprint
    assert open_source(str(folder), shipped, root).fingerprint == before
    table = (folder / TABLE).read_text()
    if change == "caption":
        table = table.replace("picture 1", "picture one")
    elif change == "label":
        table = table.replace("001.png,picture 1,a", "001.png,picture 1,b")
    elif change == "image":
        pattern(9).save(folder / "001.png")
    else:
        (folder / "001.png").rename(folder / "one.png")
        table = table.replace("001.png", "one.png")
    (folder / TABLE).write_text(table)
    assert open_source(str(folder), shipped, root).fingerprint != before


def test_without_labels(folder: Path, shipped: Registry, root: Path) -> None:
    lines = (folder / TABLE).read_text().splitlines()
    (folder / TABLE).write_text("".join(f"{line.rpartition(',')[0]}\n" for line in lines))
    source = open_source(str(folder), shipped, root)
    assert source.labels is None and source.class_names == ()


def test_what_does_not_exist_is_said(shipped: Registry, root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown source 'emoji_nato'; did you mean emoji_noto"):
        open_source("emoji_nato", shipped, root)
    with pytest.raises(UsageError, match="source folder .*nowhere does not exist"):
        open_source(f"folder:{tmp_path}/nowhere", shipped, root)
    with pytest.raises(NotPreparedError, match="source emoji_noto is not on this machine: run probebench sources prep"):
        open_source("emoji_noto", shipped, root)
    with pytest.raises(DatasetError, match=r"captions\.csv is missing"):
        open_source(str(tmp_path), shipped, root)
