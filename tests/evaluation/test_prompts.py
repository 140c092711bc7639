"""Prompts of data sets: those of CLIP_benchmark to the letter, and the class vectors that come of them."""

import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from probebench.datasets.facts import entry_facts
from probebench.evaluation.zeroshot import DEFAULT_TEMPLATES, Prompts, class_embeddings
from probebench.registry import Registry
from probebench.registry.dataset import DatasetSpec
from tests.evaluation.prompts import ARCHITECTURE, GOLDEN, SETS, digest, some, tower

SPECS = list(Registry.load(environ={}).datasets.values())
PROMPTED = json.loads(GOLDEN.read_text())
SOURCE = f"{PROMPTED['source']}: "


@pytest.fixture(scope="module")
def clip() -> Iterator[Any]:
    import open_clip

    # Reading the tokenizer's words takes longer than anything else here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_clip, "get_tokenizer", functools.cache(open_clip.get_tokenizer))
        yield tower()


def by_hand(clip: Any, prompts: Prompts) -> Any:
    """CLIP_benchmark's procedure in words: the mean of a class's unit vectors, made a unit vector."""
    import open_clip

    tokenizer, vectors = open_clip.get_tokenizer(ARCHITECTURE), []
    with torch.no_grad():
        for name in prompts.names:
            texts = clip.encode_text(tokenizer([template.format(name) for template in prompts.templates]))
            mean = (texts / texts.norm(dim=1, keepdim=True)).mean(dim=0)
            vectors.append(mean / mean.norm())
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_an_entry_has_the_prompts_that_it_says_it_has(spec: DatasetSpec) -> None:
    assert entry_facts(spec)["prompt_source"] == spec.prompt_source, "a reader of datasets show does not see it"
    assert spec.prompt_source.startswith(SOURCE) == (spec.id in SETS), "another list than the entry says"
    if spec.id not in SETS:
        assert spec.prompt_source.startswith("ours: ")
        return
    known = PROMPTED["sets"][spec.id]
    assert spec.prompt_source.removeprefix(SOURCE).replace(".", ",").split(",")[0] == known["set"]
    assert digest(spec.readable_classes) == known["names"], "class names, their case or their order"
    assert digest(spec.templates) == known["templates"], "templates or their order"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_class_vectors(spec: DatasetSpec, clip: Any) -> None:
    prompts = Prompts.of(spec, ())
    chosen = Prompts(tuple(prompts.names[label] for label in some(len(prompts.names))), prompts.templates)
    vectors = class_embeddings(clip, ARCHITECTURE, chosen)
    np.testing.assert_allclose(vectors, by_hand(clip, chosen), atol=1e-6)
    if spec.id in SETS:
        np.testing.assert_allclose(vectors, PROMPTED["sets"][spec.id]["vectors"], atol=1e-5)


def test_published_numbers_of_templates(shipped: Registry) -> None:
    assert [len(shipped.dataset(name).templates) for name in ("imagenet1k", "svhn", "pcam")] == [80, 6, 2]


def test_where_an_entry_differs_it_says_why() -> None:
    assert {spec.id for spec in SPECS if "Differs: " in spec.prompt_source} == {"caltech101", "cifar100"}


def test_a_set_without_an_entry_is_named_in_words() -> None:
    assert Prompts.of(None, ("red_car", "cat")) == Prompts(("red car", "cat"), DEFAULT_TEMPLATES)
    assert Prompts.of(None, ("cat",), ["{}!"]).templates == ("{}!",)


def test_words_are_of_the_class_that_they_name() -> None:
    """Where names in words are the files' own with other separators, none may have changed places."""
    for spec in SPECS:
        plain = [name.replace("_", " ").replace("/", " ") for name in spec.classes]
        if spec.prompts and sorted(plain) == sorted(spec.prompts):
            assert list(spec.prompts) == plain, spec.id
