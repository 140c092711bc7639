"""Tiny tasks: a network of a few thousand weights on coloured noise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from probebench.datasets.sources.folder import open_folder
from probebench.finetuning.plan import Request, tasks_of
from probebench.finetuning.task import FinetuneTask
from probebench.registry.load import Registry
from probebench.registry.schema import FinetuneProtocol
from probebench.training.options import TrainingOptions
from tests.conftest import make_entry, make_images

CPU = TrainingOptions("cpu", "fp32", workers=0)
SHIPPED = Registry.load(environ={})


def protocol(**changes: Any) -> FinetuneProtocol:
    """The quick protocol, quicker; sections are given as dictionaries of what changes in them."""
    values = SHIPPED.finetune_protocol("quick").model_dump()
    values |= {"epochs": 2, "least_steps": 0, "batch_size": 8, "draws": 2}
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return FinetuneProtocol.model_validate(values)


def make_task(folder: Path, home: Path, entry: dict[str, Any] | None = None, **changes: Any) -> FinetuneTask:
    """Returns a task on three classes; twelve training and six test images of each."""
    if not (folder / "images").exists():
        for seed, (split, each) in enumerate({"train": 12, "test": 6}.items()):
            make_images(folder / "images" / split, each=each, seed=seed)
    dataset = open_folder(folder / "images", home / "datasets")
    asked: dict[str, Any] = {"mode": "full", "head": None, "shots": [2], "draws": 2, "alphas": [1.0]}
    asked |= {"protocol": protocol(), "input_size": None, "options": CPU} | changes
    (task,) = tasks_of(Request(**asked), make_entry(folder, **(entry or {})), [(dataset, None)], home)
    return task


def with_test_labels(task: FinetuneTask, labels: Any) -> FinetuneTask:
    """The same task, with other test labels."""
    test = replace(task.dataset.splits["test"], labels=labels)
    return replace(task, dataset=replace(task.dataset, splits={**task.dataset.splits, "test": test}))
