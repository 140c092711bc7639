"""Heads that start from the names of the classes: for which checkpoints, and from which words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probebench.errors import CacheError
from probebench.evaluation import ProbeTask, evaluate, probing
from probebench.evaluation.plan import plan_probes
from probebench.evaluation.text_start import start_prompts, start_vectors
from probebench.evaluation.zeroshot import Prompts
from probebench.probes.base import Matrix
from probebench.registry import CheckpointSpec, Registry
from probebench.registry.load import read_entry
from tests.cache.test_key import key
from tests.conftest import write_entry
from tests.evaluation.conftest import Make

FACTS = {"library": "open_clip", "name": "ViT-S-32-alt", "features": 256, "layer": "projected", "size": 224}


def test_only_projected_features_of_a_language_image_network_and_a_protocol_that_says_so(
    shipped: Registry, tmp_path: Path
) -> None:
    clip = read_entry(write_entry(tmp_path, **FACTS), CheckpointSpec)
    digits, elevater = shipped.dataset("digits"), shipped.protocol("elevater")
    words = start_prompts(elevater, clip, "projected", digits)
    assert words is not None and words.names == digits.readable_classes
    assert start_prompts(elevater, clip, "pooled", digits) is None
    assert start_prompts(elevater, shipped.checkpoint("efficientnet_lite0_in1k"), "projected", digits) is None
    assert start_prompts(shipped.protocol("default"), clip, "projected", digits) is None


def test_a_set_without_an_entry_has_no_names_at_hand(shipped: Registry, tmp_path: Path, make: Make) -> None:
    clip = read_entry(write_entry(tmp_path, **FACTS), CheckpointSpec)
    group = replace(make(), model=clip.id, key=key(layer="projected"))
    registry = replace(shipped, checkpoints={**shipped.checkpoints, clip.id: clip})
    plan = plan_probes(registry, [group], ["elevater", "default"])
    assert {task.protocol.id for task in plan.tasks} == {"default"}
    assert "starts from the names of the classes" in plan.problems[0] and len(plan.problems) == 1


def test_the_words_are_part_of_the_result_and_the_head_starts_from_them(
    make: Make, task: Callable[..., ProbeTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = task(make(), shots=5, draws=1, protocol="elevater")
    few = plain.protocol.solver.model_copy(update={"learning_rates": (1e-6,), "final_epochs": 1})
    plain = replace(plain, protocol=plain.protocol.model_copy(update={"solver": few}))
    words = Prompts(("a", "b", "c", "d"), ("{}",))
    asked = list[tuple[object, ...]]()

    def vectors(*given: object) -> Matrix:
        asked.append(given)
        return np.eye(4, 12)

    monkeypatch.setattr(probing, "start_vectors", vectors)
    one, _ = evaluate(plain, tmp_path)
    other, _ = evaluate(replace(plain, prompts=words), tmp_path)
    assert replace(plain, prompts=words).digest != plain.digest
    assert asked == [(plain.checkpoint, plain.key, words)]
    assert other.environment["prompts"] == {"names": ["a", "b", "c", "d"], "templates": ["{}"]}
    assert "prompts" not in one.environment and one.mean != other.mean
    assert other.trials[0].converged is None and one.metric == "accuracy"


def test_vectors_of_other_weights_are_refused(home: Path, tmp_path: Path) -> None:
    clip = read_entry(write_entry(tmp_path, **FACTS), CheckpointSpec)
    with pytest.raises(CacheError, match="are of other weights"):
        start_vectors(clip, key(layer="projected"), Prompts(("a", "b"), ("{}",)))
