"""``probebench extract``: features into the cache."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.cli.console import ProgressLines
from probebench.cli.options import home, input_size_option, registry_folders, registry_option, split_list
from probebench.errors import ProbebenchError, UsageError

if TYPE_CHECKING:
    from probebench.registry import Registry

DEFAULT_SUITE = "offline"


@click.command(name="extract")
@click.option(
    "--model", "models", multiple=True, required=True, help="Checkpoint id; repeats, takes comma lists and globs."
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Data set id, suite or folder:PATH; repeats, takes comma lists and globs.  "
    f"[default: the suite {DEFAULT_SUITE}]",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A weights file of your own for this checkpoint; kept, so give it once.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; auto is bf16 on GPUs that have it, else fp32.",
)
@input_size_option
@click.option(
    "--batch-size", type=click.IntRange(1), metavar="N", help="Images a batch.  [default: 64 on CPU, 256 on GPU]"
)
@click.option(
    "--workers", type=click.IntRange(0), metavar="N", help="Decoding processes.  [default: by the number of cores]"
)
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
) -> None:
    """Run every image of a data set through a checkpoint, once, and keep the features.

    A second call finds them and does nothing; an interrupted one goes on where it stopped.
    """
    from probebench.registry import Registry

    registry = Registry.load(registry_folders())
    chosen = choose_models(registry, models)
    if weights is not None and len(chosen) != 1:
        raise UsageError(f"--weights is for one model, and {len(chosen)} were named")
    names = choose_datasets(registry, datasets or (DEFAULT_SUITE,))
    if weights is None and len(chosen) == 1:
        from probebench.backbones.user_weights import require_weights

        # Told before torch is loaded, which takes seconds.
        require_weights(registry.checkpoint(chosen[0]), home())
    from probebench.extract import Options

    options = Options.resolve(device, dtype, batch_size, workers)
    if weights is not None:
        from probebench.backbones.builders import register_weights

        registered = register_weights(registry.checkpoint(chosen[0]), home(), weights)
        click.echo(f"{chosen[0]}: {weights} is registered (weights digest {registered.digest[:12]})")
    run_extract(registry, chosen, names, input_size, options)


def choose_models(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Expands --model."""
    from probebench.registry.load import expand

    return expand("model", patterns, registry.checkpoints, "probebench models list")


def choose_datasets(registry: "Registry", patterns: Sequence[str]) -> list[str]:
    """Expands --dataset: suites become their data sets, folder:PATH stays as it is."""
    from probebench.registry.load import expand

    chosen: dict[str, None] = {}
    for pattern in split_list(patterns):
        if pattern.startswith("folder:"):
            chosen[pattern] = None
            continue
        for name in expand("data set", [pattern], [*registry.datasets, *registry.suites], "probebench datasets list"):
            suite = registry.suites.get(name)
            chosen.update(dict.fromkeys(suite.datasets if suite else [name]))
    return list(chosen)


def run_extract(
    registry: "Registry", models: Sequence[str], datasets: Sequence[str], input_size: int | None, options: Any
) -> None:
    """Extracts every model on every data set; one that fails does not stop the others.

    Raises:
        ProbebenchError: The one failure, or how many of several failed.
    """
    from probebench.backbones.builders import build_backbone
    from probebench.datasets.loaders import open_dataset
    from probebench.extract import extract

    # Opened before any hour is spent: a data set that is missing is told now.
    opened = [open_dataset(name, registry, home() / "datasets") for name in datasets]
    failures: list[ProbebenchError] = []
    with ProgressLines("images") as progress:
        for model in models:
            try:
                backbone = build_backbone(registry.checkpoint(model), home(), input_size)
                for dataset in opened:
                    began = time.perf_counter()
                    parts = extract(backbone, dataset, home(), options, progress)
                    _report(backbone.spec.id, dataset.id, backbone.input.size, parts, time.perf_counter() - began)
            except ProbebenchError as error:
                if len(models) == 1:
                    raise
                failures.append(error)
                click.echo(f"error: {model}: {error}", err=True)
    if failures:
        summary = f"{len(failures)} of {len(models)} models failed; the lines above say why, the others are cached"
        raise type(max(failures, key=lambda failure: failure.exit_code))(summary)


def _report(model: str, dataset: str, size: int, parts: Sequence[Any], seconds: float) -> None:
    rows, computed = sum(part.rows for part in parts), sum(part.computed for part in parts)
    where = f"{model} on {dataset} at {size} px: "
    if not computed:
        click.echo(f"{where}{rows} images, all cached already")
    else:
        cached = f", {rows - computed} were cached" if computed < rows else ""
        click.echo(f"{where}{computed} images in {seconds:.0f} s ({computed / seconds:.0f} images/s){cached}")
