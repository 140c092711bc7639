"""The entry of a checkpoint that a recipe makes: every fact of it is known before it is trained."""

from collections.abc import Sequence

from probebench.errors import UsageError
from probebench.registry.checkpoint import CheckpointSpec, MadeBy, Output, Pretraining, Source, Weights
from probebench.registry.load import Registry
from probebench.registry.recipe import RecipeSpec
from probebench.registry.recipe_uri import Captions, RecipeUri

_LABELS = {"supervised": "human", "language-image": "captions", "image-image": "none"}
_TITLES = {"supervised": "supervised", "language-image": "CLIP", "image-image": "SimCLR"}
_PERMUTED = {"supervised": "labels", "language-image": "captions"}


def recipe_entry(
    registry: Registry, recipe: RecipeSpec, asked: RecipeUri, *, features: int, sha256: str = "unknown"
) -> CheckpointSpec:
    """Returns the entry of what a recipe was asked for.

    Args:
        registry: What licence the sources' artwork has, and who chose it; unknown of a user's own.
        recipe: The recipe.
        asked: All that was asked for.
        features: Width D of the recipe's layer.
        sha256: Of the weights file.
    """
    parts = [Source(name=name, samples=count) for name, count in zip(asked.sources, asked.parts, strict=True)]
    seen = recipe.steps(asked.samples, asked.epochs) * recipe.batch(asked.samples)
    known = [registry.sources.get(name) for name in asked.sources]
    curation = {one.curation if one else "unknown" for one in known}
    return CheckpointSpec(
        id=asked.checkpoint,
        title=_title(recipe, asked),
        paper=recipe.paper,
        url=recipe.url,
        license=" and ".join(dict.fromkeys(one.license if one else "unknown" for one in known)),
        architecture=recipe.architecture,
        pretraining=Pretraining(
            method=recipe.method,
            objective=recipe.objective,
            sources=tuple(parts),
            samples_seen=seen,
            epochs=round(seen / asked.samples, 6),
            labels=_LABELS[recipe.method],
            curation=curation.pop() if len(curation) == 1 else "mixed",
            recipe=MadeBy(id=recipe.id, version=recipe.version),
            run=asked.run,
            label_noise=asked.label_noise or None,
        ),
        weights=Weights(uri=str(asked), sha256=sha256),
        input=recipe.input,
        output=Output(features=features, layer=recipe.layer),
    )


def _title(recipe: RecipeSpec, asked: RecipeUri) -> str:
    what = f"{recipe.architecture.name}, {_TITLES[recipe.method]} on {' + '.join(asked.sources)}"
    size = f"{asked.samples:,} images"
    if asked.label_noise:
        size += f", {100 * asked.label_noise:g}% of {_PERMUTED[recipe.method]} permuted"
    if asked.captions != "names":
        size += ", captions in sentences"
    return f"{what} ({size}), run {asked.run}"


def check_asked(recipe: RecipeSpec, label_noise: float, captions: Captions, *, said: str = "--") -> None:
    """Checks that a recipe reads what it is asked to change.

    Args:
        recipe: The recipe.
        label_noise: Share of labels or captions that are permuted.
        captions: Names alone, or sentences.
        said: What stands before the options' names where they were typed.

    Raises:
        UsageError: It reads no labels or captions, or has no sentences.
    """
    if label_noise and recipe.method == "image-image":
        raise UsageError(
            f"{said}{'label-noise' if said == '--' else 'label_noise'}: {recipe.id} reads neither labels nor captions"
        )
    if captions != "names" and recipe.method != "language-image":
        raise UsageError(f"{said}captions: {recipe.id} reads none")
    if captions == "templates" and not recipe.templates:
        raise UsageError(f"{said}captions templates: recipe {recipe.id} has no templates")


def check_parts(names: Sequence[str], samples: int, *, said: str = "--") -> None:
    """Checks that each source gives an image, and is named once.

    Args:
        names: Of the sources.
        samples: Images in all.
        said: As in ``check_asked``.

    Raises:
        UsageError: There are too few, or a source is named twice.
    """
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise UsageError(f"source {twice[0]} is named twice; a mixture takes each source once")
    if samples < max(2, len(names)):
        raise UsageError(f"{said}samples {samples}: take two images or more, and one of each source")
