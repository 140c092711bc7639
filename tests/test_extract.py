import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.backbones.preprocess import build_transform
from probebench.cache.store import FeatureFile, stored_files
from probebench.cache.writer import FeatureWriter
from probebench.datasets.base import Dataset
from probebench.datasets.loaders import open_dataset
from probebench.errors import CacheError, DatasetError, FeatureError, UsageError
from probebench.extract import Options, extract, feature_key
from probebench.registry import Registry
from tests.conftest import make_entry, make_images

OPTIONS = Options("cpu", "fp32", 5, 0)


@pytest.fixture
def tiny(tmp_path: Path, home: Path) -> Backbone:
    return build_backbone(make_entry(tmp_path), home)


@pytest.fixture
def dataset(tmp_path: Path, home: Path, shipped: Registry) -> Dataset:
    return open_dataset(f"folder:{make_images(tmp_path / 'images')}", shipped, home / "datasets")


def reference(backbone: Backbone, dataset: Dataset, split: str) -> np.ndarray:
    transform, images = build_transform(backbone.input), dataset.splits[split].images
    with torch.inference_mode():
        rows = [backbone.module(transform(images.load(i))[None])[0] for i in range(len(dataset.splits[split]))]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("workers", [0, 2])
def test_features_are_the_backbones_in_the_data_sets_order(
    tiny: Backbone, dataset: Dataset, home: Path, workers: int
) -> None:
    done = extract(tiny, dataset, home, Options("cpu", "fp32", 5, workers))
    assert [(part.rows, part.computed) for part in done] == [(18, 18), (6, 6)]
    for part, (name, split) in zip(done, dataset.splits.items(), strict=True):
        with FeatureFile(part.path) as file:
            expected = reference(tiny, dataset, name)
            assert np.abs(file.read() - expected).max() <= 1e-5 * np.abs(expected).max()
            assert file.ids == split.ids and np.array_equal(file.labels, split.labels)


def test_a_second_call_finds_everything(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(tiny, dataset, home, OPTIONS)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in stored_files(home)}
    monkeypatch.setattr(tiny.module, "forward", lambda images: pytest.fail("computed again"))
    assert [part.computed for part in extract(tiny, dataset, home, OPTIONS)] == [0, 0]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in stored_files(home)} == before


class Stop(Exception):
    pass


class StopAfter:
    """Progress that interrupts after some batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.started: list[tuple[int, int]] = []

    def start(self, what: str, total: int, done: int) -> None:
        self.started.append((total, done))

    def advance(self, count: int) -> None:
        self.left -= 1
        if not self.left:
            raise Stop

    def finish(self) -> None:
        pass


@pytest.mark.parametrize("batches", [1, 3, 4, 5])
def test_an_interrupted_run_ends_with_the_same_bytes(
    tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path, batches: int
) -> None:
    whole = [part.path.read_bytes() for part in extract(tiny, dataset, tmp_path / "whole", OPTIONS)]
    with pytest.raises(Stop):
        extract(tiny, dataset, home, OPTIONS, StopAfter(batches))
    # A resumed run keeps the batches that it began with, whatever is asked for now.
    again = StopAfter(-1)
    sizes: list[int] = []
    hook = tiny.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    parts = extract(tiny, dataset, home, Options("cpu", "fp32", 3, 0), again)
    hook.remove()
    if batches != 4:
        assert sizes[0] == 5
    assert again.started[0] == ((18, min(5 * batches, 18)) if batches < 4 else (18, 18) if batches == 4 else (6, 5))
    if batches < 5:
        assert parts[0].path.read_bytes() == whole[0]
    else:
        assert parts[1].path.read_bytes() == whole[1]


KILLED = """
import os, signal, sys
from probebench.cache.writer import FeatureWriter
append, calls = FeatureWriter.append, 0
def counted(self, rows):
    global calls
    calls += 1
    if calls == int(os.environ["KILL_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, rows)
FeatureWriter.append = counted
from probebench.cli.main import main
main()
"""


def test_a_killed_command_resumes_to_the_same_bytes(home: Path, tmp_path: Path) -> None:
    images, registry = make_images(tmp_path / "images"), tmp_path / "own"
    make_entry(registry)
    arguments = [
        "extract",
        "--model",
        "tiny",
        "--dataset",
        f"folder:{images}",
        "--registry",
        registry,
        "--batch-size",
        "5",
    ]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]

    def call(where: Path, kill_at: int) -> int:
        environ = {**os.environ, "PROBEBENCH_HOME": str(where), "KILL_AT": str(kill_at)}
        return subprocess.run(command, env=environ, capture_output=True, cwd=tmp_path).returncode

    assert call(home, 3) == -signal.SIGKILL
    assert len(stored_files(home, partial=True)) == 1
    assert call(home, -1) == 0 and call(tmp_path / "whole", -1) == 0
    resumed, whole = stored_files(home), stored_files(tmp_path / "whole")
    assert [path.name for path in resumed] == [path.name for path in whole]
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_batches_of_any_size_give_the_same_features(
    tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path
) -> None:
    rows = []
    for number, size in enumerate((1, 5, 64)):
        part = extract(tiny, dataset, tmp_path / str(number), Options("cpu", "fp32", size, 0))[0]
        with FeatureFile(part.path) as file:
            rows.append(file.read())
    for other in rows[1:]:
        assert np.abs(other - rows[0]).max() <= 1e-5 * np.abs(rows[0]).max()


def test_a_split_smaller_than_a_batch_is_not_padded(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    sizes: list[int] = []
    hook = tiny.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    extract(tiny, dataset, home, Options("cpu", "fp32", 64, 0))
    hook.remove()
    assert sizes == [18, 6]


def test_half_precision_is_stored_as_float16_under_its_own_key(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    full = extract(tiny, dataset, home, OPTIONS)[0].path
    half = extract(tiny, dataset, home, Options("cpu", "bf16", 5, 0))[0].path
    assert full != half
    with FeatureFile(full) as one, FeatureFile(half) as other:
        assert other.read().dtype == np.float16
        assert np.abs(one.read() - other.read().astype(np.float32)).max() < 0.05 * np.abs(one.read()).max()


def test_input_size_is_part_of_the_key(tmp_path: Path, home: Path, dataset: Dataset) -> None:
    spec = make_entry(tmp_path)
    digests = {
        feature_key(build_backbone(spec, home, size), dataset, "train", "fp32").digest for size in (None, 32, 48)
    }
    assert len(digests) == 2


def test_an_unreadable_image_stops_and_keeps_what_is_done(
    tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry
) -> None:
    for part, seed in (("train", 0), ("test", 1)):
        make_images(tmp_path / "d" / part, each=4, seed=seed)
    bad = tmp_path / "d" / "train" / "class2" / "001.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:60])
    name = f"folder:{tmp_path / 'd'}"
    for workers in (0, 2):
        with pytest.raises(DatasetError, match=r"class2/001.png cannot be read"):
            extract(tiny, open_dataset(name, shipped, home / "datasets"), home, Options("cpu", "fp32", 4, workers))
    (partial,) = stored_files(home, partial=True)
    with h5py.File(partial, "r") as file:
        assert file.attrs["committed"] == 8 and not file.attrs["complete"]


def test_nan_features_are_refused_with_the_images_id(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    class Broken(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = torch.ones(len(images), 96)
            features[1] = torch.nan
            return features

    broken = Backbone(tiny.spec, tiny.input, Broken(), tiny.weights_digest)
    with pytest.raises(FeatureError, match="NaN or infinite features for image class0/"):
        extract(broken, dataset, home, OPTIONS)
    assert stored_files(home) == []


def test_overflow_in_half_precision_names_the_mend(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    class Large(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 96), 1e6)

    large = Backbone(tiny.spec, tiny.input, Large(), tiny.weights_digest)
    with pytest.raises(FeatureError, match="try --dtype fp32"):
        extract(large, dataset, home, Options("cpu", "bf16", 5, 0))


def test_a_damaged_complete_file_is_an_error_before_any_work(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    path = extract(tiny, dataset, home, OPTIONS)[0].path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CacheError, match="damaged or truncated"):
        extract(tiny, dataset, home, OPTIONS)


def test_a_full_disk_keeps_the_committed_rows(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FeatureWriter.append

    def full(self: FeatureWriter, rows: Any) -> None:
        if self.committed >= 10:
            raise OSError(28, "No space left on device")
        append(self, rows)

    monkeypatch.setattr(FeatureWriter, "append", full)
    with pytest.raises(OSError, match="No space left"):
        extract(tiny, dataset, home, OPTIONS)
    monkeypatch.undo()
    assert extract(tiny, dataset, home, OPTIONS)[0].computed == 8


def test_options_that_this_machine_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Options.resolve("auto", "auto", None, None).device == "cpu"
    assert Options.resolve("auto", "auto", None, None).dtype == "fp32"
    assert Options.resolve("cpu", "bf16", 7, 3) == Options("cpu", "bf16", 7, 3)
    with pytest.raises(UsageError, match="no CUDA device"):
        Options.resolve("cuda", "auto", None, None)


@pytest.mark.gpu
def test_gpu_features_agree_with_the_cpus(tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu = extract(tiny, dataset, home, OPTIONS)[0].path
    gpu = extract(tiny, dataset, tmp_path / "gpu", Options("cuda", "fp32", 5, 0))[0].path
    with FeatureFile(cpu) as one, FeatureFile(gpu) as other:
        assert np.abs(one.read() - other.read()).max() <= 1e-5 * np.abs(one.read()).max()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_every_kind_of_image_is_taken(tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry, mode: str) -> None:
    for part in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / "d" / part / label
            folder.mkdir(parents=True)
            array = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
            image = Image.fromarray(array)
            if mode == "I;16":
                image = Image.fromarray(array[..., 0].astype(np.uint16) * 256)
            else:
                image = image.convert(mode)
            image.save(folder / ("x.tif" if mode == "CMYK" else "x.png"))
    opened = open_dataset(f"folder:{tmp_path / 'd'}", shipped, home / "datasets")
    assert [part.computed for part in extract(tiny, opened, home, OPTIONS)] == [2, 2]
