from typing import Any

import pytest

from probebench.registry import Registry
from probebench.registry.source import Shared, SourceSpec
from probebench.results.overlap import Overlap, overlap, shared_concepts
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
    assert overlap(facts(*sources), dataset, {}) == answer


def test_no_pretraining_has_seen_nothing() -> None:
    assert overlap(facts(method="none"), "imagenet1k", {}) == "no"


def searched(shipped: Registry, exact: int, near: int, concepts: int = 0) -> dict[str, SourceSpec]:
    shared = {"letters": Shared(exact=exact, near=near, concepts=concepts, test=200)}
    return {"emoji_noto": shipped.source("emoji_noto").model_copy(update={"shared": shared})}


@pytest.mark.parametrize(
    ("exact", "near", "answer"), [(0, 0, "no"), (1, 0, "no"), (1, 1, "yes"), (0, 2, "yes"), (3, 0, "yes")]
)
def test_a_searched_source_is_told_by_what_was_found(shipped: Registry, exact: int, near: int, answer: Overlap) -> None:
    sources = searched(shipped, exact, near)
    assert overlap(facts("emoji_noto"), "letters", sources) == answer
    assert overlap(facts("emoji_noto"), "digits", sources) == "unknown"
    # One source of two was searched: what it shares counts, what it does not says nothing of the other.
    assert overlap(facts("emoji_noto", "LAION"), "letters", sources) == ("yes" if answer == "yes" else "unknown")


def test_shared_concepts_are_no_shared_images(shipped: Registry) -> None:
    sources = searched(shipped, 0, 0, concepts=150)
    assert overlap(facts("emoji_noto"), "letters", sources) == "no"
    assert shared_concepts(facts("emoji_noto"), "letters", sources) == 0.75
    assert shared_concepts(facts("LAION"), "letters", sources) == 0
