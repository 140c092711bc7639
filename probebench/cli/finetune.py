"""``probebench finetune``: whole networks trained on the draws of the probes."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from probebench.api.finetune import finetune, plan_finetune, tell_cost
from probebench.cli.console import EpochLines, Told, done_of, print_json, raise_all
from probebench.cli.options import (
    device_option,
    engine_option,
    input_size_option,
    json_option,
    layout_option,
    max_pixels_option,
    model_option,
    out_option,
    parse_shots,
    registry_folders,
    registry_option,
    training_dtype_option,
)
from probebench.cli.tables import print_results
from probebench.registry.names import laid_out


@click.command(name="finetune")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    required=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.",
)
@layout_option
@max_pixels_option
@click.option(
    "--shots",
    default=None,
    help="Labelled images a class; full is the whole training part.  [default: the protocol's, 1,5,10,20,full]",
)
@click.option("--protocol", default="quick", show_default=True, help="Id of a fine-tune protocol.")
@click.option(
    "--mode",
    type=click.Choice(["full", "lp-ft", "scratch", "linear"]),
    default="full",
    show_default=True,
    help="Train everything; everything, from the probe's head; everything, from random weights; the head alone.",
)
@click.option(
    "--head",
    type=click.Choice(["zero", "probe", "text"]),
    default=None,
    help="How the classifier starts: zero, the cached probe, or the classes' names.  [default: the protocol's]",
)
@click.option(
    "--alpha",
    "alphas",
    type=click.FloatRange(0, 1),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="Also evaluate weights between the start (0) and the end of training (1), as WiSE-FT does; repeats.",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=None,
    help="Draws to average over, with seeds 0, 1, ...  [default: the protocol's]",
)
@device_option
@training_dtype_option
@input_size_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Images at once; gradients add up over the protocol's batch.  [default: all, less where memory runs out]",
)
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes that decode and augment.")
@engine_option
@out_option
@click.option("--dry-run", is_flag=True, help="Say what it would take in images and time, and stop.")
@json_option
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    layout: Any,
    shots: str | None,
    protocol: str,
    mode: Any,
    head: Any,
    alphas: tuple[float, ...],
    draws: int | None,
    device: Any,
    dtype: Any,
    input_size: int | None,
    batch_size: int | None,
    workers: int | None,
    engine: Any,
    out: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train whole networks on few-shot draws and on full data, and score them on the whole test part.

    Draws are those of the probes. The learning rate, and the epoch where the protocol says so, are chosen on validation
    images only. Results that are there already are kept, and a training that was cut off goes on from its last epoch.
    """
    asked: dict[str, Any] = {
        "model": models,
        "dataset": laid_out(datasets, layout),
        "shots": parse_shots(shots) if shots else None,
        "protocol": protocol,
        "mode": mode,
        "head": head,
        "alphas": alphas,
        "draws": draws,
        "input_size": input_size,
        "dtype": dtype,
        "device": device,
        "batch_size": batch_size,
        "workers": workers,
        "registry": registry_folders(),
        "out": out,
    }
    if dry_run:
        plan = plan_finetune(**asked)
        if as_json:
            print_json([dataclasses.asdict(one) for one in plan])
        else:
            tell_cost(plan, Told())
        return
    with EpochLines("images") as progress:
        results, failures = done_of(lambda: finetune(**asked, engine=engine, progress=progress))
    if as_json:
        print_json([result.model_dump(mode="json") for result in results])
    elif results:
        print_results(results, out)
        click.echo(f"results are in {out}")
    raise_all(failures)
