from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.backbones.preprocess import build_transform
from probebench.cache.store import FeatureFile, stored_files
from probebench.cache.writer import FeatureWriter
from probebench.datasets.base import Dataset, Images
from probebench.datasets.open import open_dataset
from probebench.errors import CacheError, DatasetError, FeatureError, OutOfReachError, ProbebenchWarning, UsageError
from probebench.extraction import ExtractionOptions, extract, plan
from probebench.extraction.clock import Clock
from probebench.extraction.forward import Forward
from probebench.extraction.jobs import jobs_for
from probebench.registry import Registry
from tests.arithmetic import tf32_asked_for
from tests.conftest import make_entry, make_images

OPTIONS = ExtractionOptions(device="cpu", dtype="fp32", batch_size=5, workers=0)


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
    done = extract(tiny, dataset, home, replace(OPTIONS, workers=workers))
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


def test_a_complete_split_is_opened_once(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a file hashes all of it but the features."""
    opened: list[Path] = []
    opening = FeatureFile.__init__

    def counted(self: FeatureFile, path: Path) -> None:
        opened.append(path)
        opening(self, path)

    monkeypatch.setattr(FeatureFile, "__init__", counted)
    extract(tiny, dataset, home, OPTIONS)
    assert not opened, "what was just written and sealed is not read again"
    parts = extract(tiny, dataset, home, OPTIONS)
    assert opened == [part.path for part in parts] and len(opened) == 2
    opened.clear()
    plan(tiny, dataset, home, OPTIONS)
    assert len(opened) == 2


@contextmanager
def batch_sizes(backbone: Backbone) -> Iterator[list[int]]:
    """Notes the sizes of the batches that a network sees, less the two images by which folding is proved."""
    sizes: list[int] = []
    hook = backbone.module.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0])) if len(inputs[0]) != 2 else None
    )
    yield sizes
    hook.remove()


class Stop(Exception):
    pass


class StopAfter:
    """Progress that interrupts after some batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.started: list[tuple[int, int]] = []
        self.notes: list[str] = []

    def start(self, what: str, total: int, done: int) -> None:
        self.started.append((total, done))

    def advance(self, count: int, limit: str | None = None) -> None:
        self.left -= 1
        if not self.left:
            raise Stop

    def finish(self) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize("batches", [1, 3, 4, 5])
def test_an_interrupted_run_ends_with_the_same_bytes(
    tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path, batches: int
) -> None:
    whole = [part.path.read_bytes() for part in extract(tiny, dataset, tmp_path / "whole", OPTIONS)]
    with pytest.raises(Stop):
        extract(tiny, dataset, home, OPTIONS, StopAfter(batches))
    # A resumed run keeps the batches that it began with, whatever is asked for now.
    again = StopAfter(-1)
    with batch_sizes(tiny) as sizes:
        parts = extract(tiny, dataset, home, replace(OPTIONS, batch_size=3), again)
    (total, done), resumed = again.started[0], 0 if batches < 5 else 1
    # Commits run up to two batches behind, and those under way are finished; a batch that was cut short begins anew.
    first = 5 * (batches if batches < 5 else batches - 4)
    assert total == (18, 6)[resumed] and min(first, total // 5 * 5) <= done <= min(first + 10, total)
    assert parts[resumed].path.read_bytes() == whole[resumed]
    assert not sizes or done == total or sizes[0] == 5
    assert not again.notes


def test_batches_of_any_size_give_the_same_features(
    tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path
) -> None:
    rows = []
    for number, size in enumerate((1, 5, 64)):
        part = extract(tiny, dataset, tmp_path / str(number), replace(OPTIONS, batch_size=size))[0]
        with FeatureFile(part.path) as file:
            rows.append(file.read())
    for other in rows[1:]:
        assert np.abs(other - rows[0]).max() <= 1e-5 * np.abs(rows[0]).max()


def test_a_split_smaller_than_a_batch_is_not_padded(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    with batch_sizes(tiny) as sizes:
        extract(tiny, dataset, home, replace(OPTIONS, batch_size=64))
    assert sizes == [18, 6]


def test_half_precision_is_stored_as_float16_under_its_own_key(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    full = extract(tiny, dataset, home, OPTIONS)[0].path
    half = extract(tiny, dataset, home, replace(OPTIONS, dtype="bf16"))[0].path
    assert full != half
    with FeatureFile(full) as one, FeatureFile(half) as other:
        assert other.read().dtype == np.float16
        assert np.abs(one.read() - other.read().astype(np.float32)).max() < 0.05 * np.abs(one.read()).max()


def test_input_size_is_part_of_the_key(tmp_path: Path, home: Path, dataset: Dataset) -> None:
    spec = make_entry(tmp_path)
    digests = {
        jobs_for(build_backbone(spec, home, size), dataset, home, OPTIONS)[0].key.digest for size in (None, 32, 48)
    }
    assert len(digests) == 2


def test_an_unreadable_image_stops_before_anything_is_computed(
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
            opened = open_dataset(name, shipped, home / "datasets")
            extract(tiny, opened, home, replace(OPTIONS, batch_size=4, workers=workers))
    assert stored_files(home, partial=True) == []


def test_nan_features_are_refused_with_the_images_id(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    class Broken(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = torch.ones(len(images), 96)
            features[1] = torch.nan
            return features

    broken = replace(tiny, module=Broken())
    with pytest.raises(FeatureError, match="NaN or infinite features for image class0/"):
        extract(broken, dataset, home, OPTIONS)
    assert stored_files(home) == []


def test_overflow_in_half_precision_names_the_mend(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    class Large(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 96), 1e6)

    large = replace(tiny, module=Large())
    with pytest.raises(FeatureError, match="try --dtype fp32"):
        extract(large, dataset, home, replace(OPTIONS, dtype="bf16"))


def test_a_damaged_complete_file_is_an_error_before_any_work(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    path = extract(tiny, dataset, home, OPTIONS)[0].path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CacheError, match="is damaged"):
        extract(tiny, dataset, home, OPTIONS)


def test_a_full_disk_keeps_the_committed_rows(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FeatureWriter.append

    def full(self: FeatureWriter, rows: Any, skipped: Any = ()) -> None:
        if self.committed >= 10:
            raise OSError(28, "No space left on device")
        append(self, rows, skipped)

    monkeypatch.setattr(FeatureWriter, "append", full)
    with pytest.raises(OSError, match="No space left"):
        extract(tiny, dataset, home, OPTIONS)
    monkeypatch.undo()
    assert extract(tiny, dataset, home, OPTIONS)[0].computed == 8


def test_options_that_this_machine_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ExtractionOptions.resolve("auto", "auto", None, None).device == "cpu"
    assert ExtractionOptions.resolve("auto", "auto", None, None).dtype == "fp32"
    assert ExtractionOptions.resolve("cpu", "bf16", 7, 3) == replace(
        OPTIONS, dtype="bf16", batch_size=7, workers=3, compile="off"
    )
    with pytest.raises(UsageError, match="no CUDA device"):
        ExtractionOptions.resolve("cuda", "auto", None, None)


@pytest.mark.gpu
def test_gpu_features_agree_with_the_cpus(tiny: Backbone, dataset: Dataset, home: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu = extract(tiny, dataset, home, OPTIONS)[0].path
    gpu = extract(tiny, dataset, tmp_path / "gpu", replace(OPTIONS, device="cuda"))[0].path
    with FeatureFile(cpu) as one, FeatureFile(gpu) as other:
        assert np.abs(one.read() - other.read()).max() <= 1e-5 * np.abs(one.read()).max()


def kinds_of_images(folder: Path) -> Path:
    """Train and test parts with the kinds of files that data sets hold, made of noise and of a photo."""
    array = np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((60, 40)))
    grey = np.linspace(0, 65535, 60 * 40, dtype=np.uint16).reshape(40, 60)
    photo = Image.fromarray(array)
    turned = photo.getexif()
    turned[0x0112] = 6
    see_through = photo.convert("RGBA")
    see_through.putalpha(120)
    files: dict[str, Callable[[Path], None]] = {
        "photo.jpg": photo.save,
        "grey.jpg": photo.convert("L").save,
        "cmyk.jpg": photo.convert("CMYK").save,
        "turned.jpg": lambda path: photo.save(path, exif=turned),
        "progressive.jpg": lambda path: photo.save(path, progressive=True, quality=30),
        "photo.png": photo.save,
        "grey.png": photo.convert("L").save,
        "palette.png": photo.convert("P").save,
        "bilevel.png": photo.convert("1").save,
        "see_through.png": see_through.save,
        "deep.png": Image.fromarray(grey).save,
        "photo.webp": photo.save,
        "see_through.webp": see_through.save,
        "cmyk.tif": photo.convert("CMYK").save,
        "photo.bmp": photo.save,
    }
    for part in ("train", "test"):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
        for number, (name, save) in enumerate(files.items()):
            save(folder / part / "ab"[number % 2] / name)
    return folder


@pytest.mark.parametrize("library", ["timm", "open_clip", "torchvision"])
def test_features_equal_the_librarys_own_model_and_transform(
    tmp_path: Path, home: Path, shipped: Registry, library: str
) -> None:
    """Every kind of file, read by PIL, through the transform and the network that the library itself makes."""
    import open_clip
    import timm
    import torchvision
    from timm.data.transforms_factory import create_transform

    own: dict[str, Any] = {
        "timm": {"name": "test_resnet", "features": 96, "size": 64},
        "torchvision": {"name": "mobilenet_v3_small", "features": 1024, "size": 64},
        "open_clip": {"name": "ViT-S-32-alt", "features": 256, "layer": "projected", "size": 224, "method": "none"},
    }[library]
    spec = make_entry(tmp_path, library=library, **own)
    backbone = build_backbone(spec, home)
    model: Any
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if library == "timm":
            model = timm.create_model("test_resnet")
            model.reset_classifier(0)
        elif library == "torchvision":
            model = torchvision.models.mobilenet_v3_small(weights=None)
            model.classifier[-1] = torch.nn.Identity()
        else:
            model = open_clip.create_model("ViT-S-32-alt").visual
    model.eval()
    transform = create_transform(
        (3, spec.input.size, spec.input.size), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875
    )
    folder = kinds_of_images(tmp_path / "kinds")
    opened = open_dataset(f"folder:{folder}", shipped, home / "datasets")
    for part in extract(backbone, opened, home, replace(OPTIONS, batch_size=8, workers=2, compile="off")):
        with FeatureFile(part.path) as file, torch.inference_mode():
            inputs = torch.stack([transform(Image.open(folder / name).convert("RGB")) for name in file.ids])
            expected = model(inputs).numpy()
            assert np.abs(file.read() - expected).max() <= 1e-5 * np.abs(expected).max()
            assert len(file.ids) == 15


def broken_images(folder: Path) -> str:
    """Two parts of three classes; two training images and one test image cannot be read."""
    for part, seed in (("train", 0), ("test", 1)):
        make_images(folder / part, each=6, seed=seed, size=48)
    (folder / "train" / "class0" / "002.png").write_bytes(b"no image at all")
    for name in ("train/class2/005.png", "test/class1/000.png"):
        path = folder / name
        # Cut in the middle, with an end put on: only decoding finds out.
        path.write_bytes(path.read_bytes()[:2000] + b"\0\0\0\0IEND\xaeB`\x82")
    return f"folder:{folder}"


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_left_out_and_recorded(
    tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry, workers: int
) -> None:
    opened = open_dataset(broken_images(tmp_path / "d"), shipped, home / "datasets")
    with pytest.raises(DatasetError, match=r"class0/002.png cannot be read \(not an image\).*--on-error skip"):
        extract(tiny, opened, home, OPTIONS)
    assert stored_files(home, partial=True) == [], "told before anything was computed"
    progress = StopAfter(-1)
    parts = extract(tiny, opened, home, replace(OPTIONS, workers=workers, on_error="skip"), progress)
    assert [(part.rows, part.computed, part.skipped) for part in parts] == [(16, 18, 2), (17, 18, 1)]
    assert len(progress.notes) == 3 and all("is left out: image" in note for note in progress.notes)
    with FeatureFile(parts[0].path) as file:
        assert file.skipped.ids == ("train/class0/002.png", "train/class2/005.png")
        kept = [name not in file.skipped.ids for name in opened.splits["train"].ids]
        assert file.ids == tuple(name for name, keep in zip(opened.splits["train"].ids, kept, strict=True) if keep)
        assert np.array_equal(file.labels, opened.splits["train"].labels[kept])
        images = opened.splits["train"].images
        transform = build_transform(tiny.input)
        with torch.inference_mode():
            expected = tiny.module(
                torch.stack([transform(images.load(place)) for place in np.flatnonzero(kept).tolist()])
            ).numpy()
        assert np.abs(file.read() - expected).max() <= 1e-5 * np.abs(expected).max()
    assert [part.computed for part in extract(tiny, opened, home, OPTIONS)] == [0, 0], "found, whatever is asked"


def test_deep_images_are_told_of_once_a_split(tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        make_images(tmp_path / "d" / split, each=4, seed=seed)
    for name in ("train/class0/a.png", "train/class1/b.tif"):
        Image.fromarray(np.full((24, 24), 40000, np.uint16)).save(tmp_path / "d" / name)
    opened = open_dataset(f"folder:{tmp_path / 'd'}", shipped, home / "datasets")
    with pytest.warns(ProbebenchWarning, match="2 images have 16 bits a value or more") as said:
        extract(tiny, opened, home, replace(OPTIONS, batch_size=3))
    assert len(said) == 1


def test_an_image_that_only_decoding_finds_damaged_stops_too(
    tiny: Backbone, tmp_path: Path, home: Path, shipped: Registry
) -> None:
    folder = broken_images(tmp_path / "d").removeprefix("folder:")
    (Path(folder) / "train" / "class0" / "002.png").unlink()
    opened = open_dataset(f"folder:{folder}", shipped, home / "datasets")
    with pytest.raises(DatasetError, match="class2/005.png cannot be read"):
        extract(tiny, opened, home, OPTIONS)
    (partial,) = stored_files(home, partial=True)
    with h5py.File(partial, "r") as file:
        assert file.attrs["committed"] == 15 and not file.attrs["complete"], "what came before it is kept"


class Small(torch.nn.Module):
    """A network on a machine whose memory has room for three images only once the first batch is done."""

    def __init__(self, module: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.module, self.room, self.sizes = module, room, []  # type: ignore[var-annotated]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.sizes.append(len(images))
        self.room = 3
        features: torch.Tensor = self.module(images)
        return features


def test_out_of_memory_halves_the_batch_and_goes_on(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probebench.extraction.inference._folded", lambda _: None)
    expected = reference(tiny, dataset, "train")
    small = Small(tiny.module, 18)
    backbone = replace(tiny, module=small)
    options = replace(OPTIONS, batch_size=8, compile="off")
    part = extract(backbone, dataset, home, options)[0]
    with FeatureFile(part.path) as file:
        assert np.abs(file.read() - expected).max() <= 1e-5 * np.abs(expected).max()
        assert file.settings["batch_size"] == 2
        assert str(file.settings["batch_sizes_before"]).startswith("8 to row 8; ")
    assert small.sizes[0] == 8 and small.sizes[-1] == 2
    small.room = 0
    with pytest.raises(FeatureError, match="one image does not fit into memory at 32 px"):
        extract(backbone, dataset, home / "other", options)


def test_a_disk_too_small_is_told_before_anything_is_computed(
    tiny: Backbone, dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(CacheError, match=r"features need .* are free: free some disk space"):
        extract(tiny, dataset, home, OPTIONS)
    assert stored_files(home, partial=True) == []


def test_compiled_features_agree_and_the_setting_is_kept(tiny: Backbone, dataset: Dataset, home: Path) -> None:
    expected = reference(tiny, dataset, "train")
    on = replace(OPTIONS, compile="on")
    with pytest.raises(Stop):
        extract(tiny, dataset, home, on, StopAfter(1))
    part = extract(tiny, dataset, home, replace(OPTIONS, compile="off"))[0]
    with FeatureFile(part.path) as file:
        assert file.settings["compile"] is True
        assert np.abs(file.read() - expected).max() <= 1e-5 * np.abs(expected).max()


def test_half_precision_is_not_compiled_on_cpus() -> None:
    for dtype in ("bf16", "fp16"):
        assert ExtractionOptions.resolve("cpu", dtype).compile == "off"
        with pytest.raises(UsageError, match=f"--compile on with --dtype {dtype} takes a GPU"):
            ExtractionOptions.resolve("cpu", dtype, compile="on")
    assert ExtractionOptions.resolve("cpu", "fp32").compile == "auto"


class Streamed:
    """Images of which the eighth is on a host that does not answer."""

    def __init__(self, images: Images) -> None:
        self.check, self.content, self._images = images.check, images.content, images

    def load(self, position: int) -> Image.Image:
        if position == 7:
            raise OutOfReachError("shard http://host/a.tar is out of reach")
        return self._images.load(position)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_outage_is_no_reason_to_leave_images_out(tiny: Backbone, dataset: Dataset, home: Path, workers: int) -> None:
    train = dataset.splits["train"]
    splits = {**dataset.splits, "train": replace(train, images=Streamed(train.images))}
    with pytest.raises(DatasetError, match="out of reach"):
        extract(tiny, replace(dataset, splits=splits), home, replace(OPTIONS, workers=workers, on_error="skip"))


def test_features_are_in_float32_whatever_is_asked_for_outside(tiny: Backbone) -> None:
    with tf32_asked_for() as watched:
        Forward(tiny, "cpu", "fp32", 2)(tiny.noise(2))
    assert watched.arithmetic == {"ieee"}


def test_a_block_tells_the_batch_size_that_it_was_computed_in(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU two more batches are begun before one is waited for; memory may run out in those."""
    forward = Forward(tiny, "cpu", "fp32", 4)
    sizes = iter([4, 4, 2, 1])

    def begin(pixels: torch.Tensor) -> Callable[[], Any]:
        forward.batch_size = next(sizes)
        return lambda: pixels

    monkeypatch.setattr(forward, "begin", begin)
    forward.device = "cuda"
    assert [size for _, size in forward.stream([torch.zeros(4)] * 4, Clock())] == [4, 4, 2, 1]
