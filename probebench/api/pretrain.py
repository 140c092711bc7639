"""Pre-training under control: one command makes a checkpoint whose every fact is known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from probebench.api.session import Folders, Watching, listed, new_entries, open_registry, watched
from probebench.errors import UsageError
from probebench.files import home
from probebench.progress import Progress, duration

if TYPE_CHECKING:
    from probebench.pretraining.plan import Planned
    from probebench.pretraining.task import PretrainTask
    from probebench.registry import Registry


def pretrain(
    recipe: str,
    source: str | Sequence[str],
    *,
    samples: int | None = None,
    label_noise: float = 0.0,
    captions: Literal["names", "templates"] = "names",
    run: int = 0,
    epochs: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["auto", "fp32", "bf16"] = "auto",
    workers: int | None = None,
    registry: Folders = (),
    progress: Watching = False,
) -> str:
    """Trains a network from random weights, keeps it, writes its entry, and returns its id.

    The same call again goes on where it was cut off, or does nothing. On a CPU, at one number of threads, the weights
    are the same bit by bit.

    Args:
        recipe: Id of a recipe (registry/recipes).
        source: Id of a source (``probebench sources list``), a folder with captions.csv, ``wds:SHARDS`` or ``hf:NAME``;
            of several, equal parts.
        samples: Images in all; a smaller number's are among a larger one's. None: all that differ.
        label_noise: Share of images whose labels or captions are permuted.
        captions: Captions as the source has them, or within the recipe's sentences.
        run: The seed: of the first weights, the order, the views and the noise.
        epochs: Passes over the images; None: the recipe's own length, which is the same for every size.
        device: Where to compute.
        dtype: Arithmetic; bf16 is mixed precision, and auto takes it on GPUs that have it.
        workers: Processes that decode, where the recipe stores nothing; None: by cores.
        registry: Folders of your own entries; the new one goes into the first, else into the home's.
        progress: Whether to show a bar, or what hears how far it is.

    Raises:
        UsageError: There is no such recipe or source, it has too few images or no labels, or options do not fit.
        ProbebenchError: An image cannot be read, memory runs out, or the training diverges.
    """
    with watched(progress, "images") as told:
        entries, task = _task(
            recipe,
            source,
            samples=samples,
            label_noise=label_noise,
            captions=captions,
            run=run,
            epochs=epochs,
            device=device,
            dtype=dtype,
            workers=workers,
            registry=registry,
        )
        from probebench.pretraining.pretrain import pretrain as train

        return train(task, entries.checkpoints.get(task.id), new_entries(registry), told).spec.id


def plan_pretrain(recipe: str, source: str | Sequence[str], *, registry: Folders = (), **asked: Any) -> "Planned":
    """Returns what a pre-training would take; the arguments are all of ``pretrain``'s.

    Raises:
        ProbebenchError: As ``pretrain`` does.
    """
    from probebench.pretraining.plan import planned

    _, task = _task(recipe, source, registry=registry, **asked)
    return planned(task)


def _task(
    recipe: str,
    source: str | Sequence[str],
    *,
    samples: int | None,
    label_noise: float,
    captions: Literal["names", "templates"],
    run: int,
    epochs: int | None,
    device: Literal["auto", "cpu", "cuda"],
    dtype: Literal["auto", "fp32", "bf16"],
    workers: int | None,
    registry: Folders,
) -> "tuple[Registry, PretrainTask]":
    entries = open_registry(registry)
    spec = entries.recipe(recipe)
    sources = [part.strip() for text in listed(source) for part in text.split(",") if part.strip()]
    if not sources:
        raise UsageError("name a source: probebench sources list")
    if not 0 <= label_noise <= 1:
        raise UsageError(f"label noise is a share of the images, from 0 to 1; not {label_noise:g}")
    if run < 0:
        raise UsageError(f"run is a whole number from 0; not {run}")
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs is a whole number from 1; not {epochs}")
    from probebench.pretraining.task import make_task
    from probebench.training.options import TrainingOptions

    # Stored images come as fast as they are read.
    options = TrainingOptions.resolve(device, dtype, None, 0 if spec.store is not None else workers)
    return entries, make_task(
        entries,
        spec,
        sources,
        samples=samples,
        label_noise=label_noise,
        captions=captions,
        run=run,
        epochs=epochs,
        home=home(),
        options=options,
    )


def tell_plan(plan: "Planned", told: Progress) -> None:
    """Tells what a pre-training will take."""
    told.note(
        f"{plan.id}: {plan.samples_seen:,} samples seen, {plan.steps:,} steps of {plan.batch_size} on {plan.samples:,} "
        f"images, at {plan.rate:.0f} images/s (measured here in batches of {plan.measured_batch}): about "
        f"{duration(plan.seconds)}"
    )
    for gpus, hours in plan.gpu_hours.items():
        cards = f"{gpus} GPU{'s' if gpus > 1 else ''}"
        told.note(
            f"modelled, {plan.reference_samples:,} images on {cards}: about {duration(3600 * hours)} "
            f"({plan.gflops:.2g} GFLOP a sample, {plan.tflops:.0f} TFLOP/s a GPU)"
        )
