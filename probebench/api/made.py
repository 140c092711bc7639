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
        UsageError: There is no such recipe or source, no recipe of a table reads what it is asked to change, or no
            source has as many images.
    """
    found: list[RecipeUri] = []
    for table in spec.pretrain:
        short: list[str] = []
        asked = list(_asked(table, registry, short))
        if not asked:
            raise UsageError(f"pretrain.samples: {short[0]}, and no other of this table has what it asks for")
        for told in dict.fromkeys(short):
            warn(f"{told}; passed over")
        found += asked
    return list(dict.fromkeys(found))


def _asked(table: Pretrain, registry: "Registry", short: list[str]) -> Iterator[RecipeUri]:
    """Yields what a table makes, and notes which sources are too small for a size."""
    recipes = [registry.recipe(one) for one in expand("recipe", table.recipes, registry.recipes, "registry/recipes")]
    if all(table.label_noise) and all(recipe.method == "image-image" for recipe in recipes):
        check_asked(recipes[0], table.label_noise[0], "names", said="pretrain.")
    for sources in table.sources:
        known = [registry.source(name) for name in sources]
        for recipe in recipes:
            if recipe.method == "supervised" and (bare := [one.id for one in known if one.labels == "none"]):
                raise UsageError(f"pretrain: source {bare[0]} has no labels, from which {recipe.id} learns")
            for samples in table.samples:
                check_parts(sources, samples, said="pretrain.")
                asked = RecipeUri(
                    recipe=recipe.id,
                    sources=sources,
                    samples=samples,
                    captions=table.captions if recipe.method == "language-image" else "names",
                    epochs=table.epochs,
                )
                check_asked(recipe, 0.0, asked.captions, said="pretrain.")
                sizes = zip(known, asked.parts, strict=True)
                if small := [one.id for one, part in sizes if one.distinct != "unknown" and part > one.distinct]:
                    short.append(f"source {small[0]} has not {samples} images")
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
