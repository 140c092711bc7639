"""A large leaderboard made up: what a page must stay quick on."""

import numpy as np

from probebench.results.schema import CheckpointFacts, Result, SourceFact, Trial
from tests.results.make import result, trial

METHODS = ("supervised", "language-image", "image-image")
SOURCES = ("YFCC15M", "LAION", "RedCaps", "Shutterstock", "CC3M", "CC12M", "WIT", "ImageNet-1k")
ARCHITECTURES = (
    "timm/resnet50",
    "timm/vit_base_patch16_224",
    "open_clip/ViT-B-32",
    "timm/convnext_tiny",
    "timm/own_net",
)
DATASETS = ("caltech101", "cassava", "cct20", "cifar100", "dtd", "domainnet_clipart", "domainnet_real", "eurosat")
RUNS = (
    ("zeroshot", "text", "clip", 0),
    *(("probe", "logistic", "default", shots) for shots in (1, 5, 10, "full")),
    ("finetune", "full", "quick", "full"),
)


def many_results(checkpoints: int, datasets: int, seed: int = 0) -> list[Result]:
    """Returns results of each checkpoint on each data set: zero-shot, four numbers of shots and a full fine-tune."""
    random = np.random.default_rng(seed)
    plain = result()
    names = [*DATASETS, *(f"set{number}" for number in range(len(DATASETS), datasets))][:datasets]
    draws = [Trial.model_validate(trial(number)) for number in range(5)]
    found = []
    for number in range(checkpoints):
        facts = _facts(number, random)
        skill = random.normal(0, 0.06)
        for place, name in enumerate(names):
            for kind, mode, protocol, shots in RUNS:
                level = {0: 0.45, 1: 0.4, 5: 0.55, 10: 0.63, "full": 0.75 if kind == "probe" else 0.8}[shots]
                mean = float(np.clip(level + skill + 0.03 * np.sin(place) + random.normal(0, 0.02), 0.01, 0.99))
                changes = {
                    **{"kind": kind, "mode": mode, "protocol": protocol, "shots": shots, "dataset": name},
                    **{"model": f"checkpoint_{number:04d}", "checkpoint": facts, "mean": mean},
                    **{
                        "ci95": (max(mean - 0.02, 0.0), min(mean + 0.02, 1.0)),
                        "predictions": {"file": "", "sha256": ""},
                    },
                    "trials": [
                        one.model_copy(update={"test_score": mean})
                        for one in (draws if shots not in (0, "full") else draws[:1])
                    ],
                }
                found.append(plain.model_copy(update=changes))
    return found


def _facts(number: int, random: np.random.Generator) -> CheckpointFacts:
    method, source = METHODS[number % 3], SOURCES[number % 8]
    size = int(10 ** random.uniform(5.7, 9.3))
    return result().checkpoint.model_copy(
        update={
            "title": f"Checkpoint {number}, {source}, {method}",
            "method": method,
            "sources": [SourceFact(name=source, samples=size)],
            "architecture": ARCHITECTURES[number % 5],
        }
    )
