"""``probebench finetune``: whole networks trained on the draws of the probes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probebench.cli.console import ProgressLines, duration, raise_all, warn
from probebench.cli.options import (
    device_option,
    engine_option,
    input_size_option,
    model_option,
    out_option,
    parse_shots,
    registry_folders,
    registry_option,
    started,
)
from probebench.cli.steps import open_datasets
from probebench.cli.tables import print_results
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home
from probebench.registry.names import expand_datasets, expand_models, is_source

if TYPE_CHECKING:
    from probebench.engine import Ray
    from probebench.finetuning import FinetuneTask
    from probebench.finetuning.plan import Cost
    from probebench.registry import Registry


@click.command(name="finetune")
@model_option
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    required=True,
    help="Data set id, suite, folder:PATH, wds:SHARDS or hf:NAME; repeats, takes comma lists and globs.",
)
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
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; bf16 is mixed precision, and auto takes it on GPUs that have it.",
)
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
@registry_option
def command(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    shots: str | None,
    protocol: str,
    mode: Any,
    head: Any,
    alphas: tuple[float, ...],
    draws: int | None,
    device: str,
    dtype: str,
    input_size: int | None,
    batch_size: int | None,
    workers: int | None,
    engine: str,
    out: Path,
    dry_run: bool,
) -> None:
    """Train whole networks on few-shot draws and on full data, and score them on the whole test part.

    Draws are those of the probes. The learning rate, and the epoch where the protocol says so, are chosen on validation
    images only. Results that are there already are kept, and a training that was cut off goes on from its last epoch.
    """
    from probebench.registry import Registry

    registry = Registry.load(registry_folders())
    spec = registry.finetune_protocol(protocol)
    asked = parse_shots(shots) if shots else None
    chosen, sets = expand_models(registry, models), expand_datasets(registry, datasets)
    if mode != "scratch":
        from probebench.backbones.user_weights import require_weights

        # All that is missing is told before torch is loaded, which takes seconds.
        for model in chosen:
            require_weights(registry.checkpoint(model), home())
    opened = [
        (dataset, None if is_source(name) else registry.dataset(name))
        for name, dataset in zip(sets, open_datasets(registry, sets), strict=True)
    ]
    from probebench.finetuning.plan import Request, tasks_of
    from probebench.training.options import TrainingOptions

    with started(engine) as cluster:
        options = TrainingOptions.resolve(device, dtype, batch_size, workers, cluster.gpus if cluster else None)
        request = Request(
            protocol=spec,
            mode=mode,
            head=head,
            shots=asked,
            draws=draws,
            alphas=alphas,
            input_size=input_size,
            options=options,
        )
        tasks = [task for name in chosen for task in tasks_of(request, registry.checkpoint(name), opened, home())]
        run_finetune(registry, tasks, out, cluster, dry_run)


def run_finetune(
    registry: "Registry", tasks: "Sequence[FinetuneTask]", out: Path, engine: "Ray | None" = None, dry_run: bool = False
) -> None:
    """Says what the tasks will take, trains them, and prints the table.

    Raises:
        ProbebenchError: Something could not be trained; all else is done and printed first.
    """
    from probebench.finetuning.finetune import finetune_all
    from probebench.finetuning.plan import estimate

    missing = [task for task in tasks if not all(task.path(out, alpha).exists() for alpha in task.alphas)]
    seconds = 0.0
    # With an engine, the work is not done on this machine, and timing it here would say nothing.
    for task in missing if engine is None or dry_run else ():
        expected = estimate(task)
        seconds += expected.seconds
        click.echo(_cost(task, expected), err=not dry_run)
    if len(missing) > 1 and seconds:
        click.echo(f"in all about {duration(seconds)}", err=not dry_run)
    if dry_run:
        if not missing:
            click.echo("nothing to train: all results are there")
        return
    probe_protocol = registry.protocol("default") if any(task.head == "probe" for task in tasks) else None
    results, failures = [], []
    with ProgressLines("images") as progress:
        teller = _Teller(progress)
        for task, found in zip(tasks, finetune_all(tasks, out, probe_protocol, teller, engine), strict=True):
            if isinstance(found, UsageError):
                raise found
            if isinstance(found, ProbebenchError):
                failures.append(f"{task.model} on {task.dataset.id}: {found}")
                continue
            results += found
            failures += [line for result in found if (line := _failed(result))]
    for result in results:
        _warn_about(result)
    if results:
        print_results(results, out)
        click.echo(f"results are in {out}")
    raise_all(failures)


def _cost(task: "FinetuneTask", expected: "Cost") -> str:
    from probebench.results.cells import shots_text

    return (
        f"{task.model} on {task.dataset.id}, {shots_text(task.shots)}, {task.mode}: {expected.trainings} trainings of "
        f"{expected.epochs} epochs, {expected.images} images at {expected.rate:.0f} images/s: "
        f"about {duration(expected.seconds)}"
    )


class _Teller:
    """Passes progress on, with a line for an epoch at most every few seconds."""

    def __init__(self, lines: ProgressLines, every: float = 10.0) -> None:
        self._lines, self._every, self._told = lines, every, 0.0

    def start(self, what: str, total: int, done: int) -> None:
        self._lines.start(what, total, done)

    def advance(self, count: int, limit: str | None = None) -> None:
        if count:
            self._lines.advance(count)

    def finish(self) -> None:
        self._lines.finish()

    def note(self, message: str) -> None:
        now = time.monotonic()
        if now - self._told >= self._every or "epoch" not in message:
            self._told = now
            self._lines.note(message)


def _failed(result: Any) -> str | None:
    errors = [trial.error for trial in result.trials if trial.error]
    if not errors:
        return None
    from probebench.results.cells import shots_text

    what = f"{result.model} on {result.dataset}, {shots_text(result.shots)}"
    return f"{what}: a training failed, so there is no score: {errors[0]}"


def _warn_about(result: Any) -> None:
    from probebench.results.cells import shots_text

    what = f"{result.model} on {result.dataset}, {shots_text(result.shots)}"
    rates = sorted({rate for trial in result.trials for rate in trial.unconverged})
    if rates and result.mean is not None:
        warn(f"{what}: training diverged at rate {', '.join(f'{rate:g}' for rate in rates)}; others were chosen from")
    if result.selection == "fixed":
        warn(f"{what}: no validation image is left, so the smallest rate was taken unselected")
    if result.selection == "test":
        warn(f"{what}: chosen on the test part, as {result.protocol} says; never ranked")
