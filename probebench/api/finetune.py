"""Whole networks trained on the draws of the probes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from probebench.api.data import place_of
from probebench.api.evaluate import DataName, Shots
from probebench.api.models import with_entries
from probebench.api.session import (
    EngineName,
    Folders,
    Path_,
    finished,
    listed,
    shots_of,
    started,
    warn,
    watched,
)
from probebench.api.tables import Results
from probebench.errors import ProbebenchError, TooFewImagesError, UsageError
from probebench.files import home
from probebench.progress import Progress, duration

if TYPE_CHECKING:
    from probebench.datasets.base import Dataset
    from probebench.engine import Ray
    from probebench.finetuning import FinetuneTask
    from probebench.finetuning.plan import Planned, Request
    from probebench.finetuning.task import Head
    from probebench.registry import CheckpointSpec, DatasetSpec, Registry
    from probebench.results.schema import Result

    # A checkpoint and the data sets that it is trained on, each with its entry if it has one.
    Pair = tuple[CheckpointSpec, Sequence[tuple[Dataset, DatasetSpec | None]]]

Mode = Literal["full", "lp-ft", "scratch", "linear"]


def finetune(
    model: str | Sequence[str],
    dataset: DataName,
    *,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str = "quick",
    mode: Mode = "full",
    head: Literal["zero", "probe", "text"] | None = None,
    alphas: float | Sequence[float] = 1.0,
    draws: int | None = None,
    input_size: int | None = None,
    dtype: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    engine: EngineName = "local",
    registry: Folders = (),
    out: Path_ = "results",
    dry_run: bool = False,
    progress: bool | Progress = False,
) -> Results:
    """Trains whole networks on few-shot draws and on full data, and scores them on the whole test split.

    Draws are those of the probes. The learning rate, and the epoch where the protocol says so, are chosen on validation
    images only. Results that are there are read, and a training that was cut off goes on from its last epoch.

    Args:
        model: Ids of checkpoints, globs too. A module of a Python session cannot be built again, so it is refused.
        dataset: Ids of data sets, suites, folders or other sources.
        shots: Labelled images a class, or "full"; None: the protocol's.
        protocol: Id of a fine-tune protocol.
        mode: What is trained and from where: everything; everything, from the probe's head; everything, from random
            weights; the head alone.
        head: How the classifier starts: zero, the cached probe, or the classes' names; None: as the protocol says.
        alphas: Also weights between the start (0) and the end of training (1), as WiSE-FT does; a result each.
        draws: Draws to average over; None: the protocol's.
        input_size: Side of the input in pixels; None: the entry's.
        dtype: Arithmetic; bf16 is mixed precision, and auto takes it on GPUs that have it.
        device: Where to compute.
        batch_size: Images at once; gradients add up over the protocol's batch. None: what fits.
        workers: Processes that decode and augment; None: by cores.
        engine: Compute here, or on Ray: the cluster of RAY_ADDRESS, else this machine's cores and GPUs.
        registry: Folders of your own entries.
        out: The results folder.
        dry_run: Train nothing and return nothing: only tell ``progress`` what it would take in images and time.
        progress: Whether to show a bar, or what hears how far it is, and what it will take.

    Raises:
        UsageError: There is no such checkpoint, data set or protocol, or options do not fit together.
        UnfinishedError: Something could not be trained; all else is done, written and in ``done``.
    """
    folder = Path(out)
    entries, pairs, request_of = _prepared(
        model,
        dataset,
        shots=shots,
        protocol=protocol,
        mode=mode,
        head=head,
        alphas=alphas,
        draws=draws,
        input_size=input_size,
        dtype=dtype,
        device=device,
        batch_size=batch_size,
        workers=workers,
        registry=registry,
    )
    with started(engine) as cluster, watched(progress or dry_run, "images") as told:
        request = request_of(cluster.gpus if cluster else None)
        if dry_run:
            tell_cost(_planned(request, pairs, folder), told)
            return Results([])
        # With an engine, the work is not done on this machine, and timing it here would say nothing.
        done, problems = finetune_pairs(
            entries, request, pairs, out=folder, cluster=cluster, told=told, tell=bool(progress) and cluster is None
        )
    return finished(Results(done), problems)


def plan_finetune(
    model: str | Sequence[str], dataset: DataName, *, registry: Folders = (), out: Path_ = "results", **asked: Any
) -> "list[Planned]":
    """Returns what each training that is not there yet would take on this machine; the arguments are ``finetune``'s.

    Raises:
        ProbebenchError: Something is missing, or does not fit together.
    """
    _, pairs, request_of = _prepared(model, dataset, registry=registry, **asked)
    return _planned(request_of(None), pairs, Path(out))


def _prepared(
    model: str | Sequence[str],
    dataset: DataName,
    *,
    shots: Shots | Sequence[Shots] | None,
    protocol: str,
    mode: Mode,
    head: "Head | None",
    alphas: float | Sequence[float],
    draws: int | None,
    input_size: int | None,
    dtype: Literal["auto", "fp32", "bf16"],
    device: Literal["auto", "cpu", "cuda"],
    batch_size: int | None,
    workers: int | None,
    registry: Folders,
) -> "tuple[Registry, list[Pair], Callable[[int | None], Request]]":
    """Finds what was named, before torch is loaded, which takes seconds.

    Returns:
        Entries, checkpoints with their data sets, and what says how to train, given an engine's GPUs.
    """
    from probebench.registry.names import expand_datasets, is_source

    entries, models = with_entries(registry, listed(model))
    spec, asked = entries.finetune_protocol(protocol), shots_of(shots)
    names = expand_datasets(entries, [place_of(entries, one) for one in listed(dataset)])
    # Once all names are known: these load NumPy and Pillow.
    from probebench.backbones.user_weights import require_weights
    from probebench.datasets.open import open_dataset

    for one in models if mode != "scratch" else ():
        require_weights(entries.checkpoint(one), home())
    sets = [
        (open_dataset(name, entries, home() / "datasets"), None if is_source(name) else entries.dataset(name))
        for name in names
    ]
    if bare := [opened.id for opened, _ in sets if "train" not in opened.splits]:
        raise UsageError(f"{bare[0]} has a test part only, and nothing to train on")

    def request_of(gpus: int | None) -> "Request":
        from probebench.finetuning.plan import Request
        from probebench.training.options import TrainingOptions

        return Request(
            protocol=spec,
            mode=mode,
            head=head,
            shots=asked,
            draws=draws,
            alphas=listed(alphas),
            input_size=input_size,
            options=TrainingOptions.resolve(device, dtype, batch_size, workers, gpus),
        )

    return entries, [(entries.checkpoint(one), sets) for one in models], request_of


def finetune_pairs(
    registry: "Registry",
    request: "Request",
    pairs: "Sequence[Pair]",
    *,
    out: Path,
    cluster: "Ray | None",
    told: Progress,
    tell: bool = False,
    go_on: bool = False,
) -> "tuple[list[tuple[Path, Result]], list[object]]":
    """Trains checkpoints on data sets.

    Args:
        registry: Entries.
        request: How to train.
        pairs: Checkpoints, each with the data sets that it is trained on.
        out: The results folder.
        cluster: The engine; None computes here.
        told: Hears of images.
        tell: Whether it hears first what this will take.
        go_on: What does not fit together is a problem among others; shots beyond the data are passed over.

    Returns:
        Results with their files, and what could not be done.

    Raises:
        ProbebenchError: Something is missing, or does not fit together, unless ``go_on``.
    """
    from probebench.evaluation.notes import failure, notes
    from probebench.finetuning.finetune import finetune_all
    from probebench.finetuning.plan import tasks_of

    done: list[tuple[Path, Result]] = []
    problems: list[object] = []
    tasks: list[FinetuneTask] = []
    for checkpoint, sets in pairs:
        try:
            tasks += tasks_of(request, checkpoint, sets, home())
        except ProbebenchError as error:
            if not go_on:
                raise
            problems.append(f"{checkpoint.id}: {error}")
    if tell:
        tell_cost(_costs(tasks, out), told)
    probe = registry.protocol("default") if any(task.head == "probe" for task in tasks) else None
    for task, found in zip(tasks, finetune_all(tasks, out, probe, told, cluster), strict=True):
        if isinstance(found, UsageError) and not go_on:
            raise found
        if isinstance(found, TooFewImagesError) and (go_on or request.shots is None):
            warn(f"{found}; passed over")
        elif isinstance(found, ProbebenchError):
            problems.append(f"{task.model} on {task.dataset.id}: {found}")
        else:
            for alpha, result in zip(task.alphas, found, strict=True):
                done.append((task.path(out, alpha), result))
                problems += failure(result)
                for note in notes(result):
                    warn(note)
    return done, problems


def _planned(request: "Request", pairs: "Sequence[Pair]", out: Path) -> "list[Planned]":
    from probebench.finetuning.plan import tasks_of

    return _costs([task for checkpoint, sets in pairs for task in tasks_of(request, checkpoint, sets, home())], out)


def _costs(tasks: "Sequence[FinetuneTask]", out: Path) -> "list[Planned]":
    """Returns what the trainings that are not there yet will take."""
    from probebench.finetuning.plan import planned

    return [planned(task) for task in tasks if not all(task.path(out, alpha).exists() for alpha in task.alphas)]


def tell_cost(plan: "Sequence[Planned]", told: Progress) -> None:
    """Tells what trainings will take."""
    from probebench.results.cells import shots_text

    for one in plan:
        told.note(
            f"{one.model} on {one.dataset}, {shots_text(one.shots)}, {one.mode}: {one.trainings} trainings of "
            f"{one.epochs} epochs, {one.images} images at {one.rate:.0f} images/s: about {duration(one.seconds)}"
        )
    if len(plan) > 1:
        told.note(f"in all about {duration(sum(one.seconds for one in plan))}")
    if not plan:
        told.note("nothing to train: all results are there")
