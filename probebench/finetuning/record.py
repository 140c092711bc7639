"""What a task's trained networks say of themselves in a result."""

import importlib.metadata
from collections.abc import Sequence

import torch

from probebench.evaluation.record import TrainedOn
from probebench.finetuning.select import TrainedDraw
from probebench.finetuning.task import FinetuneTask
from probebench.results.schema import Trial


def trial_of(task: FinetuneTask, alpha: float, trained: TrainedDraw) -> Trial:
    """Returns what a result at an alpha says of a draw, less its score."""
    chosen: dict[str, float] = {}
    if trained.rate is not None and trained.epoch is not None:
        chosen = {"learning_rate": trained.rate, "epoch": trained.epoch.number, "training_seed": trained.seeds.training}
        if alpha != 1:
            chosen["alpha"] = alpha
    rates = task.learning_rates
    several = len(rates) > 1 and trained.how != "fixed" and trained.rate is not None
    return Trial(
        draw_seed=trained.draw.seed,
        draw_digest=trained.draw.digest,
        train=len(trained.draw.train),
        validation=len(trained.held.images) if trained.held.images else 0,
        selection=trained.how,
        chosen=chosen,
        on_edge=trained.rate in (rates[0], rates[-1]) if several else None,
        tried=(rates[0], rates[-1]) if several else None,
        validation_loss=trained.epoch.loss if trained.epoch else None,
        validation_score=trained.epoch.score if trained.epoch else None,
        test_score=None,
        converged=None,
        unconverged=list(trained.diverged),
        error=trained.error,
    )


def trained_on(task: FinetuneTask, trained: Sequence[TrainedDraw]) -> TrainedOn:
    """Returns the labelled images of a task."""
    own = frozenset(task.dataset.splits["val"].labels.tolist()) if task.own_validation else None
    return TrainedOn(task.train_split, trained[0].draw, own)


def training_environment(
    task: FinetuneTask, trained: Sequence[TrainedDraw], processes: int
) -> dict[str, str | int | None]:
    """Returns where and how ``processes`` processes trained together."""
    options = task.options
    return {
        "device": options.device,
        "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "micro_batch": min((one.micro for one in trained if one.micro), default=None),
        "loaders": options.loaders,
        "accelerate": importlib.metadata.version("accelerate"),
    }
