"""The fine-tune harness against a bare loop: ``python benchmarks/finetune.py``.

The bare loop is forward, backward and AdamW on one made-up batch that is on the device already; the harness is
``training.loop.run`` on JPEG-free images in memory, with the ``entezari2023`` protocol's optimizer and clip and with or
without its augmentation. Medians of ``--rounds``, taken in turns. On a GPU: ResNet-50, 224 px, batch 128, bf16; on a
CPU: something small.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch

from probebench.backbones.preprocess import build_transform
from probebench.datasets.base import ArrayImages
from probebench.finetuning.model import Classifier
from probebench.progress import Silent
from probebench.registry import Registry
from probebench.registry.schema import Augment, Input
from probebench.training import loop as train
from probebench.training.classification import Classification
from probebench.training.data import ImageItems, ImageSubset, training_transform
from probebench.training.optim import make_optimizer
from probebench.training.options import TrainingOptions
from probebench.training.seeds import Seeds
from probebench.training.training import Training

PROTOCOL = Registry.load(environ={}).finetune_protocol("entezari2023")
CLASSES = 100


def network(name: str) -> Classifier:
    """Returns an untrained network in the layout that the harness trains in."""
    torch.manual_seed(0)
    trunk = timm.create_model(name, num_classes=0)
    features = int(trunk.eval()(torch.zeros(2, 3, 64, 64)).shape[-1])
    return Classifier(trunk, features, CLASSES, None).to(memory_format=torch.channels_last)


def bare(name: str, size: int, batch: int, steps: int, options: TrainingOptions) -> float:
    """Returns images a second of forward, backward and the optimizer alone."""
    module = network(name).to(options.device).train()
    optimizer = make_optimizer(module, PROTOCOL.optimizer, 1e-4, 0.1)
    inputs = torch.randn(batch, 3, size, size, device=options.device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), device=options.device)
    began = 0.0
    for step in range(steps + 3):
        if step == 3:
            _wait(options)
            began = time.perf_counter()
        with torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = torch.nn.functional.cross_entropy(module(inputs).float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _wait(options)
    return batch * steps / (time.perf_counter() - began)


class _Stopwatch(Silent):
    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def advance(self, count: int, limit: str | None = None) -> None:
        self.seen.append((time.perf_counter(), count))


class _Cut(_Stopwatch):
    """Stops a training once it has seen more than so many images."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def advance(self, count: int, limit: str | None = None) -> None:
        super().advance(count)
        if sum(seen for _, seen in self.seen) > self.images:
            raise KeyboardInterrupt


def training_of(
    name: str, size: int, batch: int, steps: int, augment: Augment, path: Path, epochs: int = 1
) -> Training:
    """Returns a training of so many steps an epoch, and three more, on made-up images."""
    images = batch * (steps + 3)
    pixels = np.random.default_rng(0).integers(0, 256, (min(images, 512), size, size, 3), dtype=np.uint8)
    positions = np.arange(images) % len(pixels)
    labels = positions % CLASSES
    subset = ImageSubset(ArrayImages(pixels), [str(number) for number in range(len(pixels))], positions, labels)
    spec = Input(size=size, resize="shortest", crop=1.0, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    seeds = Seeds.of(PROTOCOL, "benchmark", 0, 0)
    return Training(
        begin=lambda: network(name),
        train=ImageItems(subset, build_transform(spec), training_transform(spec, augment), seeds),
        validation=None,
        objective=Classification.of(PROTOCOL, CLASSES, mixes=False),
        judge=None,
        optimizer=PROTOCOL.optimizer,
        schedule=PROTOCOL.schedule,
        ema=PROTOCOL.ema,
        rate=1e-4,
        weight_decay=0.1,
        epochs=epochs,
        batch_size=batch,
        keeps="last",
        seeds=seeds,
        frozen_norms=False,
        path=path,
        name=name,
    )


def harness(
    name: str, size: int, batch: int, steps: int, options: TrainingOptions, augment: Augment, folder: Path
) -> float:
    """Returns images a second of the harness, from the third step on."""
    training, watch = training_of(name, size, batch, steps, augment, folder / "benchmark.pt"), _Stopwatch()
    train.run(training, options, watch)
    training.path.unlink()
    return rate_of(watch)


def rate_of(watch: _Stopwatch) -> float:
    """Returns images a second from the third step on."""
    counted = [one for one in watch.seen if one[1]]
    return sum(count for _, count in counted[3:]) / (counted[-1][0] - counted[2][0])


def resumed(
    name: str, size: int, batch: int, steps: int, options: TrainingOptions, augment: Augment, folder: Path
) -> tuple[float, float]:
    """Cuts a training off in its second epoch and lets it go on.

    Returns images a second of the epoch that goes on, and how far its loss is from that of a training that was not cut
    off, relative to it.
    """
    whole, cut = (
        training_of(name, size, batch, steps, augment, folder / f"{which}.pt", epochs=2) for which in ("whole", "cut")
    )
    expected = train.run(whole, options, Silent()).history[-1].train_loss
    with contextlib.suppress(KeyboardInterrupt):
        train.run(cut, options, _Cut(len(cut.train)))
    watch = _Stopwatch()
    loss = train.run(cut, options, watch).history[-1].train_loss
    # The first epoch is told at once.
    del watch.seen[0]
    return rate_of(watch), abs(loss / expected - 1)


def _wait(options: TrainingOptions) -> None:
    if options.device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Prints one JSON object."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet50" if gpu else "test_resnet")
    parser.add_argument("--size", type=int, default=224 if gpu else 32)
    parser.add_argument("--batch", type=int, default=128 if gpu else 16)
    parser.add_argument("--steps", type=int, default=40 if gpu else 10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    options = replace(TrainingOptions.resolve(), workers=asked.workers)
    sizes = asked.network, asked.size, asked.batch, asked.steps, options
    light = Augment(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.5)
    rates: dict[str, list[float]] = {"bare": [], "harness, flips only": [], "harness, entezari2023": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(asked.rounds):
            rates["bare"].append(bare(*sizes))
            rates["harness, flips only"].append(harness(*sizes, light, Path(folder)))
            rates["harness, entezari2023"].append(harness(*sizes, PROTOCOL.augment, Path(folder)))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    told = {
        name: {"images/s": round(rate, 1), "of bare": round(rate / medians["bare"], 3)}
        for name, rate in medians.items()
    }
    print(
        json.dumps({"device": torch.cuda.get_device_name() if gpu else "cpu", **vars(asked), "rates": told}, indent=1)
    )


if __name__ == "__main__":
    main()
