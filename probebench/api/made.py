"""Checkpoints that an experiment makes: named before they are trained, and trained where they are not here."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from probebench.api.session import Folders, Watching, warn
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home
from probebench.registry.experiment import ExperimentSpec, Pretrain
from probebench.registry.names import expand
from probebench.registry.recipe_entry import check_asked, check_parts, recipe_entry
from probebench.registry.recipe_uri import RecipeUri

if TYPE_CHECKING:
    from probebench.registry import CheckpointSpec, Registry


def made_by(spec: ExperimentSpec, registry: "Registry") -> list[RecipeUri]:
    """Returns what an experiment makes, in the order of its tables.

    Raises:
        UsageError: There is no such recipe or source, or a recipe does not read what it is asked to change.
    """
    return list(dict.fromkeys(asked for table in spec.pretrain for asked in _asked(table, registry)))


def _asked(table: Pretrain, registry: "Registry") -> Iterator[RecipeUri]:
    recipes = [registry.recipe(one) for one in expand("recipe", table.recipes, registry.recipes, "registry/recipes")]
    for sources in table.sources:
        known = [registry.source(name) for name in sources]
        for recipe in recipes:
            if recipe.method == "supervised" and (bare := [one.id for one in known if one.labels == "none"]):
                raise UsageError(f"pretrain: source {bare[0]} has no labels, from which {recipe.id} learns")
            for samples in table.samples:
                check_parts(sources, samples)
                asked = RecipeUri(
                    recipe=recipe.id,
                    sources=sources,
                    samples=samples,
                    captions=table.captions if recipe.method == "language-image" else "names",
                    epochs=table.epochs,
                )
                check_asked(recipe, 0.0, asked.captions)
                sizes = zip(known, asked.parts, strict=True)
                if short := [one.id for one, part in sizes if one.distinct != "unknown" and part > one.distinct]:
                    warn(f"source {short[0]} has not {samples} images; passed over")
                    continue
                reads = recipe.method != "image-image"
                for noise in table.label_noise if reads else [one for one in table.label_noise if not one]:
                    for run in table.runs:
                        yield dataclasses.replace(asked, label_noise=noise, run=run)


def with_made(registry: "Registry", made: Iterable[RecipeUri]) -> "Registry":
    """Returns the registry with an entry of each checkpoint that is to be made, where it has none.

    Raises:
        UsageError: An entry of that id was made otherwise.
    """
    checkpoints = dict(registry.checkpoints)
    for asked in made:
        known = checkpoints.get(asked.checkpoint)
        if known is None:
            checkpoints[asked.checkpoint] = _draft(registry, asked)
        elif known.weights.uri != str(asked):
            raise UsageError(f"the registry has an entry {known.id} of other weights ({known.weights.uri})")
    return dataclasses.replace(registry, checkpoints=dict(sorted(checkpoints.items())))


def _draft(registry: "Registry", asked: RecipeUri) -> "CheckpointSpec":
    from probebench.registry.layers import known_layers

    recipe = registry.recipe(asked.recipe)
    known = known_layers(recipe.architecture)
    draft = recipe_entry(registry, recipe, asked, features=known[recipe.layer] if known else 1)
    if known is None:
        # Of a network that the shipped table lacks; it takes torch.
        from probebench.backbones.builders import feature_width

        draft = recipe_entry(registry, recipe, asked, features=feature_width(draft))
    return draft


def missing(made: Sequence[RecipeUri]) -> list[RecipeUri]:
    """Returns what is not on this machine."""
    from probebench.backbones.user_weights import UserWeights

    return [asked for asked in made if UserWeights.find(home(), asked.checkpoint) is None]


def make(made: Sequence[RecipeUri], registry: Folders, progress: Watching) -> dict[str, ProbebenchError]:
    """Pre-trains checkpoints, and returns why of each that could not be made."""
    from probebench.api.pretrain import pretrain

    failed: dict[str, ProbebenchError] = {}
    for asked in made:
        try:
            pretrain(asked.recipe, asked.sources, **asked.options, registry=registry, progress=progress)
        except ProbebenchError as error:
            failed[asked.checkpoint] = error
    return failed
