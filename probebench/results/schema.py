"""What a result says: every number with what produced it."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from probebench.registry.entry import Count, Metric, PositiveInt, ShortClass, Shots, Whole
from probebench.registry.probes import ResultKind
from probebench.registry.schema import Architecture, CheckpointSpec

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UnitScore = Annotated[float, Field(ge=0, le=1)]
Item = TypeVar("Item")
# The first fault of a list is enough: a stranger's file may hold a fault in each of a hundred thousand items.
Items = Annotated[list[Item], FailFast()]


class Record(BaseModel):
    """Common rules: unknown keys are errors, NaN is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceFact(Record):
    """One pre-training source."""

    name: str
    samples: Count


class CheckpointFacts(Record):
    """The facts about a checkpoint that results are grouped by, as its entry stated them when the result was made.

    Attributes:
        run: Which of several pre-trainings that differ in the seed alone; left out where the entry does not say.
        label_noise: Share of images whose labels or captions were permuted; left out where the entry does not say.
    """

    title: str
    method: str
    objective: str
    sources: Items[SourceFact]
    samples_seen: Count
    labels: str
    curation: str
    architecture: str
    layer: str
    features: int | Literal["unknown"]
    run: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude_if=lambda value: value is None)
    label_noise: UnitScore | None = Field(default=None, exclude_if=lambda value: value is None)

    @classmethod
    def of(
        cls, spec: CheckpointSpec, architecture: Architecture, layer: str, width: int | Literal["unknown"]
    ) -> "CheckpointFacts":
        """Gathers the facts of a checkpoint.

        What features were made with comes from their key, since an entry may have been edited since; what only the
        entry knows comes from there.

        Args:
            spec: The entry.
            architecture: That of the feature key.
            layer: Likewise.
            width: Feature width D.
        """
        training = spec.pretraining
        return cls(
            title=spec.title,
            method=training.method,
            objective=training.objective,
            sources=[SourceFact(name=source.name, samples=source.samples) for source in training.sources],
            samples_seen=training.samples_seen,
            labels=training.labels,
            curation=training.curation,
            architecture=f"{architecture.library}/{architecture.name}",
            layer=layer,
            features=width,
            run=training.run,
            label_noise=training.label_noise,
        )


class Calibration(Record):
    """How far the probabilities of a logistic probe can be believed, on the whole test part, means over the draws.

    Attributes:
        log_loss: Mean of -log p(true label), in nats; p is taken as float32 and never below its smallest normal number.
        brier: Mean over images of the sum over classes of (p - 1 at the true label)^2, between 0 and 2.
        ece: Expected calibration error: the mean distance of confidence and accuracy over 15 bins of equally many
            images.
        ece_debiased: The same less what sampling alone adds to it; may lie below 0 by chance.
    """

    log_loss: Annotated[float, Field(ge=0)]
    brier: Annotated[float, Field(ge=0, le=2)]
    ece: UnitScore
    ece_debiased: Annotated[float, Field(ge=-1, le=1)]


class Trial(Record):
    """One draw. A failed trial has an error and no score.

    Attributes:
        draw_seed: None at full data, where there is one draw.
        draw_digest: sha256 over the ids of the draw.
        train: Images that the probe was fitted on.
        validation: Images that were held out to choose its strength.
        folds: Folds inside the draw, where these chose it.
        chosen: The hyper-parameters.
        on_edge: Whether the choice lies on the grid's edge, or beyond it where the grid was widened; None where nothing
            was chosen.
        tried: The smallest and the largest strength that were tried.
        validation_loss: Mean log-loss of the choice on validation images, in nats.
        validation_score: Accuracy of the choice on validation images, or its score by the metric where that chose.
        test_score: UnitScore on the whole test part, by the metric.
        converged: Whether the fit at the choice is certified to be near its optimum, to a relative gap of 1e-6 by exact
            solvers and 1e-4 by procedures that stop early; None where a procedure has no optimum to reach.
        gap: Certified bound on (objective - optimum) / objective at the choice; None where there is none.
        iterations: The solver's own count at the choice.
        unconverged: Strengths of the grid at which it is not, or at which training diverged.
        left_out: Values of the grid that could not be tried: numbers of neighbours above that of the training rows.
        temperature: What divides the scores of a logistic probe so that its probabilities fit the validation images
            best; left out where there were none.
        error: Why the trial failed.
    """

    draw_seed: int | None
    draw_digest: Digest
    train: int
    validation: int
    selection: Literal["validation", "test", "fixed"]
    folds: int | None = Field(default=None, exclude_if=lambda value: value is None)
    chosen: dict[str, float]
    on_edge: bool | None
    validation_loss: float | None
    validation_score: UnitScore | None
    test_score: UnitScore | None
    converged: bool | None
    gap: float | None = None
    iterations: int | None = None
    tried: tuple[float, float] | None = None
    unconverged: Items[float]
    left_out: Items[float] = Field(default=[], exclude_if=lambda value: not value)
    temperature: Annotated[float, Field(gt=0)] | None = Field(default=None, exclude_if=lambda value: value is None)
    error: str | None = None


class Retrieval(Record):
    """What came of ranking training images for each test image: means over draws and test images.

    Attributes:
        recall_at_1: Share of test images whose nearest training image is of their class; likewise among 5 and 10.
        mean_average_precision: Over the whole ranking; a test image whose class the draw lacks counts as 0.
    """

    recall_at_1: UnitScore
    recall_at_5: UnitScore
    recall_at_10: UnitScore
    mean_average_precision: UnitScore


class Shift(Record):
    """What a result on the test part of another data set says beside its score there.

    Attributes:
        fingerprint: sha256 over ids, labels and parts of that data set.
        labels: Labels of ``dataset`` whose classes it has too, ascending, where these are not all: the prediction is
            then the best of these classes, on either side. Left out where it has all classes.
        n_own: Images of ``dataset``'s own test part that are of these classes.
        own_skipped_ids: Images of ``dataset`` that could not be read; ``skipped_ids`` are the other's.
        own_mean: Mean score of the same probes on these images; None when a trial failed.
        drop: ``own_mean`` less ``mean``.
        drop_ci95: Its 95% interval, paired over draws (``results.stats.dropped``).
    """

    fingerprint: Digest
    labels: Items[int] = Field(default=[], exclude_if=lambda value: not value)
    n_own: Annotated[int, Field(ge=1)]
    own_skipped_ids: Items[str] = []
    own_mean: UnitScore | None
    drop: Annotated[float, Field(ge=-1, le=1)] | None
    drop_ci95: tuple[float, float] | None


class Result(Record):
    """One run: one checkpoint on one data set at one number of shots under one protocol.

    Attributes:
        shots: Images a class, or "full"; 0 for zero-shot.
        labels_spent: Labelled images used by one draw, training and validation together.
        selection: What the hyper-parameters were chosen on.
        classes: Classes of the data set, where some have fewer images than the shots say; None elsewhere.
        skipped_ids: Images that could not be read and were left out.
        test_dataset: Another data set, whose test part the scores are of; ``n_test``, ``skipped_ids`` and
            ``predictions`` are then of that, with its labels as ``dataset`` numbers them. None: the set's own.
        shift: What there is to say of that; there where ``test_dataset`` is.
        shared_with_train: Test images that are in train too, byte for byte, as they were found when a data set of the
            user's own was opened; None where nobody looked.
        mean: Mean test score over the trials; None when a trial failed.
        ci95: Its 95% interval; None when a trial failed.
        ci95_covers: What varies in the interval: with one draw and one training, test images only.
        calibration: Of a logistic probe's probabilities; left out where predictions hold none.
        scaled_calibration: The same after temperature scaling, fitted on the validation images.
        retrieval: Of a run that ranked training images.
        predictions: Name and sha256 of the .npz with test_ids, y_true and y_pred (trials, n_test), and the measures
            that the kind has (``results/predictions.py``).
    """

    schema_version: Annotated[Literal[1], Whole] = 1
    provenance: Literal["measured", "published"]
    kind: ResultKind
    mode: str
    model: str
    weights_digest: Digest | None
    checkpoint: CheckpointFacts
    dataset: str
    dataset_fingerprint: Digest | None
    train_fingerprint: Digest | None
    feature_key: dict[str, Digest] | None
    input_size: int | None
    dtype: str | None
    protocol: str
    protocol_version: PositiveInt
    backend: str | None
    shots: Shots
    labels_spent: int | None
    selection: Literal["validation", "test", "fixed"]
    trials: Items[Trial]
    short_classes: Items[ShortClass]
    classes: Annotated[int, Field(ge=2)] | None = Field(default=None, exclude_if=lambda value: value is None)
    metric: Metric
    n_test: int | None
    skipped_ids: Items[str]
    test_dataset: str | None = Field(default=None, exclude_if=lambda value: value is None)
    shift: Shift | None = Field(default=None, exclude_if=lambda value: value is None)
    shared_with_train: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude_if=lambda value: value is None)
    mean: UnitScore | None
    ci95: tuple[UnitScore, UnitScore] | None
    ci95_covers: Literal["draws and test images", "training seeds and test images", "test images only"] | None
    calibration: Calibration | None = Field(default=None, exclude_if=lambda value: value is None)
    scaled_calibration: Calibration | None = Field(default=None, exclude_if=lambda value: value is None)
    retrieval: Retrieval | None = Field(default=None, exclude_if=lambda value: value is None)
    predictions: dict[str, str] | None
    environment: dict[str, Any]
    timings: dict[str, float]

    @model_validator(mode="after")
    def _shift_is_whole(self) -> "Result":
        if (self.test_dataset is None) != (self.shift is None):
            raise ValueError("test_dataset and shift belong together")
        return self

    @model_validator(mode="after")
    def _measured_can_be_recomputed(self) -> "Result":
        if self.provenance == "measured":
            needed = {"weights_digest", "dataset_fingerprint", "predictions", "n_test", "trials"}
            lacking = sorted(name for name in needed if not getattr(self, name))
            if lacking:
                raise ValueError(f"a measured result needs {', '.join(lacking)}")
        return self
