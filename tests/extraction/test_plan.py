from dataclasses import replace
from pathlib import Path

import pytest

from probebench.backbones.builders import build_backbone
from probebench.cache.store import stored_files
from probebench.datasets.open import open_dataset
from probebench.errors import DatasetError
from probebench.extraction import ExtractionOptions, extract, plan
from probebench.registry import Registry
from tests.conftest import make_entry, make_images
from tests.extraction.test_extract import Stop, StopAfter

OPTIONS = ExtractionOptions(device="cpu", dtype="fp32", batch_size=5, workers=0)


def test_a_plan_says_what_is_left_and_writes_nothing(tmp_path: Path, home: Path, shipped: Registry) -> None:
    backbone = build_backbone(make_entry(tmp_path), home)
    dataset = open_dataset(f"folder:{make_images(tmp_path / 'images')}", shipped, home / "datasets")
    before = plan(backbone, dataset, home, OPTIONS)
    assert before.images == before.left == {"train": 18, "test": 6}
    assert before.seconds > 0 and stored_files(home, partial=True) == []
    with pytest.raises(Stop):
        extract(backbone, dataset, home, OPTIONS, StopAfter(1))
    (partial,) = stored_files(home, partial=True)
    between = plan(backbone, dataset, home, OPTIONS)
    assert 0 < between.left["train"] < 18 and between.left["test"] == 6
    assert between.bytes < before.bytes and partial.exists()
    parts = extract(backbone, dataset, home, OPTIONS)
    after = plan(backbone, dataset, home, OPTIONS)
    assert after.left == {"train": 0, "test": 0} and after.bytes == 0 and after.seconds == 0
    written = sum(part.path.stat().st_size for part in parts)
    assert written <= before.bytes <= written + 2 * 40_000


def test_a_plan_finds_damaged_files(tmp_path: Path, home: Path, shipped: Registry) -> None:
    backbone = build_backbone(make_entry(tmp_path), home)
    folder = make_images(tmp_path / "images")
    (folder / "class1" / "003.png").write_bytes(b"\x89PNG")
    dataset = open_dataset(f"folder:{folder}", shipped, home / "datasets")
    with pytest.raises(DatasetError, match="class1/003.png cannot be read"):
        plan(backbone, dataset, home, OPTIONS)


def test_half_precision_takes_half_the_room(tmp_path: Path, home: Path, shipped: Registry) -> None:
    backbone = build_backbone(make_entry(tmp_path), home)
    dataset = open_dataset("digits", shipped, home / "datasets")
    options = replace(OPTIONS, batch_size=64)
    one, half = (plan(backbone, dataset, home, replace(options, dtype=dtype)).bytes for dtype in ("fp32", "bf16"))
    assert one - half == 1797 * 96 * 2
