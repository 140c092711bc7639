"""One pass over the images fills a file for each layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from probebench.arrays import Features
from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.cache.header import encode_settings
from probebench.cache.index import read_index
from probebench.cache.store import FeatureFile, stored_files
from probebench.cache.writer import FeatureWriter
from probebench.datasets.base import Dataset
from probebench.datasets.open import open_dataset
from probebench.extraction import ExtractionOptions, extract, plan
from probebench.extraction.forward import Forward
from probebench.extraction.many import extract_many, plan_many
from probebench.registry import Registry
from probebench.registry.layers import layers_from, packed
from tests.conftest import make_entry, make_images

OPTIONS = ExtractionOptions(device="cpu", dtype="fp32", batch_size=5, workers=0, compile="off")
LAYERS = ("pooled", "block:1", "block:4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def dataset(folder: Path, shipped: Registry) -> Dataset:
    return open_dataset(f"folder:{make_images(folder / 'images')}", shipped, folder / "datasets")


@pytest.fixture(scope="module")
def several(folder: Path) -> Backbone:
    return build_backbone(make_entry(folder), folder, layers=LAYERS)


@pytest.fixture(scope="module")
def whole(several: Backbone, dataset: Dataset, folder: Path) -> dict[Path, bytes]:
    """The files of a pass that nothing interrupts."""
    extract(several, dataset, folder / "whole", OPTIONS)
    return files(folder / "whole")


def files(home: Path) -> dict[Path, bytes]:
    return {path.relative_to(home): path.read_bytes() for path in stored_files(home)}


class Stopped(Exception):
    pass


class StopAfter:
    def __init__(self, batches: int) -> None:
        self.left = batches

    def start(self, what: str, total: int, done: int) -> None:
        pass

    def advance(self, count: int, limit: str | None = None) -> None:
        self.left -= 1
        if not self.left:
            raise Stopped

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        pass


@contextmanager
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The images of every batch that went through a network."""
    seen: list[int] = []
    begin = Forward.begin

    def counted(self: Forward, pixels: torch.Tensor) -> Callable[[], Features]:
        seen.append(len(pixels))
        return begin(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Forward, "begin", counted)
        yield seen


def features(home: Path) -> dict[tuple[str, str], bytes]:
    found: dict[tuple[str, str], bytes] = {}
    for path in stored_files(home):
        with FeatureFile(path) as file:
            found[file.key.layer, file.key.split] = file.read().tobytes()
    return found


def test_one_pass_gives_the_files_of_one_by_one(
    several: Backbone, dataset: Dataset, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passes(monkeypatch) as seen:
        done = extract(several, dataset, home, OPTIONS)
    assert seen == [5, 5, 5, 3, 5, 1], "18 and 6 images, once"
    assert [(one.layer, one.split) for one in done] == [(name, part) for name in LAYERS for part in ("train", "test")]
    assert all(one.computed == one.rows == {"train": 18, "test": 6}[one.split] for one in done)
    for name in LAYERS:
        extract(several.at([name]), dataset, tmp_path / "alone", OPTIONS)
    assert features(home) == features(tmp_path / "alone")
    for group in read_index(home).groups:
        with FeatureFile(group.paths["train"]) as file:
            assert file.width == several.layers[group.key.layer]
            assert file.settings["layers"] == "pooled,block:1+4"
    with FeatureFile(stored_files(tmp_path / "alone")[0]) as file:
        assert "layers" not in file.settings


@pytest.mark.parametrize("batches", [1, 3, 5])
@pytest.mark.parametrize("first", [LAYERS, ("block:1",), ("block:4", "pooled")])
def test_an_interrupted_pass_ends_with_the_same_bytes(
    several: Backbone, dataset: Dataset, home: Path, whole: dict[Path, bytes], batches: int, first: tuple[str, ...]
) -> None:
    with pytest.raises(Stopped):
        extract(several, dataset, home, OPTIONS, StopAfter(batches))
    # Not with the layers that it began with, and then with all.
    extract(several.at(first), dataset, home, replace(OPTIONS, batch_size=3))
    extract(several, dataset, home, OPTIONS)
    done = files(home)
    assert done.keys() == whole.keys() and len(done) == 6
    begun = [one for one in done if "train" in one.name or batches >= 4]
    assert all(done[one] == whole[one] for one in begun)
    assert not stored_files(home, partial=True)


def test_only_what_is_missing_is_computed(
    several: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(several.at(("block:1",)), dataset, home, OPTIONS)
    left = plan(several, dataset, home, OPTIONS)
    assert left.left == {"train": 18, "test": 6}
    with passes(monkeypatch) as seen:
        done = extract(several, dataset, home, OPTIONS)
        assert sum(seen) == 24
        assert [one.computed for one in done] == [18, 6, 0, 0, 18, 6]
        assert [one.computed for one in extract(several, dataset, home, OPTIONS)] == [0] * 6
        assert sum(seen) == 24
    assert plan(several, dataset, home, OPTIONS).bytes == 0


@pytest.mark.parametrize("at", [4, 5, 6])
def test_files_that_stopped_at_other_rows_go_on_from_the_earlier(
    several: Backbone,
    dataset: Dataset,
    home: Path,
    whole: dict[Path, bytes],
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    """A disk that fails between the writes of one block to two files, and works again for the next block."""
    append, calls = FeatureWriter.append, 0

    def failing(self: FeatureWriter, rows: np.ndarray, skipped: tuple[int, ...] = ()) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Stopped
        append(self, rows, skipped)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(FeatureWriter, "append", failing)
        extract(several, dataset, home, OPTIONS)
    with passes(monkeypatch) as seen:
        extract(several, dataset, home, OPTIONS)
    assert sum(seen) < 24
    assert files(home) == whole


def test_half_precision_and_images_left_out_are_those_of_every_layer(
    several: Backbone, dataset: Dataset, home: Path, tmp_path: Path, shipped: Registry
) -> None:
    folder = make_images(tmp_path / "damaged")
    (folder / "class1" / "003.png").write_bytes(b"no image")
    damaged = open_dataset(f"folder:{folder}", shipped, home / "datasets")
    options = replace(OPTIONS, dtype="bf16", on_error="skip")
    done = extract(several, damaged, home, options)
    assert sum(one.skipped for one in done) == len(LAYERS)
    for one in done:
        with FeatureFile(one.path) as file:
            assert str(file.read().dtype) == "float16" and file.rows == one.rows


def test_many_checkpoints_take_each_their_own_of_a_glob(dataset: Dataset, home: Path, tmp_path: Path) -> None:
    specs = [make_entry(tmp_path), make_entry(tmp_path, id="other", name="test_convnext", features=64)]
    done = list(extract_many(specs, [dataset], home, OPTIONS, layers=["pooled,block:*"]))
    assert all(not isinstance(one, tuple) for one in done)
    assert [len(one.layers) for one in done if not isinstance(one, tuple)] == [6, 5]
    planned = list(plan_many(specs, [dataset], home, OPTIONS, layers=["block:0:mean", "pooled"]))
    assert [list(one.layers) for one in planned] == [["pooled", "block:0:mean"]] * 2
    assert [one.plan.left for one in planned] == [{"train": 18, "test": 6}] * 2


def test_all_layers_of_a_deep_network_fit_into_what_a_file_records() -> None:
    """Forty blocks in three poolings, and only every other one of them."""
    names = list(layers_from({"pooled": 8, "cls": 8, "mean": 8, "cls+mean": 16, "last4": 32}, [8] * 48, True))
    settings: dict[str, str | int | bool] = {
        **{"device": "cuda", "batch_size": 256, "threads": 64, "channels_last": True, "compile": True},
        **{"folded": True, "torch": "2.15.0+cu130", "batch_sizes_before": "256 to row 1281024; "},
    }
    for chosen in (names, [name for name in names if not name.endswith(("1", "3", "5", "7", "9"))]):
        assert encode_settings({**settings, "layers": packed(chosen)})
