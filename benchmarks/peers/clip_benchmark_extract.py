"""The features of a folder of images by CLIP_benchmark 1.6.2, as its linear probe caches them, timed.

Runs under the peer's own Python (benchmarks/README.md builds its environment) and needs nothing of probebench:
    PEER/bin/python benchmarks/peers/clip_benchmark_extract.py --images FOLDER --out FILE --model RN50 --weights FILE

The peer's own, with its defaults: ``load_clip`` for the model and open_clip's evaluation transform; ``build_dataset``
(its ``imagenet1k-unverified``, which is torchvision's ImageFolder); the DataLoader of its command line; ``Featurizer``
(float32 embeddings, L2-normalised unless told otherwise) in the caching loop of ``linear_probe.evaluate``, with its
progress bar, its DataParallel, and its feature files written and read back. Normalise ours to compare.

Not its defaults: mixed precision is off (its ``--no_amp``), and the loop runs on a CPU, which the peer refuses. Its
source is taken as installed, with two words changed (``EDITS``) and everything after the caching, the probe, left out.

Timed is the loop alone, from its call to the features in memory: the model is built, nothing is warmed up, and starting
the loader's workers counts.
"""

import argparse
import contextlib
import importlib.metadata
import inspect
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import linear_probe
from clip_benchmark.models import load_clip

DATASET = "imagenet1k-unverified"
EDITS = (
    ("assert device == 'cuda'", "assert device == 'cpu'"),
    ("Featurizer(model, normalize).cuda()", "Featurizer(model, normalize).to(device)"),
)
PROBE_BEGINS = "    # second, make a dataloader with k features per class"


def caching_loop() -> Callable[..., torch.Tensor]:
    """Returns the peer's ``evaluate`` up to its cached training features, for a CPU."""
    source = inspect.getsource(linear_probe.evaluate)
    for old, new in (*EDITS, (PROBE_BEGINS, PROBE_BEGINS)):
        if source.count(old) != 1:
            raise SystemExit(f"this CLIP_benchmark is another than 1.6.2: {old.strip()!r} is not once in its evaluate")
        source = source.replace(old, new)
    namespace = dict(vars(linear_probe))
    exec(source.partition(PROBE_BEGINS)[0] + "    return features\n", namespace)
    loop: Callable[..., torch.Tensor] = namespace["evaluate"]
    return loop


def load(name: str, weights: Path, size: int) -> tuple[Any, Any]:
    """Returns the peer's model and transform; its input size is the one in open_clip's configuration."""
    if not weights.is_file():
        raise SystemExit(f"weights file {weights} does not exist")
    model, transform, _ = load_clip("open_clip", name, str(weights), cache_dir=None, device="cpu")
    side = model.visual.image_size
    own = side if isinstance(side, int) else side[0]
    if size != own:
        raise SystemExit(f"{name} takes {own} px, and CLIP_benchmark has no option for another size than a model's own")
    return model.eval(), transform


def extract(arguments: argparse.Namespace, scratch: Path) -> tuple[torch.Tensor, list[str], float]:
    """Returns the features, the images' paths relative to the folder, and seconds."""
    torch.set_num_threads(arguments.threads)
    model, transform = load(arguments.model, arguments.weights, arguments.size)
    root = scratch / "data"
    root.mkdir()
    (root / "train").symlink_to(arguments.images.resolve(), target_is_directory=True)
    dataset = build_dataset(DATASET, root=str(root), transform=transform, split="train", task="linear_probe")
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=arguments.batch_size,
        shuffle=False,
        num_workers=arguments.workers,
        collate_fn=get_dataset_collate_fn(DATASET),
        pin_memory=True,
    )
    loop = caching_loop()
    settings = {"fewshot_k": -1, "lr": 0.1, "epochs": 10, "model_id": "model", "seed": 0, "device": "cpu", "amp": False}
    settings |= {"batch_size": arguments.batch_size, "num_workers": arguments.workers, "feature_root": str(scratch)}
    started = time.perf_counter()
    features = loop(model, loader, None, **settings)
    seconds = time.perf_counter() - started
    return features, [Path(path).relative_to(root / "train").as_posix() for path, _ in dataset.samples], seconds


def main() -> None:
    """Writes features (N, D) and paths (N) to an .npz archive; prints the time as one line of JSON."""
    parser = argparse.ArgumentParser(description="Extract the features of a folder of images with CLIP_benchmark.")
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders of images")
    parser.add_argument("--out", type=Path, required=True, help=".npz archive to write, whatever its suffix")
    parser.add_argument("--model", default="RN50", help="name of an open_clip model")
    parser.add_argument("--weights", type=Path, required=True, help="state dict of that whole open_clip model")
    parser.add_argument("--size", type=int, default=224, help="side of the input; must be the model's own")
    parser.add_argument("--batch-size", type=int, default=64, help="the peer's default: 64")
    parser.add_argument("--workers", type=int, default=4, help="the peer's default: 4")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads in this process")
    arguments = parser.parse_args()
    # Whatever the peer prints goes to stderr, so that stdout is the one line.
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        features, paths, seconds = extract(arguments, Path(scratch))
    with arguments.out.open("wb") as file:
        np.savez(file, features=features.numpy(), paths=np.array(paths))
    report = {
        "images": len(paths),
        "seconds": round(seconds, 3),
        "images_per_s": round(len(paths) / seconds, 2),
        "warmed_up": False,
        "peer": f"clip_benchmark {importlib.metadata.version('clip-benchmark')}",
        "torch": str(torch.__version__),
        "workers": arguments.workers,
        "threads": arguments.threads,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
