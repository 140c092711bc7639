"""Whole networks trained on the draws of the probes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from probebench.api.data import place_of
from probebench.api.evaluate import DataName, Path_, Shots
from probebench.api.session import listed, open_registry, raise_first, shots_of, warn, watched
from probebench.api.tables import Results
from probebench.errors import ProbebenchError, UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.results.schema import Result


def finetune(
    model: str | Sequence[str],
    dataset: DataName,
    *,
    shots: Shots | Sequence[Shots] | None = None,
    protocol: str = "quick",
    mode: Literal["full", "lp-ft", "scratch", "linear"] = "full",
    head: Literal["zero", "probe", "text"] | None = None,
    alphas: float | Sequence[float] = 1.0,
    draws: int | None = None,
    input_size: int | None = None,
    dtype: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    out: Path_ = "results",
    progress: bool = False,
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
        out: The results folder.
        progress: Whether to show a bar.

    Raises:
        UsageError: There is no such checkpoint, data set or protocol, or options do not fit together.
        ProbebenchError: Something could not be trained; all else is done and written.
    """
    from probebench.backbones.user_weights import require_weights
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import expand_datasets, expand_models, is_source

    registry, folder = open_registry(), Path(out)
    spec = registry.finetune_protocol(protocol)
    models = expand_models(registry, listed(model))
    names = expand_datasets(registry, [place_of(registry, one) for one in listed(dataset)])
    for one in models if mode != "scratch" else ():
        require_weights(registry.checkpoint(one), home())
    sets = [
        (open_dataset(name, registry, home() / "datasets"), None if is_source(name) else registry.dataset(name))
        for name in names
    ]
    from probebench.finetuning.finetune import finetune_all
    from probebench.finetuning.plan import Request, tasks_of
    from probebench.training.options import TrainingOptions

    request = Request(
        protocol=spec,
        mode=mode,
        head=head,
        shots=shots_of(shots),
        draws=draws,
        alphas=listed(alphas),
        input_size=input_size,
        options=TrainingOptions.resolve(device, dtype, batch_size, workers),
    )
    tasks = [task for one in models for task in tasks_of(request, registry.checkpoint(one), sets, home())]
    probe = registry.protocol("default") if any(task.head == "probe" for task in tasks) else None
    done: list[tuple[Path, Result]] = []
    problems: list[str | ProbebenchError] = []
    with watched(progress, "images") as told:
        for task, found in zip(tasks, finetune_all(tasks, folder, probe, told), strict=True):
            if isinstance(found, UsageError):
                raise found
            if isinstance(found, ProbebenchError):
                problems.append(type(found)(f"{task.model} on {task.dataset.id}: {found}"))
                continue
            for alpha, result in zip(task.alphas, found, strict=True):
                done.append((task.path(folder, alpha), result))
                if failed := [trial.error for trial in result.trials if trial.error]:
                    warn(f"{task.label(alpha)}: a training failed, so there is no score: {failed[0]}")
    raise_first(problems)
    return Results(done)
