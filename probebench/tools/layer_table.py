"""Writes which layers each architecture offers, with their widths: ``python -m probebench.tools.layer_table``.

What lists, names and checks layers must start without torch, so it reads them from a file.
"""

import json
import sys
from functools import partial

from probebench.registry import Registry
from probebench.registry.layers import architecture_key
from probebench.registry.recipe_entry import recipe_entry
from probebench.registry.recipe_uri import RecipeUri
from probebench.registry.schema import CheckpointSpec, RecipeSpec


def row(spec: CheckpointSpec) -> dict[str, object]:
    """Returns an architecture's line: width of each layer that is no block, and of each block from the first."""
    from probebench.backbones.layers import measured

    named, blocks, _ = measured(spec)
    return {**named, "blocks": blocks}


def made(registry: Registry, recipe: RecipeSpec) -> CheckpointSpec:
    """Returns the entry of something that a recipe makes."""
    asked = RecipeUri(recipe=recipe.id, sources=("any",), samples=2)
    return recipe_entry(registry, recipe, asked, features=1)


def main() -> None:
    """Prints the layers of every architecture of the shipped entries and recipes as JSON, a line each."""
    registry = Registry.load(environ={})
    specs = [*registry.checkpoints.values(), *map(partial(made, registry), registry.recipes.values())]
    known = {architecture_key(spec.architecture): spec for spec in specs}
    lines = [f"{json.dumps(key)}: {json.dumps(row(spec))}" for key, spec in sorted(known.items())]
    sys.stdout.write("{\n" + ",\n".join(f" {line}" for line in lines) + "\n}\n")


if __name__ == "__main__":
    main()
