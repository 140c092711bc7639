"""The features of a folder of images by thingsvision 2.7.3, as its documentation extracts them, timed.

Runs under the peer's own Python (benchmarks/README.md builds its environment) and needs nothing of probebench:
    PEER/bin/python benchmarks/peers/thingsvision_extract.py --images FOLDER --out FILE --model resnet50 --weights FILE

The peer's own, with its defaults: ``get_extractor`` from its timm source, whose network keeps its classifier;
timm's evaluation transform; ``ImageDataset``; ``extract_features`` at one module, float32, by a forward hook, with its
progress bar, kept in memory. Features are not normalised.

Its own DataLoader decodes in the process that computes and takes no workers: ``--workers 0``, the default. It takes
torch's DataLoader too: any other ``--workers`` is torch's over the peer's data set, its best case. ``extract_features``
draws one batch first to see what the loader yields and throws it away: that is in the time, and with workers it is as
many batches as they had begun.

Not its defaults: the weights come from a file and the device is a CPU, where it asks for CUDA and falls back. It reads
timm's input size from the model's configuration, so another ``--size`` is written there.

Timed is ``extract_features`` alone: the model is built, nothing is warmed up, and starting workers counts.
"""

import argparse
import contextlib
import importlib.metadata
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from thingsvision import get_extractor
from thingsvision.utils.data import DataLoader, ImageDataset


def build(name: str, weights: Path, size: int) -> Any:
    """Returns the peer's extractor with a file's weights; only the classifier, which no feature needs, may lack."""
    extractor = get_extractor(model_name=name, source="timm", device="cpu", pretrained=False)
    model = extractor.model
    classifier = str(model.pretrained_cfg["classifier"])
    missing, unexpected = model.load_state_dict(torch.load(weights, map_location="cpu"), strict=False)
    wrong = [*unexpected, *(key for key in missing if key.rpartition(".")[0] != classifier)]
    if wrong:
        raise SystemExit(f"{weights} does not fit timm's {name}: {wrong[0]} and {len(wrong) - 1} more")
    model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, size, size)}
    return extractor


def extract(arguments: argparse.Namespace, scratch: Path) -> tuple[npt.NDArray[np.float32], list[str], float]:
    """Returns the features, the images' paths relative to the folder, and seconds."""
    torch.set_num_threads(arguments.threads)
    extractor = build(arguments.model, arguments.weights, arguments.size)
    backend = extractor.get_backend()
    dataset = ImageDataset(
        root=str(arguments.images), out_path=str(scratch), backend=backend, transforms=extractor.get_transformations()
    )
    batches: Any
    if arguments.workers:
        batches = torch.utils.data.DataLoader(
            dataset, batch_size=arguments.batch_size, shuffle=False, num_workers=arguments.workers
        )
    else:
        batches = DataLoader(dataset=dataset, batch_size=arguments.batch_size, backend=backend)
    started = time.perf_counter()
    features: npt.NDArray[np.float32] = extractor.extract_features(
        batches=batches, module_name=arguments.module, flatten_acts=True, output_type="ndarray"
    )
    seconds = time.perf_counter() - started
    return features, [Path(path).relative_to(arguments.images).as_posix() for path in dataset.samples], seconds


def main() -> None:
    """Writes features (N, D) and paths (N) to an .npz archive; prints the time as one line of JSON."""
    parser = argparse.ArgumentParser(description="Extract the features of a folder of images with thingsvision.")
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders of images")
    parser.add_argument("--out", type=Path, required=True, help=".npz archive to write, whatever its suffix")
    parser.add_argument("--model", default="resnet50", help="name of a timm model")
    parser.add_argument("--weights", type=Path, required=True, help="its state dict, with or without the classifier")
    parser.add_argument("--module", default="global_pool", help="module whose output is the feature")
    parser.add_argument("--size", type=int, default=224, help="side of the input in pixels")
    parser.add_argument("--batch-size", type=int, default=32, help="the peer's default: 32")
    parser.add_argument("--workers", type=int, default=0, help="0: the peer's own loader; else torch's, with so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads in this process")
    arguments = parser.parse_args()
    # Whatever the peer prints goes to stderr, so that stdout is the one line.
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        features, paths, seconds = extract(arguments, Path(scratch))
    with arguments.out.open("wb") as file:
        np.savez(file, features=features, paths=np.array(paths))
    report = {
        "images": len(paths),
        "seconds": round(seconds, 3),
        "images_per_s": round(len(paths) / seconds, 2),
        "warmed_up": False,
        "peer": f"thingsvision {importlib.metadata.version('thingsvision')}",
        "torch": str(torch.__version__),
        "workers": arguments.workers,
        "threads": arguments.threads,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
