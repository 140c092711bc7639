"""Results with planted effects: what every number would be without noise is known."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probebench.results.schema import CheckpointFacts, Result, SourceFact, Trial
from tests.results.make import checkpoint, result, trial

LEVELS: tuple[int | str, ...] = (1, 5, 10, 20, "full")
SOURCES = ("LAION", "YFCC", "RedCaps", "Shutterstock", "CC3M", "WIT")
DATASETS = ("cifar100", "dtd", "eurosat", "pets", "cassava")
IMAGES = 2000
DRAWS = 5
_RESULT = result()
_TRIAL = Trial.model_validate(trial())
_FACTS = CheckpointFacts.model_validate(checkpoint())


@dataclass(frozen=True)
class Pretraining:
    """A checkpoint of a made-up study."""

    source: str
    samples: int = 2_700_000
    method: str = "language-image"
    objective: str = "clip"
    architecture: str = "open_clip/RN50"
    labels: str = "captions"
    curation: str = "filtered"

    @property
    def name(self) -> str:
        return f"{self.method}_{self.source}_{self.samples}_{self.architecture}_{self.labels}".replace("/", "_").lower()


def alarms(found: Sequence[Sequence[str]]) -> int:
    """Counts the data sets in which any effect was reported."""
    return sum(bool(one) for one in found)


Truth = Callable[[Pretraining, str, int | str], float]


def results(
    generator: np.random.Generator,
    pretrainings: Sequence[Pretraining],
    truth: Truth,
    *,
    datasets: Sequence[str] = DATASETS,
    levels: Sequence[int | str] = LEVELS,
    images: int = IMAGES,
    draw_noise: float = 0.02,
    **changes: Any,
) -> list[Result]:
    """Makes one result for each cell: binomial test images, easy and hard draws shared by all, and a rest of each draw.

    ``draw_noise`` is the SD that draws add at 1 shot; it falls with the root of the shots.
    """
    made = []
    for dataset in datasets:
        for shots in levels:
            draws = 1 if shots in (0, "full") else DRAWS
            noise = 0.0 if draws == 1 else draw_noise / np.sqrt(max(int(shots), 1))
            shared = generator.normal(0, noise, draws)
            for one in pretrainings:
                mean = truth(one, dataset, shots)
                # Every draw is judged on the same images: their share of the noise does not fall with more draws.
                seen = generator.binomial(images, mean) / images
                scores = np.clip(seen + shared - shared.mean() + generator.normal(0, noise, draws), 0, 1)
                made.append(_result(one, dataset, shots, scores, images, changes))
    return made


def _result(
    one: Pretraining, dataset: str, shots: Any, scores: np.ndarray, images: int, changes: dict[str, Any]
) -> Result:
    trials = [
        _TRIAL.model_copy(update={"draw_seed": seed, "draw_digest": digest(dataset, shots, seed), "test_score": score})
        for seed, score in enumerate(scores.tolist())
    ]
    facts = _FACTS.model_copy(
        update={
            "method": one.method,
            "objective": one.objective,
            "architecture": one.architecture,
            "sources": [SourceFact.model_construct(name=one.source, samples=one.samples)],
            "labels": one.labels,
            "curation": one.curation,
        }
    )
    return _RESULT.model_copy(
        update={
            "model": one.name,
            "checkpoint": facts,
            "dataset": dataset,
            "shots": shots,
            "trials": trials,
            "mean": float(scores.mean()),
            "ci95": None,
            "n_test": images,
            **changes,
        }
    )


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
