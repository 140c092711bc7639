"""Writes entezari2023.npz: two sets of features, and what the study's own code makes of them with a frozen network.

From the root of the repository, with CODE a clone of rahimentezari/DataDistributionTransferLearning:
    probebench extract --model efficientnet_lite0_in1k --dataset digits --input-size 64
    python -m tests.finetuning.entezari2023 CODE

Its ``finetune`` runs as it stands, on a network that hands its inputs on and is followed by its own
``ClassificationHead`` at zero: its branch for whole networks, where only the head has anything to learn. Taken out is
what no frozen network on a CPU needs: the cloud bucket, the GPU, and its own data sets, in whose place features come.
"""

import argparse
import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).with_suffix(".npz")
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
# Shots of each class (0: all rows), and seeds: a batch holds all of five shots, so that only rounding can differ.
SEEDS = {5: 2, 0: 6}
CLASSES, TRAIN, TEST = 10, 100, 30


class Passed(torch.nn.Module):
    """A network that hands its inputs on."""

    train_preprocess = val_preprocess = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def first(labels: Any, shots: int) -> Any:
    """Returns the places of the first rows of each class; of all where ``shots`` is 0."""
    if not shots:
        return np.arange(len(labels))
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:shots] for label in range(CLASSES)]))


def correlated(generator: np.random.Generator) -> tuple[Any, Any]:
    """Gaussian classes with features that go together, far from the origin."""
    mixing = generator.normal(0, 1, (32, 32)) * np.geomspace(1, 0.05, 32)[:, None]
    labels = np.repeat(np.arange(CLASSES), TRAIN + TEST)
    rows = generator.normal(0, 1, (len(labels), 32)) @ mixing
    return rows + generator.normal(0, 1.2, (CLASSES, 32))[labels] + 2, labels


def digits() -> tuple[Any, Any]:
    """Every tenth feature of EfficientNet-Lite0 on digits at 64 pixels, from the cache."""
    import probebench as pb

    features = pb.load_features("efficientnet_lite0_in1k", "digits", input_size=64)
    rows = np.concatenate([features.train.X, features.test.X])
    return rows[:, ::10], np.concatenate([features.train.y, features.test.y])


def parted(rows: Any, labels: Any) -> dict[str, Any]:
    """Returns the first rows of each class for training and the next for testing, as float16."""
    which = [np.flatnonzero(labels == label)[: TRAIN + TEST] for label in range(CLASSES)]
    train, test = (np.concatenate([one[part] for one in which]) for part in (slice(TRAIN), slice(TRAIN, None)))
    return {
        "train": rows[train].astype(np.float16),
        "train_labels": labels[train].astype(np.uint8),
        "test": rows[test].astype(np.float16),
        "test_labels": labels[test].astype(np.uint8),
    }


def load(code: Path) -> Any:
    """Imports the code's ``finetune`` without its bucket, GPU, text tower and data sets."""
    for name in ("google", "google.cloud", "google.cloud.storage", "clip", "models.simclr", "models.simclr.models"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["google.cloud"].storage = sys.modules["google.cloud.storage"]  # type: ignore[attr-defined]
    sys.modules["models.simclr"].models = sys.modules["models.simclr.models"]  # type: ignore[attr-defined]
    package = types.ModuleType("datasets")
    package.__path__ = [str(code / "src" / "datasets")]
    sys.modules["datasets"] = package
    sys.path.insert(0, str(code / "src"))
    from models import finetune  # type: ignore[import-not-found]

    evaluate = finetune.evaluate_
    finetune.evaluate_ = lambda args, loader, model, device: evaluate(args, loader, model, "cpu")
    finetune.upload_blob = lambda *_: None
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_: self  # type: ignore[method-assign,assignment]
    return finetune


def run(finetune: Any, data: dict[str, Any], shots: int, rate: float, seed: int) -> tuple[Any, Any, Any]:
    """Returns right test images after each epoch (128,), and what the best and the last epoch predict."""
    from models.modeling import ClassificationHead, ImageClassifier  # type: ignore[import-not-found]

    chosen = first(data["train_labels"], shots)
    tensors = [
        (torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(labels.astype(np.int64)))
        for rows, labels in (
            (data["train"][chosen], data["train_labels"][chosen]),
            (data["test"], data["test_labels"]),
        )
    ]
    sets = {True: tensors[0], False: tensors[1]}
    finetune.get_dataset = lambda is_train, args: (torch.utils.data.TensorDataset(*sets[is_train]), CLASSES)
    told: list[Any] = []
    finetune.upload_pkl = lambda bucket, pickled, name: told.append(pickle.loads(pickled))
    sys.argv = ["finetune", "--train-dataset", "features", "--epochs", "128", "--lr", str(rate), "--load", "none"]
    sys.argv += ["--upstream_loss", "SimCLR", "--finetune_strategy", "ft", "--save", ".", "--save_ckpt_freq", "1"]
    sys.argv += ["--num_workers", "0", "--no_pin_mem", "--seed", str(seed)]
    args = finetune.parse_arguments()
    head = ClassificationHead(normalize=True, weights=torch.zeros(CLASSES, data["train"].shape[1]))
    args.classifier = ImageClassifier(Passed(), head)
    torch.manual_seed(seed)
    np.random.seed(seed)
    finetune.finetune(args)
    right = np.round(np.array(told[-1]["acc1"]) / 100 * len(sets[False][1])).astype(np.uint16)
    predicted = []
    for name in ("best", "last"):
        network = ImageClassifier.load(f"checkpoint_{name}.pt").eval()
        with torch.no_grad():
            predicted.append(network(sets[False][0]).argmax(dim=1).numpy().astype(np.uint8))
    return right, *predicted


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("code", type=Path)
    code = parser.parse_args().code.resolve()
    sets = {"digits": parted(*digits()), "correlated": parted(*correlated(np.random.default_rng(0)))}
    finetune = load(code)
    commit = subprocess.run(["git", "-C", code, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    made: dict[str, Any] = {f"{name}_{part}": rows for name, data in sets.items() for part, rows in data.items()}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        for name, data in sets.items():
            for shots, seeds in SEEDS.items():
                runs = []
                for rate in RATES:
                    for seed in range(seeds):
                        with contextlib.redirect_stdout(io.StringIO()):
                            runs.append(run(finetune, data, shots, rate, seed))
                for number, kind in enumerate(("right", "best", "last")):
                    stacked = np.stack([one[number] for one in runs])
                    made[f"{name}_{shots}_{kind}"] = stacked.reshape(len(RATES), seeds, -1)
                print(name, shots, made[f"{name}_{shots}_right"].max(axis=2), flush=True)
    about = {
        "source": "github.com/rahimentezari/DataDistributionTransferLearning, src/models/finetune.py: finetune",
        "commit": commit.stdout.strip(),
        "settings": "its defaults but for " + " ".join(sys.argv[3:]) + "; rates and seeds as in RATES and SEEDS",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    np.savez_compressed(GOLDEN, about=json.dumps(about), **made)


if __name__ == "__main__":
    main()
