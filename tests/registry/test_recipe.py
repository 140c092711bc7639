import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from probebench.registry import Registry
from probebench.registry.recipe_uri import RecipeUri
from probebench.registry.schema import CheckpointSpec, RecipeSpec

MINI = ("mini_supervised", "mini_clip", "mini_simclr")
# What may differ between methods under control.
OWN = {"id", "title", "paper", "url", "method", "objective", "architecture", "templates", "temperature", "projector"}


def changed(spec: RecipeSpec, **changes: Any) -> RecipeSpec:
    values = {**spec.model_dump(exclude_unset=True), **changes}
    return RecipeSpec.model_validate({key: value for key, value in values.items() if value is not None})


def test_the_small_recipes_see_the_same_images_as_often_under_the_same_preprocessing(shipped: Registry) -> None:
    values = [shipped.recipe(name).model_dump(exclude={*OWN, "origin"}) for name in MINI]
    for one in values:
        # Each method's rate is its own.
        del one["optimizer"]["learning_rate"]
    assert values[0] == values[1] == values[2]
    networks = {shipped.recipe(name).architecture.name.removeprefix("mini_") for name in MINI}
    assert len(networks) == 1


def test_every_shipped_recipe_says_where_each_value_comes_from(shipped: Registry) -> None:
    assert set(shipped.recipes) >= {*MINI, "entezari2023_clip_rn50", "entezari2023_simclr_rn50", "in1k_rn50"}
    for spec in shipped.recipes.values():
        assert set(spec.origin) >= {"optimizer", "schedule", "views", "architecture", "batch_size"}


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("mini_supervised", {"projector": {"hidden": 2, "output": 2}}, "temperature and projector belong to simclr"),
        ("mini_simclr", {"objective": "clip"}, "image-image takes 'simclr'"),
        ("mini_simclr", {"temperature": None}, "temperature and projector belong to simclr"),
        ("mini_supervised", {"temperature": 0.1}, "temperature and projector belong to simclr"),
        ("mini_simclr", {"label_smoothing": 0.1}, "label_smoothing belongs to cross-entropy"),
        ("mini_clip", {"templates": ["a {} of {}"]}, "no one place"),
        ("mini_simclr", {"templates": ["a {}"]}, "templates belong to clip"),
        ("mini_simclr", {"epochs": 3}, "either samples_seen or epochs"),
        ("mini_simclr", {"samples_seen": None}, "either samples_seen or epochs"),
        ("mini_simclr", {"views": {"blur": 0.5}}, "stored images are not blurred"),
        ("mini_simclr", {"reference_samples": 5}, "origin: says nothing of reference_samples"),
        ("mini_simclr", {"origin": {}}, "origin: says nothing of architecture, batch_size"),
        (
            "mini_clip",
            {"architecture": {"library": "timm", "name": "test_resnet"}},
            "clip trains a network of open_clip",
        ),
        ("mini_simclr", {"surprise": 1}, "Extra inputs"),
    ],
)
def test_what_a_recipe_may_not_say(shipped: Registry, name: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        changed(shipped.recipe(name), **changes)


def test_length(shipped: Registry) -> None:
    mini, paper = shipped.recipe("mini_clip"), shipped.recipe("entezari2023_clip_rn50")
    assert mini.samples_seen == mini.steps(1355) * mini.batch(1355) == mini.steps(5000) * 256
    assert (mini.steps(1000, 3), mini.batch(1000)) == (11, 256) and (mini.steps(10, 3), mini.batch(10)) == (3, 10)
    assert paper.steps(2_700_000) == 32 * 2_700_000 // 1024 and paper.steps(10, 2) == 2


URIS = st.builds(
    RecipeUri,
    recipe=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True),
    sources=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3, unique=True).map(tuple),
    samples=st.integers(3, 10**9),
    run=st.integers(0, 1000),
    label_noise=st.floats(0, 1),
    captions=st.sampled_from(["names", "templates"]),
    epochs=st.none() | st.integers(1, 500),
)


@given(URIS)
def test_a_uri_says_all_that_was_asked_for(asked: RecipeUri) -> None:
    assert RecipeUri.parse(str(asked)) == asked
    assert sum(asked.parts) == asked.samples and max(asked.parts) - min(asked.parts) <= 1
    assert len(asked.checkpoint) <= 100


@given(URIS, URIS)
def test_ids_differ_where_more_than_the_spelling_of_a_source_does(one: RecipeUri, other: RecipeUri) -> None:
    other = dataclasses.replace(other, sources=one.sources, recipe=one.recipe)
    assert (one.checkpoint == other.checkpoint) == (one == other)


@pytest.mark.parametrize(
    "uri",
    [
        "recipe://mini",
        "recipe://mini?source=a&samples=5",
        "recipe://mini?samples=5&run=0",
        "recipe://mini?source=a&samples=x&run=0",
        "recipe://mini?source=a&samples=5&run=0&run=1",
        "recipe://mini?source=a&samples=5&run=-1",
        "recipe://mini?run=0&source=a&samples=5",
        "recipe://mini?source=a&samples=5&run=0&label_noise=2",
        "recipe://mini?source=a&samples=5&run=0&captions=poems",
        "recipe://mini?source=a&samples=5&run=0&weights=/etc/passwd",
        "recipe://../x?source=a&samples=5&run=0",
        "recipe://mini?source=a b&samples=5&run=0",
        "recipe://mini?source=a&source=b&samples=1&run=0",
        "recipe://mini?source=a&samples=5&run=0&label_noise=nan",
    ],
)
def test_what_is_no_uri_of_a_recipe(uri: str) -> None:
    with pytest.raises(ValueError, match="is not recipe://ID"):
        RecipeUri.parse(uri)


def entry(shipped: Registry, **pretraining: Any) -> dict[str, Any]:
    values = shipped.checkpoint("efficientnet_lite0_in1k").model_dump()
    values["weights"] = {
        "uri": "recipe://mini_clip?source=a&source=b&samples=5&run=1&label_noise=0.5",
        "sha256": "unknown",
    }
    values["pretraining"] |= {
        "recipe": {"id": "mini_clip", "version": 1},
        "sources": [{"name": "a", "samples": 3}, {"name": "b", "samples": 2}],
        "run": 1,
        "label_noise": 0.5,
        **pretraining,
    }
    return values


def test_an_entry_says_what_its_uri_says(shipped: Registry) -> None:
    spec = CheckpointSpec.model_validate(entry(shipped))
    assert spec.pretraining.recipe and spec.pretraining.recipe.version == 1
    for changes in (
        {"recipe": None},
        {"recipe": {"id": "mini_simclr", "version": 1}},
        {"run": 0},
        {"label_noise": None},
        {"sources": [{"name": "a", "samples": 5}]},
        {"sources": [{"name": "a", "samples": 4}, {"name": "b", "samples": 1}]},
    ):
        with pytest.raises(ValidationError, match="recipe|differ in|in equal parts"):
            CheckpointSpec.model_validate(entry(shipped, **changes))


def test_older_entries_keep_their_dump(shipped: Registry) -> None:
    assert "recipe" not in shipped.checkpoint("efficientnet_lite0_in1k").model_dump()["pretraining"]
