"""Tiny cells: a network of a few thousand weights on coloured noise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from probebench.datasets.folder import open_folder
from probebench.finetune.cell import Cell
from probebench.finetune.options import Options
from probebench.finetune.plan import Request, cells_of
from probebench.registry.load import Registry
from probebench.registry.schema import RecipeSpec
from tests.conftest import make_entry, make_images

CPU = Options("cpu", "fp32", workers=0)
SHIPPED = Registry.load(environ={})

MakeCell = Callable[..., Cell]


def recipe(**changes: Any) -> RecipeSpec:
    """The quick recipe, quicker; sections are given as dictionaries of what changes in them."""
    values = SHIPPED.recipe("quick").model_dump()
    values |= {"epochs": 2, "least_steps": 0, "batch_size": 8, "draws": 2}
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return RecipeSpec.model_validate(values)


def make_cell(folder: Path, home: Path, entry: dict[str, Any] | None = None, **changes: Any) -> Cell:
    """Returns a cell on three classes; twelve training and six test images of each."""
    if not (folder / "images").exists():
        for seed, (split, each) in enumerate({"train": 12, "test": 6}.items()):
            make_images(folder / "images" / split, each=each, seed=seed)
    dataset = open_folder(folder / "images", home / "datasets")
    asked: dict[str, Any] = {"mode": "full", "head": None, "shots": [2], "draws": 2, "alphas": [1.0]}
    asked |= {"recipe": recipe(), "input_size": None, "options": CPU} | changes
    (cell,) = cells_of(Request(**asked), make_entry(folder, **(entry or {})), [(dataset, None)], home)
    return cell


def with_test_labels(cell: Cell, labels: Any) -> Cell:
    """The same cell, with other test labels."""
    test = replace(cell.dataset.splits["test"], labels=labels)
    return replace(cell, dataset=replace(cell.dataset, splits={**cell.dataset.splits, "test": test}))
