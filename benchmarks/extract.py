"""The extraction engine against its limits and its peers: ``python benchmarks/extract.py forward | decode | ...``.

Every ratio is of runs in one process (or, against peers, one after the other), medians of ``--rounds``. Images are the
JPEGs of ``benchmarks/photos.py``. "end to end" is what ``extract`` does from the first image to the sealed file, with
the weights loaded and the network compiled before.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import photos
import torch

import probebench as pb
from probebench.backbones.base import Backbone
from probebench.backbones.builders import build_backbone
from probebench.backbones.preprocess import Normalise, Pixels
from probebench.cache.store import FeatureFile
from probebench.datasets.base import Dataset, FileImages, Images, Split
from probebench.datasets.open import open_dataset
from probebench.extraction import ExtractionOptions, extract
from probebench.extraction.options import Compile
from probebench.progress import Silent
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.schema import Architecture, Input, Output, Pretraining, Weights


def spec(name: str, features: int, size: int) -> CheckpointSpec:
    """Returns an entry for a timm network with random weights: speed does not depend on them."""
    return CheckpointSpec(
        id=name,
        title=name,
        paper="none",
        url="none",
        license="none",
        architecture=Architecture(library="timm", name=name, kwargs={}),
        pretraining=Pretraining(
            method="none",
            objective="none",
            sources=(),
            samples_seen=0,
            epochs=0,
            labels="none",
            curation="none",
        ),
        weights=Weights(uri="random:0", sha256="none", keys="plain"),
        input=Input(
            size=size,
            resize="shortest",
            crop=0.875,
            interpolation="bicubic",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        output=Output(features=features, layer="pooled"),
    )


class Stopwatch(Silent):
    """Times each split from its first image to its sealed file."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self.seconds, self._began = 0.0, 0.0

    def start(self, what: str, total: int, done: int) -> None:
        """Starts the watch: weights are loaded and the network is ready."""
        self._began = time.perf_counter()

    def finish(self) -> None:
        """Stops it."""
        self.seconds += time.perf_counter() - self._began


def end_to_end(backbone: Backbone, dataset: Dataset, options: ExtractionOptions, home: Path) -> float:
    """Returns images a second of a whole extraction into an empty cache."""
    with tempfile.TemporaryDirectory(dir=home) as empty:
        watch = Stopwatch()
        parts = extract(backbone, dataset, Path(empty), options, watch)
        return sum(part.rows for part in parts) / watch.seconds


def bare_forward(backbone: Backbone, batch: int, compiled: bool) -> Callable[[int], float]:
    """Returns what measures images a second of the network alone, on a batch that lies there normalised."""
    images = Normalise(backbone.input)(
        torch.randint(0, 256, (batch, backbone.input.size, backbone.input.size, 3), dtype=torch.uint8)
    ).to(memory_format=torch.channels_last)
    module = backbone.module.to(memory_format=torch.channels_last)
    call = torch.compile(module, options={"freezing": True}) if compiled else module

    def measure(count: int) -> float:
        with torch.inference_mode():
            call(images)
            began = time.perf_counter()
            for _ in range(count // batch):
                call(images)
            return count // batch * batch / (time.perf_counter() - began)

    return measure


def _decode_all(job: tuple[Images, Input, int, int]) -> None:
    torch.set_num_threads(1)
    images, spec, start, stop = job
    pixels = Pixels(spec)
    for position in range(start, stop):
        pixels(images.load(position))


def decode_alone(split: Split, spec: Input, processes: int) -> float:
    """Returns images a second of decoding and resizing on all cores, with nothing else to do."""
    cuts = np.linspace(0, len(split), processes + 1).astype(int).tolist()
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.map(_decode_all, [(split.images, spec, 0, 1)] * processes)
        began = time.perf_counter()
        pool.map(_decode_all, [(split.images, spec, a, b) for a, b in zip(cuts, cuts[1:], strict=False)], chunksize=1)
        return len(split) / (time.perf_counter() - began)


def photos_of(folder: Path, count: int, size: tuple[int, int] = (500, 375)) -> Dataset:
    """Opens ``count`` photos."""
    place = photos.make(folder / f"photos-{count}-{size[0]}x{size[1]}", count, size)
    return open_dataset(f"folder:{place}", Registry.load(environ={}), folder)


def forward_limits(folder: Path, rounds: int) -> None:
    """RN50 at 224 px: end to end over the bare compiled forward pass."""
    backbone, dataset = build_backbone(spec("resnet50", 2048, 224), folder), photos_of(folder, 1280)
    options = ExtractionOptions.resolve(device="cpu", compile="on", batch_size=64)
    bare = bare_forward(backbone, 64, compiled=True)
    ratios, rates, limits = [], [], []
    for _ in range(rounds):
        limits.append(bare(640))
        rates.append(end_to_end(backbone, dataset, options, folder))
        limits.append(bare(640))
        ratios.append(rates[-1] / statistics.mean(limits[-2:]))
        print(f"  end to end {rates[-1]:.2f}/s, bare {limits[-2]:.2f} and {limits[-1]:.2f}/s", flush=True)
    decode = decode_alone(dataset.splits["train"], backbone.input, torch.get_num_threads())
    bound = 1 / (1 + statistics.median(limits) / decode)
    print(
        f"RN50 224 px: end to end {statistics.median(rates):.1f} images/s, bare compiled forward "
        f"{statistics.median(limits):.1f}: {statistics.median(ratios):.3f} (decoding alone {decode:.0f}/s on the same "
        f"cores, so at most {bound:.3f})"
    )


def decode_limits(folder: Path, rounds: int) -> None:
    """A tiny network on photos: end to end over the rate of decoding alone."""
    backbone, dataset = build_backbone(spec("test_resnet", 96, 32), folder), photos_of(folder, 20_000)
    options = ExtractionOptions.resolve(device="cpu", compile="off")
    bare = bare_forward(backbone, 64, compiled=False)(5120)
    ratios, rates, limits = [], [], []
    for _ in range(rounds):
        limits.append(decode_alone(dataset.splits["train"], backbone.input, torch.get_num_threads()))
        rates.append(end_to_end(backbone, dataset, options, folder))
        ratios.append(rates[-1] / limits[-1])
        print(f"  end to end {rates[-1]:.0f}/s, decoding alone {limits[-1]:.0f}/s", flush=True)
    bound = 1 / (1 + statistics.median(limits) / bare)
    print(
        f"test_resnet 32 px: end to end {statistics.median(rates):.0f} images/s, decoding alone "
        f"{statistics.median(limits):.0f}: {statistics.median(ratios):.3f} (forward alone {bare:.0f}/s on the same "
        f"cores, so at most {bound:.3f})"
    )


def predictions(folder: Path, rounds: int) -> None:
    """EfficientNet-Lite0 at 224 px on 1,000 photos: a saved probe's predictions over extraction, end to end."""
    place, model = photos.make(folder / "photos-1000-500x375", 1000, (500, 375)), "efficientnet_lite0_in1k"
    rates, ratios = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            os.environ["PROBEBENCH_HOME"] = empty
            watch = Stopwatch()
            features = pb.extract(model, place, device="cpu", progress=watch)
            images = sum(len(features[name].y) for name in features.paths)
            rate = images / watch.seconds
            pb.evaluate(features, shots="full", save_probes=Path(empty) / "probes", out=Path(empty) / "results")
            (saved,) = (Path(empty) / "probes").rglob("*.safetensors")
            watch = Stopwatch()
            predicted = pb.Probe.load(saved).predict(place, device="cpu", progress=watch)
            assert len(predicted) == images
            rates.append(images / watch.seconds)
            ratios.append(rates[-1] / rate)
            print(f"  predict {rates[-1]:.1f}/s, extract {rate:.1f}/s", flush=True)
    print(
        f"Lite0 224 px: predict {statistics.median(rates):.1f} images/s, {statistics.median(ratios):.3f} of extraction"
    )


def _peak(folder: Path, count: int) -> None:
    """Runs in a process of its own: extracts, reads 1,000 rows, and prints peaks in MiB."""
    backbone, dataset = build_backbone(spec("test_resnet", 96, 32), folder), photos_of(folder, count, (64, 48))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(dir=folder) as home:
        path = extract(backbone, dataset, Path(home), ExtractionOptions.resolve(device="cpu"))[0].path
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        with FeatureFile(path) as file:
            file.read(np.arange(0, file.rows, max(1, file.rows // 1000)))
        reading = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peaks = {"opened": before, "extracted": after, "read": reading, "a decoding process": children}
    print(json.dumps({name: round(kib / 1024) for name, kib in peaks.items()}))


def memory(folder: Path) -> None:
    """Peak memory at 10,000 and 100,000 images."""
    for count in (10_000, 100_000):
        photos_of(folder, count, (64, 48))
        command = [sys.executable, __file__, "peak", "--dir", str(folder), "--count", str(count)]
        print(f"{count:,} images: {subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()}")


def _lively(module: torch.nn.Module, size: int) -> None:
    """Gives a fresh network the statistics of a trained one: with zero last scales, most weights would not count."""
    torch.manual_seed(0)
    for child in module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(child.weight)
            child.momentum = None
    module.train()
    with torch.no_grad():
        module(torch.randn(16, 3, size, size))
    module.eval()


def _peer_model(folder: Path, peer: str) -> tuple[CheckpointSpec, Path, str]:
    """Saves weights for a peer and for us, and returns our entry for them, their file, and the peer's name for it."""
    if peer == "clip_benchmark":
        import open_clip

        clip = open_clip.create_model("RN50")
        _lively(clip.visual, 224)
        state, name, crop = clip.state_dict(), "RN50", 1.0
    else:
        import timm

        network = timm.create_model("resnet50")
        _lively(network, 224)
        state, name, crop = network.state_dict(), "resnet50", 0.95
    path = folder / f"{peer}-{name}.pt"
    torch.save(state, path)
    entry = spec("resnet50", 2048, 224)
    own = entry.input.model_copy(update={"crop": crop})
    if peer == "clip_benchmark":
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        own = own.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        entry = entry.model_copy(
            update={
                "architecture": Architecture(library="open_clip", name="RN50", kwargs={}),
                "output": Output(features=1024, layer="projected"),
            }
        )
    method = entry.pretraining.model_copy(update={"method": "supervised"})
    weights = Weights(uri=f"file:{path}", sha256="none", keys="plain")
    return entry.model_copy(update={"input": own, "pretraining": method, "weights": weights}), path, name


def peers(folder: Path, python: Path, peer: str, rounds: int, workers: int, batch: int) -> None:
    """A peer's own extraction and ours, one after the other: same images, weights, dtype and machine.

    Args:
        folder: Where photos and weights go.
        python: The interpreter of the peer's environment.
        peer: Name of its script in ``benchmarks/peers``.
        rounds: Of which the median is taken.
        workers: The peer's decoding processes.
        batch: The peer's images a batch.
    """
    entry, weights, name = _peer_model(folder, peer)
    dataset, out = photos_of(folder, 640), folder / f"{peer}.npz"
    assert isinstance(dataset.splits["train"].images, FileImages)
    root = dataset.splits["train"].images.root
    script = Path(__file__).parent / "peers" / f"{peer}_extract.py"
    command = [python, script, "--images", root / "train", "--out", out, "--model", name, "--size", "224"]
    command += ["--batch-size", str(batch), "--workers", str(workers), "--threads", str(torch.get_num_threads())]
    backbone = build_backbone(entry, folder)
    rates: dict[str, list[float]] = {"peer": [], "off": [], "on": []}
    for _ in range(rounds):
        done = subprocess.run(
            [*map(str, command), "--weights", str(weights)], check=True, capture_output=True, text=True
        )
        rates["peer"].append(json.loads(done.stdout.splitlines()[-1])["images_per_s"])
        compiled: Compile
        for compiled in ("off", "on"):
            options = ExtractionOptions.resolve(device="cpu", batch_size=64, compile=compiled)
            rates[compiled].append(end_to_end(backbone, dataset, options, folder))
        print("  " + ", ".join(f"{kind} {values[-1]:.2f}/s" for kind, values in rates.items()), flush=True)
    medians = {kind: statistics.median(values) for kind, values in rates.items()}
    difference = _largest_difference(backbone, dataset, folder, out)
    print(
        f"{peer}, {workers} workers, batch {batch}: {medians['peer']:.1f} images/s; ours {medians['off']:.1f} eager "
        f"({medians['off'] / medians['peer']:.2f}x), {medians['on']:.1f} compiled "
        f"({medians['on'] / medians['peer']:.2f}x); largest relative difference of unit features {difference:.1e}"
    )


def _largest_difference(backbone: Backbone, dataset: Dataset, folder: Path, theirs: Path) -> float:
    """Compares features, each divided by its length as one of the peers insists on, image by image."""
    with tempfile.TemporaryDirectory(dir=folder) as home, np.load(theirs) as stored:
        path = extract(backbone, dataset, Path(home), ExtractionOptions.resolve(device="cpu", compile="off"))[0].path
        rows = {name: row for name, row in zip(stored["paths"].tolist(), stored["features"], strict=True)}
        with FeatureFile(path) as file:
            ours = file.read()
            other = np.stack([rows[name.removeprefix("train/")] for name in file.ids])
    ours, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (ours, other))
    return float(np.linalg.norm(ours - other, axis=1).max())


def resize(folder: Path) -> None:
    """How often torchvision's resize of uint8 differs from PIL's, and its decoding; why PIL's is used."""
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as fast

    photo = photos_of(folder, 640).splits["train"].images
    assert isinstance(photo, FileImages)
    shares, largest, decoded = [], 0, True
    for position in range(0, 200, 10):
        image = photo.load(position).convert("RGB")
        tensor = decode_jpeg(read_file(str(photo.path(position))))
        decoded &= bool((tensor.permute(1, 2, 0).numpy() == np.asarray(image)).all())
        for side in (96, 224, 256, 336):
            size = (side * image.width // image.height, side)
            theirs = fast.resize(tensor, [size[1], size[0]], InterpolationMode.BICUBIC, antialias=True)
            own = np.asarray(image.resize(size, 3)).astype(int)
            difference = np.abs(own - theirs.permute(1, 2, 0).numpy().astype(int))
            shares.append(float((difference > 0).mean()))
            largest = max(largest, int(difference.max()))
    print(
        f"torchvision against PIL: JPEGs decode to {'the same' if decoded else 'OTHER'} values; bicubic resize differs "
        f"in {min(shares):.2%} to {max(shares):.2%} of values, by {largest} levels at most"
    )


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part", choices=["forward", "decode", "predict", "memory", "peak", "resize", "clip_benchmark", "thingsvision"]
    )
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "probebench-benchmark")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--python", type=Path, help="interpreter of the peer's environment")
    parser.add_argument("--workers", type=int, default=4, help="the peer's")
    parser.add_argument("--batch-size", type=int, default=64, help="the peer's")
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    match given.part:
        case "forward":
            forward_limits(given.dir, given.rounds)
        case "decode":
            decode_limits(given.dir, given.rounds)
        case "predict":
            predictions(given.dir, given.rounds)
        case "memory":
            memory(given.dir)
        case "resize":
            resize(given.dir)
        case "clip_benchmark" | "thingsvision" as peer:
            peers(given.dir, given.python, peer, given.rounds, given.workers, given.batch_size)
        case _:
            _peak(given.dir, given.count)


if __name__ == "__main__":
    main()
