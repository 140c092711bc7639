"""``probebench extract``: features into the cache."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.api.extractions import prepare
from probebench.cli.console import print_json, print_table
from probebench.cli.options import (
    batch_size_option,
    device_option,
    engine_option,
    input_size_option,
    json_option,
    layer_option,
    layout_option,
    max_pixels_option,
    model_option,
    registry_folders,
    registry_option,
    workers_option,
)
from probebench.cli.steps import run_extract
from probebench.files import bytes_text, free_space, home
from probebench.progress import duration
from probebench.registry.names import laid_out

if TYPE_CHECKING:
    from probebench.api.extractions import Extractions


@click.command(name="extract")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.  [default: the "
    "suite study once its sets are prepared, else offline]",
)
@layout_option
@max_pixels_option
@layer_option
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A weights file of your own for this checkpoint; kept, so give it once.",
)
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; auto is bf16 on GPUs that have it, else fp32.",
)
@input_size_option
@batch_size_option
@workers_option
@click.option(
    "--compile",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="torch.compile; auto tries it on runs of three minutes or more and keeps it where it is faster.",
)
@engine_option
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="At an image that cannot be read, stop, or leave it out; its id is recorded in the features and every result.",
)
@click.option("--limit", type=click.IntRange(2), metavar="N", help="Try N images of each split only; never ranked.")
@click.option("--dry-run", is_flag=True, help="Say what it would take in images, disk space and time, and stop.")
@json_option
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    layout: Any,
    layers: tuple[str, ...],
    weights: Path | None,
    device: str,
    dtype: Any,
    input_size: int | None,
    batch_size: int | None,
    workers: int | None,
    compile: Any,
    engine: Any,
    on_error: Any,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run every image of a data set through a checkpoint, once, and keep the features.

    A second call finds them and does nothing; an interrupted one goes on where it stopped. Of each image one forward
    pass gives all layers that are asked for; without --layer, the one that stands for the checkpoint.
    """
    extractions = prepare(
        models,
        laid_out(datasets, layout),
        layers=layers,
        weights=weights,
        input_size=input_size,
        dtype=dtype,
        device=device,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        compile=compile,
        engine=engine,
        limit=limit,
        registry=registry_folders(),
    )
    if extractions.registered is not None:
        digest = extractions.registered.digest[:12]
        click.echo(f"{extractions.checkpoints[0].id}: {weights} is registered (weights digest {digest})", err=as_json)
    if dry_run:
        print_plan(extractions, as_json=as_json)
    else:
        run_extract(extractions, as_json=as_json)


def print_plan(extractions: "Extractions", *, as_json: bool) -> None:
    """Prints what extracting every checkpoint on every data set would take.

    Raises:
        CacheError: The disk is too small for it.
    """
    from probebench.extraction.space import require_space

    rows, needed, seconds = [], 0, 0.0
    options, plans = extractions.plan()
    if as_json:
        print_json([dataclasses.asdict(one) for one in plans])
        return
    for one in plans:
        planned = one.plan
        needed, seconds = needed + planned.bytes, seconds + planned.seconds
        images = " + ".join(f"{count} {split}" for split, count in planned.images.items())
        cached = sum(planned.images.values()) - sum(planned.left.values())
        width = f"{' + '.join(map(str, one.layers.values()))} {'float32' if options.dtype == 'fp32' else 'float16'}"
        row = [one.model, one.dataset, str(one.input_size), images, str(cached), width]
        rows.append([*row, f"{planned.bytes / 1e6:.1f}", duration(planned.seconds)])
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("images", "left"), ("cached", "right")]
    columns += [("features", "right"), ("MB to write", "right"), ("time", "right")]
    print_table(columns, rows)
    click.echo(
        f"in all {bytes_text(needed)} to write to {home()} ({bytes_text(free_space(home()))} free), "
        f"in {duration(seconds)} on {options.device} before torch.compile saves any"
    )
    require_space(needed, home())
