"""The phases of ``benchmarks/gpu.py``: each measures one thing, on a GPU or, dry, at toy size on the CPU."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import extract as extracting
import finetune as finetuning
import numpy as np
import torch

from probebench.backbones.builders import build_backbone
from probebench.device import cores, full_float32
from probebench.errors import UsageError
from probebench.extraction import ExtractionOptions
from probebench.extraction.clock import Clock
from probebench.extraction.forward import Forward
from probebench.probes import knn, logistic, logistic_sweep, ridge, sizes, stream
from probebench.probes.base import Labelled
from probebench.registry.schema import Augment
from probebench.training.classification import Classification
from probebench.training.options import TrainingOptions

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a phase is to run.

    Attributes:
        dry: At toy size on the CPU.
        out: A folder for what it writes.
        limit: Seconds it may take.
    """

    dry: bool
    out: Path
    limit: float

    @property
    def device(self) -> str:
        """Where to compute."""
        return "cpu" if self.dry else "cuda"

    def wait(self) -> None:
        """Waits for what is under way on the device."""
        if not self.dry:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], times: int = 1) -> float:
        """Returns what one call takes, after one that does not count."""
        work()
        self.wait()
        began = time.perf_counter()
        for _ in range(times):
            work()
        self.wait()
        return (time.perf_counter() - began) / times


class _Enough(Exception):
    """The time is up."""


def rates(asked: Asked) -> Facts:
    """Matrix products by dtype, and copies from pageable and page-locked memory."""
    side = 64 if asked.dry else 8192
    facts: Facts = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp64", torch.float64)):
        one = torch.randn(side, side, device=asked.device).to(dtype)
        with full_float32():
            facts[f"{name} TFLOP/s"] = 2e-12 * side**3 / asked.seconds(lambda one=one: one @ one, 3)  # type: ignore[misc]
    host = torch.empty(1 << (16 if asked.dry else 30), dtype=torch.uint8)
    for name, memory in (("pageable", host), ("pinned", host if asked.dry else host.pin_memory())):
        facts[f"{name} GB/s"] = 1e-9 * len(host) / asked.seconds(lambda memory=memory: memory.to(asked.device))  # type: ignore[misc]
    return facts


def tests(asked: Asked) -> Facts:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "addopts="]
    command += ["--version"] if asked.dry else ["tests"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    said = ran.stdout.strip().splitlines()[-1:] or ran.stderr.strip().splitlines()[-1:]
    return {"said": said[0] if said else "nothing", **({} if ran.returncode == 0 else {"failed": "see said"})}


def made_there(count: int, width: int, classes: int, device: str) -> tuple[Any, Any]:
    """Makes rows correlated like a network's on the device, half precision, and brings them to the host."""
    generator = torch.Generator(device).manual_seed(0)
    scale = torch.arange(1, width + 1, device=device) ** -0.6
    rotation = torch.linalg.qr(torch.randn(width, width, device=device, generator=generator))[0]
    centres = 0.5 * scale * torch.randn(classes, width, device=device, generator=generator)
    labels = torch.arange(count, device=device) % classes
    rows = np.empty((count, width), dtype=np.float16)
    for start in range(0, count, 1 << 16):
        own = labels[start : start + (1 << 16)]
        noise = torch.randn(len(own), width, device=device, generator=generator)
        rows[start : start + len(own)] = ((centres[own] + noise * scale) @ rotation).half().cpu().numpy()
    return rows, labels.cpu().numpy()


def sweep(asked: Asked) -> Facts:
    """The ImageNet-size sweep: first a tenth of the rows, then all; extrapolated where time is up."""
    width, classes, strengths = (16, 5, 3) if asked.dry else (2048, 1000, 45)
    facts: Facts = {"asked": "76 to 143 s for all rows (modelled)"}
    began = time.perf_counter()
    for count in (200, 400) if asked.dry else (128_000, 1_280_000):
        rows, labels = made_there(count, width, classes, asked.device)
        left = asked.limit - (time.perf_counter() - began)
        if not asked.dry:
            torch.cuda.reset_peak_memory_stats()
        name = f"{count:,} rows"
        for fact, value in _swept(asked, rows, labels, strengths, left).items():
            facts[f"{name}: {fact}"] = value
        if not asked.dry:
            facts[f"{name}: GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return facts


def _swept(asked: Asked, rows: Any, labels: Any, strengths: int, left: float) -> Facts:
    ingested: list[float] = []
    finished: list[float] = []
    solver: Any = logistic
    make, small = solver._rows, sizes.SMALL

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        made = make(*arguments)
        asked.wait()
        ingested.append(time.perf_counter() - began)
        return made

    def done(fits: int) -> None:
        finished.append(time.perf_counter())
        if finished[-1] - began > left:
            raise _Enough

    began = time.perf_counter()
    solver._rows, sizes.SMALL = timed, 0 if asked.dry else small
    try:
        everything = [np.arange(len(labels))]
        grid = np.logspace(-4, 4, strengths)
        fit = logistic_sweep(rows, labels, everything, grid, device=asked.device, tol=1e-4, on_progress=done)
        facts: Facts = {"worst gap": float((fit.gap / fit.objective).max())}
    except _Enough:
        facts = {"strengths done": len(finished)}
    finally:
        solver._rows, sizes.SMALL = make, small
    spent = finished[-1] - began - ingested[0]
    return {"ingestion s": ingested[0], "sweep s": spent * strengths / len(finished), **facts}


def few_shot(asked: Asked) -> Facts:
    """Five draws at 45 strengths, and rows that stream, against the CPU."""
    width, classes, strengths, count = (8, 3, 3, 60) if asked.dry else (2048, 100, 45, 20_000)
    rows, labels = made_there(count, width, classes, asked.device)
    facts: Facts = {"asked": "objectives within 2e-6 of the CPU's"}
    draws = [np.arange(5 * classes) + 5 * classes * i for i in range(4 if asked.dry else 5)]
    cases = {"draws": (draws, strengths, None), "streamed": ([np.arange(count)], 3, 0)}
    for name, (own, number, memory) in cases.items():
        grid = np.logspace(-4, 4, number)
        fits = {}
        for device in (asked.device, "cpu"):
            began = time.perf_counter()
            fits[device] = logistic_sweep(rows, labels, own, grid, device=device, memory=memory)
            facts[f"{name}, {device} s"] = time.perf_counter() - began
        off = float(np.abs(fits[asked.device].objective / fits["cpu"].objective - 1).max())
        facts[f"{name}: off by"] = off
        if off > 2e-6:
            facts["failed"] = f"{name}: objectives differ by {off:.1e}"
    return facts


def rn50(asked: Asked) -> Facts:
    """RN50 in bf16 from uint8 pixels, as extraction runs it, against the bare network on a resident batch."""
    name, features, size, batch = ("test_resnet", 96, 32, 2) if asked.dry else ("resnet50", 2048, 224, 256)
    backbone, rounds = build_backbone(extracting.spec(name, features, size), asked.out), 1 if asked.dry else 20
    bare = backbone.module.eval().to(asked.device).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size, device=asked.device).contiguous(memory_format=torch.channels_last)
    facts: Facts = {"asked": "0.95 of the faster"}
    calls = {"eager": bare} if asked.dry else {"eager": bare, "compiled": torch.compile(bare)}
    for what, call in calls.items():
        with torch.inference_mode(), torch.autocast(asked.device, dtype=torch.bfloat16):
            facts[f"bare {what}/s"] = batch / asked.seconds(lambda call=call: call(images), rounds)  # type: ignore[misc]
    limit = max(value for key, value in facts.items() if key.startswith("bare"))
    for compiled in [False] if asked.dry else [False, True]:
        forward = Forward(backbone, asked.device, "bf16", batch, compiled)
        pixels = backbone.noise(batch)
        if not asked.dry:
            pixels = pixels.pin_memory()
        whole = asked.seconds(lambda: [*forward.stream([pixels] * rounds, Clock())])  # noqa: B023
        what = "compiled" if compiled else "eager"
        facts[f"ours {what}/s"] = batch * rounds / whole
        facts[f"ours {what} of bare"] = batch * rounds / whole / limit
    return facts


def jpegs(asked: Asked) -> Facts:
    """A whole extraction of 3,000 photos against the slower of decoding and the network."""
    name, features, size, count = ("test_resnet", 96, 32, 20) if asked.dry else ("resnet50", 2048, 224, 3000)
    backbone = build_backbone(extracting.spec(name, features, size), asked.out)
    dataset = extracting.photos_of(asked.out, count)
    options = ExtractionOptions.resolve(device=asked.device, compile="off", workers=0 if asked.dry else None)
    processes = 1 if asked.dry else min(16, cores())
    decoding = extracting.decode_alone(dataset.splits["train"], backbone.input, processes)
    forward = Forward(backbone, options.device, options.dtype, options.first_batch(size))
    network = forward.batch_size / forward.seconds_a_batch()
    whole = extracting.end_to_end(backbone, dataset, options, asked.out)
    return {
        "end to end/s": whole,
        "decoding/s": decoding,
        "network/s": network,
        "of the slower": whole / min(decoding, network),
        "asked": "0.9 of the slower",
    }


def fp32(asked: Asked) -> Facts:
    """Float32 features of the device against the CPU's, also where TF32 is asked for outside."""
    networks = [("resnet50", 2048, 224), ("efficientnet_lite0", 1280, 224), ("vit_small_patch16_224", 384, 224)]
    facts: Facts = {"asked": "1e-5"}
    for name, features, size in [("test_resnet", 96, 32)] if asked.dry else networks:
        backbone = build_backbone(extracting.spec(name, features, size), asked.out)
        pixels = backbone.noise(8)
        expected = Forward(backbone, "cpu", "fp32", 8)(pixels)
        for way in ("highest", "high"):
            torch.set_float32_matmul_precision(way)
            given = Forward(backbone, asked.device, "fp32", 8)(pixels)
            torch.set_float32_matmul_precision("highest")
            off = float(np.abs(given - expected).max() / np.abs(expected).max())
            facts[f"{name}, {way}"] = off
            if off > 1e-5:
                facts["failed"] = f"{name}, {way}: off by {off:.1e}"
    return facts


def bf16(asked: Asked) -> Facts:
    """Accuracy of a ten-shot probe of digits on bf16 features against fp32's; trained weights where they are there."""
    from PIL import Image
    from sklearn.datasets import load_digits

    from probebench.registry import Registry

    entry = extracting.spec("test_resnet", 96, 32) if asked.dry else _lite0(Registry.load(environ={}))
    backbone, digits = build_backbone(entry, asked.out), load_digits()
    count, side = (60 if asked.dry else 1797), backbone.input.size
    images = [Image.fromarray((16 * one).clip(0, 255).astype(np.uint8)).resize((side, side)) for one in digits.images]
    pixels = torch.from_numpy(np.stack([np.asarray(one.convert("RGB")) for one in images[:count]]))
    labels = digits.target[:count]
    draw = np.concatenate([np.flatnonzero(labels == label)[: 2 if asked.dry else 10] for label in range(10)])
    rest = np.setdiff1d(np.arange(count), draw)
    facts: Facts = {"asked": "0.2 points"}
    for dtype in ("fp32", "bf16"):
        forward = Forward(backbone, asked.device, dtype, 32)
        rows = np.concatenate([forward(part) for part in torch.split(pixels, 32)]).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1).mean()
        fit = logistic_sweep(rows, labels, [draw], [100.0], device=asked.device)
        facts[f"{dtype} %"] = 100 * float(fit.score(rows[rest], labels[rest])[0, 0])
    facts["points apart"] = facts["bf16 %"] - facts["fp32 %"]
    return facts


def _lite0(registry: Any) -> Any:
    return registry.checkpoint("efficientnet_lite0_in1k")


def finetune(asked: Asked) -> Facts:
    """RN50's training loop against a bare one; a training that goes on from the disk; memory that runs out by force."""
    name, size, batch, steps = ("test_resnet", 32, 4, 2) if asked.dry else ("resnet50", 224, 128, 40)
    options = replace(TrainingOptions.resolve(asked.device), workers=0 if asked.dry else 16)
    light = Augment(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.5)
    bare = finetuning.bare(name, size, batch, steps, options)
    objective: Any = Classification
    loss = objective.loss

    def runs_out(own: Any, model: Any, inputs: Any, targets: Any) -> Any:
        if len(inputs) > batch // 2:
            raise torch.OutOfMemoryError("CUDA out of memory, by force")
        return loss(own, model, inputs, targets)

    with tempfile.TemporaryDirectory() as folder:
        whole = finetuning.harness(name, size, batch, steps, options, light, Path(folder))
        again, off = finetuning.resumed(name, size, batch, 2 if asked.dry else 10, options, light, Path(folder))
        objective.loss = runs_out
        try:
            halved = finetuning.harness(name, size, batch, 2, options, light, Path(folder))
        finally:
            objective.loss = loss
    facts: Facts = {"bare/s": bare, "ours/s": whole, "of bare": whole / bare, "halved/s": halved, "resumed/s": again}
    facts |= {"resumed loss off by": off, "asked": "0.9 of bare, resumed too; losses within 1%"}
    return {**facts, **({"failed": f"the resumed loss is off by {off:.1e}"} if off > 0.01 else {})}


def cheap(asked: Asked) -> Facts:
    """Neighbours and ridge on the device: seconds, and whether they predict what they do on the CPU."""
    width, classes, count = (8, 3, 60) if asked.dry else (2048, 100, 20_000)
    rows, labels = made_there(count + 500, width, classes, asked.device)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    train, queries = Labelled(unit[:count], labels[:count]), unit[count:]
    facts: Facts = {"asked": "equal predictions"}
    predicted: dict[str, list[Any]] = {}
    pick = stream.pick_device
    for device in (asked.device, "cpu"):
        stream.pick_device = lambda name, device=device: torch.device(device)  # type: ignore[misc]
        try:
            began = time.perf_counter()
            ((near,),) = knn.fit_paths([train], [20.0], temperature=0.07)
            predicted.setdefault("knn", []).append(near.predict(queries))
            facts[f"knn, {device} s"] = time.perf_counter() - began
            began = time.perf_counter()
            (path,) = ridge.fit_paths([train], np.logspace(-2, 2, 5).tolist())
            predicted.setdefault("ridge", []).append(path[2].predict(queries))
            facts[f"ridge, {device} s"] = time.perf_counter() - began
        finally:
            stream.pick_device = pick
    for name, (one, other) in predicted.items():
        facts[f"{name} differ"] = int((one != other).sum())
    return facts


def cuml(asked: Asked) -> Facts:
    """CuML against ours on one problem, where it is installed."""
    from probebench.probes import cuml_, torch_

    try:
        cuml_.require()
    except UsageError:
        return {"left out": "cuML is not here (benchmarks/gpu_wheels.sh DIR --cuml)"}
    rows, labels = made_there(20_000, 768, 100, asked.device)
    data = Labelled(rows.astype(np.float32), labels)
    facts: Facts = {}
    for name, fit in (("cuML", cuml_.fit_paths), ("ours", torch_.fit_paths)):
        began = time.perf_counter()
        ((probe,),) = fit([data], [1.0])
        facts[f"{name} s"], facts[f"{name} converged"] = time.perf_counter() - began, probe.converged
    return facts


PHASES: dict[str, Callable[[Asked], Facts]] = {
    "rates": rates,
    "tests": tests,
    "sweep": sweep,
    "few-shot": few_shot,
    "rn50": rn50,
    "jpegs": jpegs,
    "fp32": fp32,
    "bf16": bf16,
    "finetune": finetune,
    "cheap": cheap,
    "cuml": cuml,
}
