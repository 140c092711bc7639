"""Tiny pre-trainings: pictures of three kinds in a folder, and recipes of a few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from probebench.pretraining.task import PretrainTask, make_task
from probebench.registry.load import Registry
from probebench.registry.schema import RecipeSpec
from probebench.training.options import TrainingOptions
from tests.conftest import Ran
from tests.datasets.captioned.making import captioned_folder, pattern
from tests.datasets.drawn.packages import emoji_set, npm_archive, npm_package, source_spec

CPU = TrainingOptions("cpu", "fp32", workers=0)
SHIPPED = Registry.load(environ={})
METHODS = ("mini_supervised", "mini_clip", "mini_simclr")
IMAGES = 24


def recipe(name: str, **changes: Any) -> RecipeSpec:
    """A shipped recipe, with six steps of eight images; sections are given as dictionaries of what changes in them."""
    values = SHIPPED.recipe(name).model_dump(exclude_unset=True)
    values |= {"samples_seen": 48, "batch_size": 8, "schedule": {"warmup_steps": 1}}
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
        values["origin"] |= {key: "a test"} if key not in ("id", "version") else {}
    values["origin"] = {key: said for key, said in values["origin"].items() if values.get(key) is not None}
    return RecipeSpec.model_validate({key: value for key, value in values.items() if value is not None})


def pictures(folder: Path, images: int = IMAGES, labelled: bool = True) -> Path:
    """A folder of pictures, of three labels in turn."""
    if not folder.exists():
        labels = [("round", "square", "flat")[number % 3] for number in range(images)]
        captioned_folder(folder, [pattern(number) for number in range(images)], labels if labelled else None)
    return folder


def pretrain_task(folder: Path, home: Path, spec: RecipeSpec, **changes: Any) -> PretrainTask:
    asked: dict[str, Any] = {"samples": None, "label_noise": 0.0, "captions": "names", "run": 0, "epochs": None}
    asked |= {"options": CPU, **changes}
    sources = asked.pop("sources", None) or [str(pictures(folder / "pictures"))]
    return make_task(SHIPPED, spec, sources, home=home, **asked)


def two_sources(run: Callable[..., Ran], home: Path) -> None:
    """Two small sources in a home's registry, of which one is prepared, and recipes of a few steps."""
    archive = npm_archive(home / "datasets" / "packages" / "iconify-json-tiny-1.0.0.tgz", emoji_set())
    for name in ("drawn", "lost"):
        spec = source_spec([npm_package(archive)], 7, 4, id=name).model_dump(mode="json")
        path = home / "registry" / "sources" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(spec))
    run("sources", "prepare", "drawn")
    for method in ("clip", "simclr"):
        few = recipe(f"mini_{method}", id=f"few_{method}", samples_seen=12, batch_size=4)
        path = home / "registry" / "recipes" / f"{few.id}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(few.model_dump(mode="json", exclude_unset=True)))
