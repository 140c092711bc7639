"""Turns what a task chose and predicted into a result that says all that produced it."""

from collections.abc import Sequence
from dataclasses import dataclass

from probebench.datasets.draws import Draw, TrainingSplit, short_classes
from probebench.evaluation.probe_task import ProbeTask
from probebench.probes.select import Selected
from probebench.results.environment import environment
from probebench.results.metrics import image_scores, mean_score
from probebench.results.schema import CheckpointFacts, Result, ShortClass, Trial
from probebench.results.stats import interval
from probebench.results.store import Predictions


@dataclass(frozen=True)
class DrawOutcome:
    """A draw and its finished probe, or why there is none; and the labels of a validation part of the set's own."""

    draw: Draw
    validation: int
    own_labels: frozenset[int] | None
    selected: Selected | None
    error: str | None


@dataclass(frozen=True)
class Made:
    """What a result was made from and how long it took.

    Attributes:
        part: The training part.
        width: Feature width D.
        digests: Digest of each split's feature key.
        settings: Device, batch size and the like of the extraction.
        stored: Name and sha256 of the predictions' file.
        timings: Seconds.
        skipped: Ids of images, of all parts, that could not be read and were left out.
    """

    part: TrainingSplit
    width: int
    digests: dict[str, str]
    settings: dict[str, str | int | bool]
    stored: dict[str, str]
    timings: dict[str, float]
    skipped: list[str]


def _trial(chosen: DrawOutcome, score: float) -> Trial:
    selected = chosen.selected
    return Trial(
        draw_seed=chosen.draw.seed,
        draw_digest=chosen.draw.digest,
        train=len(chosen.draw.train),
        validation=chosen.validation,
        selection=selected.how if selected else "validation",
        chosen=selected.chosen if selected else {},
        tried=selected.tried if selected else None,
        on_edge=selected.on_edge if selected else None,
        validation_loss=selected.loss if selected else None,
        validation_score=selected.score if selected else None,
        test_score=score if selected else None,
        converged=selected.probe.converged if selected else None,
        gap=selected.probe.gap if selected else None,
        iterations=selected.probe.iterations if selected else None,
        unconverged=list(selected.unconverged) if selected else [],
        left_out=list(selected.left_out) if selected else [],
        error=chosen.error,
    )


def make_result(task: ProbeTask, chosen: Sequence[DrawOutcome], predictions: Predictions, made: Made) -> Result:
    """Returns the result of a task; its scores come from the stored predictions and nowhere else."""
    scores = image_scores(task.metric, predictions.y_true, predictions.y_pred)
    trials = [_trial(one, mean_score(row)) for one, row in zip(chosen, scores, strict=True)]
    whole = all(trial.error is None for trial in trials)
    key = task.group.key
    return Result(
        provenance="measured",
        kind=task.kind,
        mode=task.mode,
        model=task.group.model,
        weights_digest=key.weights_digest,
        checkpoint=CheckpointFacts.of(task.checkpoint, key.architecture, key.layer, made.width),
        dataset=task.group.dataset,
        dataset_fingerprint=key.dataset_fingerprint,
        train_fingerprint=made.part.fingerprint,
        feature_key=made.digests,
        input_size=key.preprocessing.size,
        dtype=key.dtype,
        protocol=task.protocol.id,
        protocol_version=task.protocol.version,
        backend=task.backend,
        shots=task.shots,
        labels_spent=trials[0].train + trials[0].validation,
        selection="validation" if any(trial.selection == "validation" for trial in trials) else "fixed",
        trials=trials,
        short_classes=[
            ShortClass(label=short.label, train=short.train, validation=short.validation)
            for short in short_classes(chosen[0].draw, made.part.labels, chosen[0].own_labels, predictions.y_true)
        ],
        metric=task.metric,
        n_test=len(predictions.y_true),
        skipped_ids=made.skipped,
        mean=mean_score(scores) if whole else None,
        ci95=interval(scores) if whole else None,
        ci95_covers=("draws and test images" if len(trials) > 1 else "test images only") if whole else None,
        predictions=made.stored,
        environment={**environment(), "extraction": made.settings},
        timings=made.timings,
    )
