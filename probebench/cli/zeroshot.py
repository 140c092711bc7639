"""``probebench zeroshot``: language-image checkpoints without any labelled image."""

from pathlib import Path
from typing import Any

import click

from probebench.api.zeroshot import zeroshot
from probebench.cli.console import done_of, print_json, raise_all
from probebench.cli.options import (
    input_size_option,
    json_option,
    layout_option,
    model_option,
    out_option,
    registry_folders,
    registry_option,
)
from probebench.cli.tables import print_results
from probebench.registry.names import laid_out


@click.command(name="zeroshot")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats.  [default: everything cached]",
)
@layout_option
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
@json_option
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    layout: Any,
    templates: tuple[str, ...],
    input_size: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Classify cached test features by class names in words, through the checkpoint's own text tower.

    Only open_clip checkpoints have one. Nothing is trained and nothing is chosen.
    """
    results, failures = done_of(
        lambda: zeroshot(
            models,
            dataset=laid_out(datasets, layout),
            templates=templates,
            input_size=input_size,
            registry=registry_folders(),
            out=out,
        )
    )
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    elif results:
        print_results(results, out)
        click.echo(f"results are in {out}")
    raise_all(failures)
