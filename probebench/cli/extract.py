"""``probebench extract``: features into the cache."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.cli.console import ProgressLines, duration, print_table
from probebench.cli.options import (
    device_option,
    engine_option,
    home,
    input_size_option,
    is_source,
    model_option,
    registry_folders,
    registry_option,
    split_list,
    started,
)
from probebench.errors import ProbebenchError, UsageError

if TYPE_CHECKING:
    from probebench.datasets.base import Dataset
    from probebench.engine import Ray
    from probebench.extraction import Extracted, ExtractionOptions
    from probebench.registry import Registry


@click.command(name="extract")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.  [default: the "
    "suite study once its sets are prepared, else offline]",
)
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
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Images a batch; halved where memory runs out.  [default: 64 on CPU, 256 on GPU, less for large inputs]",
)
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Decoding processes.  [default: one a core]")
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
@click.option("--dry-run", is_flag=True, help="Say what it would take in images, disk space and time, and stop.")
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    weights: Path | None,
    device: str,
    dtype: str,
    input_size: int | None,
    batch_size: int | None,
    workers: int | None,
    compile: Any,
    engine: str,
    on_error: Any,
    dry_run: bool,
) -> None:
    """Run every image of a data set through a checkpoint, once, and keep the features.

    A second call finds them and does nothing; an interrupted one goes on where it stopped.
    """
    from probebench.datasets.open import default_suite
    from probebench.registry import Registry

    registry = Registry.load(registry_folders())
    chosen = choose_models(registry, models)
    if weights is not None and len(chosen) != 1:
        raise UsageError(f"--weights is for one model, and {len(chosen)} were named")
    names = choose_datasets(registry, datasets or (default_suite(registry, home() / "datasets"),))
    # What is missing is told before torch is loaded, which takes seconds, and before any hour is spent.
    if weights is not None:
        from probebench.backbones.locate import check_given

        check_given(registry.checkpoint(chosen[0]), weights)
    elif len(chosen) == 1:
        from probebench.backbones.user_weights import require_weights

        require_weights(registry.checkpoint(chosen[0]), home())
    opened = open_datasets(registry, names)
    from probebench.extraction import ExtractionOptions

    if weights is not None:
        from probebench.backbones.builders import register_weights

        registered = register_weights(registry.checkpoint(chosen[0]), home(), weights)
        click.echo(f"{chosen[0]}: {weights} is registered (weights digest {registered.digest[:12]})")
    with started(engine) as cluster:
        gpus = cluster.gpus if cluster else None
        options = ExtractionOptions.resolve(device, dtype, batch_size, workers, on_error, compile, gpus)
        if dry_run:
            print_plan(registry, chosen, opened, input_size, options)
        else:
            run_extract(registry, chosen, opened, input_size, options, cluster)


def choose_models(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Expands --model."""
    from probebench.registry.load import expand

    return expand("model", patterns, registry.checkpoints, "probebench models list")


def choose_datasets(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Expands --dataset: suites become their data sets, sources stay as they are."""
    from probebench.registry.load import expand

    chosen: dict[str, None] = {}
    for pattern in split_list(patterns):
        if is_source(pattern):
            chosen[pattern] = None
            continue
        for name in expand("data set", [pattern], [*registry.datasets, *registry.suites], "probebench datasets list"):
            suite = registry.suites.get(name)
            chosen.update(dict.fromkeys(suite.datasets if suite else [name]))
    return list(chosen)


def open_datasets(registry: "Registry", names: Sequence[str]) -> "list[Dataset]":
    """Opens data sets by id or source."""
    from probebench.datasets.open import open_dataset

    return [open_dataset(name, registry, home() / "datasets") for name in names]


def run_extract(
    registry: "Registry",
    models: Sequence[str],
    datasets: "Sequence[Dataset]",
    input_size: int | None,
    options: "ExtractionOptions",
    engine: "Ray | None" = None,
) -> None:
    """Extracts every model on every data set, here or on an engine; one that fails does not stop the others.

    Raises:
        ProbebenchError: The one failure, or how many of several failed.
    """
    from probebench.backbones.builders import build_backbone
    from probebench.extraction import extract

    failures: list[ProbebenchError] = []
    with ProgressLines("images") as progress:
        for model in models:
            try:
                backbone = build_backbone(registry.checkpoint(model), home(), input_size)
                for dataset in datasets:
                    began = time.perf_counter()
                    parts = extract(backbone, dataset, home(), options, progress, engine)
                    _report(backbone.spec.id, dataset.id, backbone.input.size, parts, time.perf_counter() - began)
            except ProbebenchError as error:
                if len(models) == 1:
                    raise
                failures.append(error)
                click.echo(f"error: {model}: {error}", err=True)
    if failures:
        summary = f"{len(failures)} of {len(models)} models failed; the lines above say why, the others are cached"
        raise type(max(failures, key=lambda failure: failure.exit_code))(summary)


def _report(model: str, dataset: str, size: int, parts: "Sequence[Extracted]", seconds: float) -> None:
    rows, computed = sum(part.rows for part in parts), sum(part.computed for part in parts)
    skipped = sum(part.skipped for part in parts)
    where = f"{model} on {dataset} at {size} px: "
    if not computed:
        click.echo(f"{where}{rows} images, all cached already")
    else:
        split = ", ".join(
            f"{stage} {sum(part.seconds.get(stage, 0.0) for part in parts) / seconds:.0%}"
            for stage in ("decode", "forward", "disk")
        )
        cached = f", {rows + skipped - computed} were cached" if computed < rows + skipped else ""
        click.echo(
            f"{where}{computed} images in {seconds:.0f} s "
            f"({computed / seconds:.0f} images/s; waited for {split}){cached}"
        )
    if skipped:
        click.echo(f"{where}{skipped} images could not be read and are left out; results will list them")


def print_plan(
    registry: "Registry",
    models: Sequence[str],
    datasets: "Sequence[Dataset]",
    input_size: int | None,
    options: "ExtractionOptions",
) -> None:
    """Prints what extracting every model on every data set would take.

    Raises:
        CacheError: The disk is too small for it.
    """
    from probebench.backbones.builders import build_backbone
    from probebench.extraction import plan
    from probebench.extraction.space import free_space, require_space

    rows, needed, seconds = [], 0, 0.0
    for model in models:
        backbone = build_backbone(registry.checkpoint(model), home(), input_size)
        for dataset in datasets:
            planned = plan(backbone, dataset, home(), options)
            needed, seconds = needed + planned.bytes, seconds + planned.seconds
            images = " + ".join(f"{count} {split}" for split, count in planned.images.items())
            cached = sum(planned.images.values()) - sum(planned.left.values())
            width = f"{backbone.features} {'float32' if options.dtype == 'fp32' else 'float16'}"
            row = [model, dataset.id, str(backbone.input.size), images, str(cached), width]
            rows.append([*row, f"{planned.bytes / 1e6:.1f}", duration(planned.seconds)])
    columns = [("model", "left"), ("data set", "left"), ("px", "right"), ("images", "left"), ("cached", "right")]
    columns += [("features", "right"), ("MB to write", "right"), ("time", "right")]
    print_table(columns, rows)
    click.echo(
        f"in all {needed / 1e6:.1f} MB to write to {home()} ({free_space(home()) / 1e9:.1f} GB free), "
        f"in {duration(seconds)} on {options.device} before torch.compile saves any"
    )
    require_space(needed, home())
