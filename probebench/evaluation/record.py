"""The one constructor of a measured result: a task says what it is, and all else follows from what it measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.cache.key import FeatureKey
from probebench.datasets.draws import Draw, TrainingSplit, short_classes
from probebench.evaluation.shifted import Shifted
from probebench.registry.entry import Metric, Shots, Versioned
from probebench.registry.schema import CheckpointSpec
from probebench.results.calibration import calibration
from probebench.results.environment import environment
from probebench.results.metrics import image_scores, mean_score
from probebench.results.predictions import PROBABILITIES, SCALED, Predictions
from probebench.results.retrieval import summary
from probebench.results.schema import CheckpointFacts, Result, Shift, Trial
from probebench.results.stats import dropped, interval


class Task(Protocol):
    """What every task can say of its result before anything is measured."""

    @property
    def kind(self) -> str:
        """The kind of the result."""

    @property
    def model(self) -> str:
        """Id of the checkpoint."""

    @property
    def checkpoint(self) -> CheckpointSpec:
        """Its entry."""

    @property
    def dataset_id(self) -> str:
        """Id of the data set."""

    @property
    def key(self) -> FeatureKey:
        """The key of its features, which names weights, images, input size and dtype; these need not be cached."""

    @property
    def protocol(self) -> Versioned:
        """How it is trained, chosen and scored."""

    @property
    def backend(self) -> str:
        """What computes."""

    @property
    def shots(self) -> Shots:
        """Labelled images a class; 0 for zero-shot."""

    @property
    def metric(self) -> Metric:
        """What is reported: the protocol's, else the data set's own."""

    @property
    def shared_with_train(self) -> int | None:
        """Test images of the data set that are in train too; None where nobody looked."""


@dataclass(frozen=True)
class TrainedOn:
    """The labelled images of a result.

    Attributes:
        split: What could be drawn.
        draw: The first draw.
        own_labels: Labels of the validation split of the data set's own; None where it did not choose.
    """

    split: TrainingSplit
    draw: Draw
    own_labels: frozenset[int] | None


@dataclass(frozen=True)
class MeasuredShift:
    """What else there is to say of a run on the test part of another data set.

    Attributes:
        to: That data set.
        own_test: Labels of the own test part, (N,).
        skipped: Ids of the other's test images that could not be read; ``Measured.skipped`` are of the own data set.
    """

    to: Shifted
    own_test: Labels
    skipped: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a task measured: all of its result that cannot be derived.

    Attributes:
        mode: The variant of the kind.
        width: Feature width D.
        trained_on: None where no labelled image was used.
        trials: One for each row of predictions; their scores are filled in from these.
        predictions: Of the whole test split.
        feature_key: Digest of each split's feature key; None where features were not cached ones.
        skipped: Ids of images, of all splits, that could not be read and were left out.
        shifted: Where the predictions are of another data set's test part.
        environment: What produced it, beside versions and machine.
        timings: Seconds.
    """

    mode: str
    width: int
    trained_on: TrainedOn | None
    trials: Sequence[Trial]
    predictions: Predictions
    feature_key: dict[str, str] | None = None
    skipped: Sequence[str] = ()
    shifted: MeasuredShift | None = None
    environment: dict[str, Any]
    timings: dict[str, float]


def measured_result(task: Task, measured: Measured, stored: dict[str, str]) -> Result:
    """Returns the result of a task; its scores come from the stored predictions and nowhere else.

    Args:
        task: What was asked for.
        measured: What came of it.
        stored: Name and sha256 of the predictions' file.
    """
    labels, key, used = measured.predictions.y_true, task.key, measured.trained_on
    scores = image_scores(task.metric, labels, measured.predictions.y_pred)
    trials = [
        trial if trial.error else trial.model_copy(update={"test_score": mean_score(row)})
        for trial, row in zip(measured.trials, scores, strict=True)
    ]
    whole = all(trial.error is None for trial in trials)
    selections = {trial.selection for trial in trials}
    to = measured.shifted
    tested = to.own_test if to else labels
    short = short_classes(used.draw, used.split.labels, used.own_labels, tested) if used else []
    # Full data has one draw, so several trials there are several training seeds.
    varies = "training seeds" if task.shots == "full" else "draws"
    return Result(
        provenance="measured",
        kind=task.kind,
        mode=measured.mode,
        model=task.model,
        weights_digest=key.weights_digest,
        checkpoint=CheckpointFacts.of(task.checkpoint, key.architecture, key.layer, measured.width),
        dataset=task.dataset_id,
        dataset_fingerprint=key.dataset_fingerprint,
        train_fingerprint=used.split.fingerprint if used else None,
        feature_key=measured.feature_key,
        input_size=key.preprocessing.size,
        dtype=key.dtype,
        protocol=task.protocol.id,
        protocol_version=task.protocol.version,
        backend=task.backend,
        shots=task.shots,
        labels_spent=trials[0].train + trials[0].validation,
        selection="test" if "test" in selections else "validation" if "validation" in selections else "fixed",
        trials=trials,
        short_classes=short,
        classes=len(np.union1d(used.split.labels, tested)) if used and short and task.shots != "full" else None,
        metric=task.metric,
        n_test=len(labels),
        skipped_ids=list(to.skipped if to else measured.skipped),
        test_dataset=to.to.group.dataset if to else None,
        shift=_shift(task, measured, to, scores if whole else None) if to else None,
        shared_with_train=None if to else task.shared_with_train,
        mean=mean_score(scores) if whole else None,
        ci95=interval(scores) if whole else None,
        ci95_covers=(f"{varies} and test images" if len(trials) > 1 else "test images only") if whole else None,
        calibration=calibration(measured.predictions, PROBABILITIES) if whole else None,
        scaled_calibration=calibration(measured.predictions, SCALED) if whole else None,
        retrieval=summary(measured.predictions),
        predictions=stored,
        environment={**environment(), **measured.environment},
        timings=measured.timings,
    )


def _shift(task: Task, measured: Measured, to: MeasuredShift, scores: npt.NDArray[np.float64] | None) -> Shift:
    """Returns what a result says of the own test part and of the drop; ``scores`` None: a trial failed."""
    own = measured.predictions.own
    assert own is not None
    drop, drop_ci95, own_mean = None, None, None
    if scores is not None:
        own_scores = image_scores(task.metric, own.y_true, own.y_pred)
        own_mean, (drop, drop_ci95) = mean_score(own_scores), dropped(own_scores, scores)
    return Shift(
        fingerprint=to.to.group.key.dataset_fingerprint,
        labels=to.to.some,
        n_own=len(own.test_ids),
        own_skipped_ids=list(measured.skipped),
        own_mean=own_mean,
        drop=drop,
        drop_ci95=drop_ci95,
    )
