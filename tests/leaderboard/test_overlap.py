from typing import Any

import pytest

from probebench.leaderboard.overlap import Overlap, overlap
from probebench.results.schema import CheckpointFacts
from tests.results.make import checkpoint


def facts(*sources: str, **changes: Any) -> CheckpointFacts:
    named = [{"name": name, "samples": "unknown"} for name in sources]
    return CheckpointFacts.model_validate(checkpoint(sources=named, **changes))


@pytest.mark.parametrize(
    ("sources", "dataset", "answer"),
    [
        (["ImageNet-1k"], "imagenet1k", "yes"),
        (["LAION", "ImageNet-21k"], "imagenet1k", "yes"),
        (["LVD-142M"], "imagenet1k", "yes"),
        (["CIFAR-100"], "cifar100", "yes"),
        (["ImageNet-21k"], "stl10", "yes"),
        (["ImageNet-1k"], "stl10", "unknown"),
        (["YFCC100M"], "country211", "yes"),
        (["YFCC15M"], "country211", "unknown"),
        (["ImageNet-1k"], "digits", "unknown"),
        (["unknown"], "imagenet1k", "unknown"),
    ],
)
def test_only_what_is_known_is_said(sources: list[str], dataset: str, answer: Overlap) -> None:
    assert overlap(facts(*sources), dataset) == answer


def test_no_pretraining_has_seen_nothing() -> None:
    assert overlap(facts(method="none"), "imagenet1k") == "no"
