"""``probebench zeroshot``: language-image checkpoints without any labelled image."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from probebench.cli.console import raise_all
from probebench.cli.options import input_size_option, model_option, out_option, registry_folders, registry_option
from probebench.cli.steps import chosen_extractions
from probebench.cli.tables import print_results
from probebench.errors import ProbebenchError
from probebench.files import home
from probebench.registry.names import is_source

if TYPE_CHECKING:
    from probebench.evaluation.zeroshot import Prompts
    from probebench.registry import Registry


@click.command(name="zeroshot")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats.  [default: everything cached]",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="Prompt with {} for the class name; repeats, and prompts are averaged.  [default: the data set's own, else "
    "'a photo of a {}.']",
)
@input_size_option
@out_option
@registry_option
def command(
    models: tuple[str, ...], datasets: tuple[str, ...], templates: tuple[str, ...], input_size: int | None, out: Path
) -> None:
    """Classify cached test features by class names in words, through the checkpoint's own text tower.

    Only open_clip checkpoints have one. Nothing is trained and nothing is chosen.
    """
    from probebench.evaluation.zeroshot import ZeroshotTask, zeroshot
    from probebench.registry import Registry

    _check_templates(templates)
    registry = Registry.load(registry_folders())
    groups, failures = chosen_extractions(registry, models, datasets, input_size)
    sources = {name: pattern for pattern in datasets if is_source(pattern) for name in [_opened_id(registry, pattern)]}
    results = []
    for group in groups:
        try:
            checkpoint = registry.checkpoint(group.model)
            prompts = _prompts(registry, group.dataset, sources.get(group.dataset), templates)
            known = registry.datasets.get(group.dataset)
            metric = known.metric if known else "accuracy"
            results.append(zeroshot(ZeroshotTask(group, checkpoint, prompts, metric, home()), out)[0])
        except ProbebenchError as error:
            failures.append(str(error))
    if results:
        print_results(results, out)
        click.echo(f"results are in {out}")
    raise_all(failures)


def _check_templates(templates: tuple[str, ...]) -> None:
    for template in templates:
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise click.UsageError(f"--template {template!r} needs {{}} once, in the place of the class name")


def _opened_id(registry: "Registry", pattern: str) -> str:
    from probebench.datasets.open import open_dataset

    return open_dataset(pattern, registry, home() / "datasets").id


def _prompts(registry: "Registry", dataset: str, source: str | None, templates: tuple[str, ...]) -> "Prompts":
    """Returns the names and templates of a data set: its entry's, or a source's class names in a plain sentence.

    Raises:
        ProbebenchError: A source was not named, so that its class names are out of reach.
    """
    from probebench.evaluation.zeroshot import Prompts

    spec = registry.datasets.get(dataset)
    if spec is not None:
        return Prompts.of(spec, (), templates)
    if source is None:
        raise ProbebenchError(f"{dataset}: name it by --dataset folder:PATH (wds:, hf:), where its names are")
    from probebench.datasets.open import open_dataset

    return Prompts.of(None, open_dataset(source, registry, home() / "datasets").class_names, templates)
