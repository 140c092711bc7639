"""Turns what a task chose and predicted into a result that says all that produced it."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from probebench.datasets.draws import short_classes
from probebench.finetuning.select import Trial as Trained
from probebench.finetuning.task import FinetuneTask
from probebench.results.environment import environment
from probebench.results.metrics import image_scores, mean_score
from probebench.results.schema import CheckpointFacts, Result, ShortClass, Trial
from probebench.results.stats import interval
from probebench.results.store import Predictions


@dataclass(frozen=True)
class Made:
    """What a result was made with and how long it took.

    Attributes:
        stored: Name and sha256 of the predictions' file.
        timings: Seconds.
        processes: Processes that trained together.
        width: Feature width D.
    """

    stored: dict[str, str]
    timings: dict[str, float]
    processes: int
    width: int


def _trial(task: FinetuneTask, alpha: float, trained: Trained, score: float) -> Trial:
    chosen: dict[str, float] = {}
    if trained.rate is not None and trained.epoch is not None:
        chosen = {"learning_rate": trained.rate, "epoch": trained.epoch.number, "training_seed": trained.seeds.training}
        if alpha != 1:
            chosen["alpha"] = alpha
    rates = task.learning_rates
    several = len(rates) > 1 and trained.how != "fixed" and trained.rate is not None
    failed = trained.weights is None
    return Trial(
        draw_seed=trained.draw.seed,
        draw_digest=trained.draw.digest,
        train=len(trained.draw.train),
        validation=len(trained.held.part) if trained.held.part else 0,
        selection=trained.how,
        chosen=chosen,
        on_edge=trained.rate in (rates[0], rates[-1]) if several else None,
        tried=(rates[0], rates[-1]) if several else None,
        validation_loss=trained.epoch.loss if trained.epoch else None,
        validation_score=trained.epoch.score if trained.epoch else None,
        test_score=None if failed else score,
        converged=None,
        unconverged=list(trained.diverged),
        error=trained.error,
    )


def make_result(
    task: FinetuneTask, alpha: float, trained: Sequence[Trained], predictions: Predictions, made: Made
) -> Result:
    """Returns the result of a task at an alpha; its scores come from the stored predictions and nowhere else."""
    scores = image_scores(task.metric, predictions.y_true, predictions.y_pred)
    trials = [_trial(task, alpha, one, mean_score(row)) for one, row in zip(trained, scores, strict=True)]
    whole = all(trial.error is None for trial in trials)
    varies = "training seeds" if task.shots == "full" else "draws"
    selections = {trial.selection for trial in trials}
    return Result(
        provenance="measured",
        kind="finetune",
        mode=task.label(alpha),
        model=task.model,
        weights_digest=task.key.weights_digest,
        checkpoint=CheckpointFacts.of(task.checkpoint, task.key.architecture, task.key.layer, made.width),
        dataset=task.dataset.id,
        dataset_fingerprint=task.key.dataset_fingerprint,
        train_fingerprint=task.part.fingerprint,
        feature_key=None,
        input_size=task.key.preprocessing.size,
        dtype=task.key.dtype,
        protocol=task.protocol.id,
        protocol_version=task.protocol.version,
        backend="torch",
        shots=task.shots,
        labels_spent=trials[0].train + trials[0].validation,
        selection="test" if "test" in selections else "validation" if "validation" in selections else "fixed",
        trials=trials,
        short_classes=[
            ShortClass(**vars(short))
            for short in short_classes(
                trained[0].draw,
                task.dataset.splits["train"].labels,
                frozenset(task.dataset.splits["val"].labels.tolist()) if task.own_validation else None,
                predictions.y_true,
            )
        ],
        metric=task.metric,
        n_test=len(predictions.y_true),
        skipped_ids=[],
        mean=mean_score(scores) if whole else None,
        ci95=interval(scores) if whole else None,
        ci95_covers=(f"{varies} and test images" if len(trials) > 1 else "test images only") if whole else None,
        predictions=made.stored,
        environment={**environment(), "training": _training(task, trained, made)},
        timings=made.timings,
    )


def _training(task: FinetuneTask, trained: Sequence[Trained], made: Made) -> dict[str, str | int | None]:
    options = task.options
    return {
        "device": options.device,
        "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
        "processes": made.processes,
        "threads": torch.get_num_threads(),
        "micro_batch": min((one.micro for one in trained if one.micro), default=None),
        "loaders": options.loaders,
        "accelerate": importlib.metadata.version("accelerate"),
    }
