"""``probebench pretrain``: a checkpoint whose every fact is known."""

import dataclasses
from typing import Any

import click

from probebench.api.pretrain import plan_pretrain, pretrain, tell_plan
from probebench.cli.console import EpochLines, Told, print_json
from probebench.cli.options import (
    device_option,
    json_option,
    max_pixels_option,
    registry_folders,
    registry_option,
    training_dtype_option,
)


@click.command(name="pretrain")
@click.option("--recipe", required=True, help="Id of a recipe, such as mini_simclr.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    help="Source id, folder with captions.csv, wds:SHARDS or hf:NAME; repeats for an equal mixture.",
)
@max_pixels_option
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Images in all.  [default: all that differ]")
@click.option(
    "--label-noise",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Share of images whose labels or captions are permuted.  [default: 0]",
)
@click.option(
    "--captions",
    type=click.Choice(["names", "templates"]),
    default="names",
    show_default=True,
    help="Captions as the source has them, or within the recipe's sentences.",
)
@click.option("--run", type=click.IntRange(0), default=0, show_default=True, help="The seed of everything random.")
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", help="Passes over the images.  [default: the recipe's length]"
)
@device_option
@training_dtype_option
@click.option(
    "--workers", type=click.IntRange(0), metavar="N", help="Processes that decode, of recipes without a store."
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, here and on GPUs, and stop.")
@json_option
@registry_option
def command(
    recipe: str,
    sources: tuple[str, ...],
    samples: int | None,
    label_noise: float,
    captions: Any,
    run: int,
    epochs: int | None,
    device: Any,
    dtype: Any,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a network from random weights on a source, and enter it into your registry with every fact.

    All recipes of a family see the same images, as often, under the same preprocessing. The same command again goes on
    where it was cut off, or does nothing.
    """
    asked: dict[str, Any] = {
        "recipe": recipe,
        "source": sources,
        "samples": samples,
        "label_noise": label_noise,
        "captions": captions,
        "run": run,
        "epochs": epochs,
        "device": device,
        "dtype": dtype,
        "workers": workers,
        "registry": registry_folders(),
    }
    if dry_run:
        plan = plan_pretrain(**asked)
        if as_json:
            print_json(dataclasses.asdict(plan))
        else:
            tell_plan(plan, Told())
        return
    with EpochLines("images") as progress:
        made = pretrain(**asked, progress=progress)
    if as_json:
        print_json({"id": made})
        return
    click.echo(f"{made} is ready: probebench extract --model {made} --dataset digits")
