from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probebench.arrays import Features, Labels
from probebench.cache.index import FeatureGroup, read_index
from probebench.cache.store import feature_path
from probebench.cache.writer import FeatureWriter, Provenance
from probebench.evaluation import ProbeTask
from probebench.probes.backends import backend_name
from probebench.registry import Registry
from probebench.registry.entry import Shots
from tests.cache.test_key import key

Make = Callable[..., FeatureGroup]


def features_of(labels: Labels, seed: int, width: int = 12) -> Features:
    centres = np.random.default_rng(99).normal(size=(labels.max() + 1, width)) * 1.2
    rows: Features = centres[labels] + np.random.default_rng(seed).normal(size=(len(labels), width))
    return rows.astype(np.float32)


def store(home: Path, split: str, labels: Labels, splits: tuple[str, ...], seed: int) -> None:
    own = key(split=split)
    path = feature_path(home, "efficientnet_lite0_in1k", "made_up", own)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"{split}-{number}" for number in range(len(labels))]
    provenance = Provenance(own, "efficientnet_lite0_in1k", "made_up", splits, {"device": "cpu", "batch_size": 4})
    with FeatureWriter(path, provenance, ids, labels, 12) as writer:
        writer.append(features_of(labels, seed))
        writer.finish()


@pytest.fixture
def make(home: Path) -> Make:
    def build(train: int = 30, test: int = 40, val: int = 0, classes: int = 4) -> FeatureGroup:
        splits = ("train", "val", "test") if val else ("train", "test")
        for number, (split, each) in enumerate({"train": train, "val": val, "test": test}.items()):
            if each:
                store(home, split, np.tile(np.arange(classes), each), splits, seed=number)
        (group,) = read_index(home).groups
        return group

    return build


@pytest.fixture
def task(shipped: Registry) -> Callable[..., ProbeTask]:
    def build(
        group: FeatureGroup, shots: Shots = 5, draws: int = 3, protocol: str = "default", backend: str | None = None
    ) -> ProbeTask:
        checkpoint, spec = shipped.checkpoint("efficientnet_lite0_in1k"), shipped.protocol(protocol)
        return ProbeTask(
            group=group,
            checkpoint=checkpoint,
            protocol=spec,
            shots=shots,
            draws=draws,
            backend=backend or backend_name(spec, "auto"),
        )

    return build
