"""Extraction and evaluation on Ray: the local engine's bytes, whatever happens to workers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probebench.backbones.builders import build_backbone
from probebench.cache.store import FeatureFile, stored_files
from probebench.datasets.base import ArrayImages, Dataset, Split
from probebench.datasets.open import open_dataset
from probebench.engine import Ray
from probebench.errors import DatasetError
from probebench.extraction import ExtractionOptions, extract, shards
from probebench.registry import Registry
from tests.conftest import Ran, make_entry, make_images, write_entry
from tests.extraction.killing import Killing
from tests.extraction.test_extract import StopAfter, broken_images

OPTIONS = ExtractionOptions(device="cpu", dtype="fp32", batch_size=5, workers=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    with Ray() as engine:
        yield engine


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 8)


def test_the_files_have_the_local_engines_bytes(tmp_path: Path, home: Path, shipped: Registry, cluster: Ray) -> None:
    backbone = build_backbone(make_entry(tmp_path), home)
    dataset = open_dataset(f"folder:{make_images(tmp_path / 'images')}", shipped, home / "datasets")
    local = extract(backbone, dataset, tmp_path / "local", OPTIONS)
    progress = StopAfter(-1)
    parts = extract(backbone, dataset, home, OPTIONS, progress, cluster)
    assert [part.path.read_bytes() for part in parts] == [part.path.read_bytes() for part in local]
    assert progress.started == [(18, 0), (6, 0)] and parts[0].seconds["forward"] > 0


def test_a_killed_worker_costs_its_shard_only(tmp_path: Path, home: Path, cluster: Ray) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 12, 12), np.uint8)
    labels = np.arange(60) % 2

    def dataset(kind: Callable[[Any], ArrayImages]) -> Dataset:
        ids = {part: tuple(f"{part}-{number}" for number in range(60)) for part in ("train", "test")}
        splits = {part: Split(ids[part], labels, kind(pixels)) for part in ids}
        return Dataset("made", ("a", "b"), splits)

    backbone = build_backbone(make_entry(tmp_path), home)
    mark = tmp_path / "mark"
    local = extract(backbone, dataset(ArrayImages), tmp_path / "local", OPTIONS)
    parts = extract(backbone, dataset(lambda array: Killing(array, mark)), home, OPTIONS, None, cluster)
    assert mark.exists(), "a worker was killed"
    assert [part.path.read_bytes() for part in parts] == [part.path.read_bytes() for part in local]


def test_damaged_images_stop_or_are_skipped_as_they_are_here(
    tmp_path: Path, home: Path, shipped: Registry, cluster: Ray
) -> None:
    folder = broken_images(tmp_path / "d")
    (tmp_path / "d" / "train" / "class0" / "002.png").unlink()
    dataset = open_dataset(folder, shipped, home / "datasets")
    backbone = build_backbone(make_entry(tmp_path), home)
    with pytest.raises(DatasetError, match=r"^image .*class2/005.png cannot be read"):
        extract(backbone, dataset, home, OPTIONS, None, cluster)
    parts = extract(backbone, dataset, home, replace(OPTIONS, on_error="skip"), None, cluster)
    assert [part.skipped for part in parts] == [1, 1]
    with FeatureFile(parts[0].path) as file:
        assert file.skipped.ids == ("train/class2/005.png",) and file.rows == 16


def test_eval_spreads_cells_and_gives_the_same_results(
    run: Callable[..., Ran], tmp_path: Path, home: Path, cluster: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    for part, each, seed in (("train", 12, 0), ("test", 10, 1)):
        make_images(tmp_path / "images" / part, each=each, seed=seed)
    done = run("extract", "--model", "tiny", "--dataset", f"folder:{tmp_path / 'images'}", "--engine", "ray")
    assert done.code == 0 and "66 images in" in done.out, done.err
    assert len(stored_files(home)) == 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for engine in ("local", "ray"):
        done = run("eval", "--shots", "1,5,full", "--draws", "2", "--engine", engine, "--out", engine)
        assert done.code == 0, done.err
    torch.set_num_threads(threads)
    names = sorted(path.relative_to("local") for path in Path("local").rglob("*.npz"))
    assert len(names) == 3
    for name in names:
        with np.load("local" / name) as here, np.load("ray" / name) as there:
            assert all(np.array_equal(here[array], there[array]) for array in here.files)
