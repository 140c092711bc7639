"""Makes tasks of what was asked for, and says what one will cost before it starts."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from probebench.backbones.builders import build_backbone
from probebench.cache.key import FeatureKey
from probebench.datasets.base import Dataset
from probebench.errors import UsageError
from probebench.finetuning.heads import cached_features
from probebench.finetuning.model import Starts
from probebench.finetuning.select import ValidationImages, image_items, trainings_of
from probebench.finetuning.task import FinetuneTask, Head, Mode
from probebench.progress import Silent
from probebench.registry.checkpoint import untrained
from probebench.registry.entry import Shots
from probebench.registry.schema import CheckpointSpec, DatasetSpec, FinetuneProtocol
from probebench.training.data import ImageSubset
from probebench.training.options import TrainingOptions
from probebench.training.predict import accelerator, predict
from probebench.training.timing import images_a_second

# A look at an image costs about a third of training on it: no gradient.
_LOOK = 1 / 3
# Steps that are timed after the first, and the most images that each has.
_STEPS, _IMAGES = 3, 32


@dataclass(frozen=True, kw_only=True)
class Request:
    """How to train, whatever the data set.

    Attributes:
        protocol: The protocol.
        mode: What is trained, and from where.
        head: How the classifier starts; None: as the protocol says, and from the probe under ``lp-ft``.
        shots: Numbers of shots; None: the protocol's.
        draws: Draws to average over; None: the protocol's.
        alphas: As in ``FinetuneTask``.
        input_size: Side of the input in pixels; None: the checkpoint's.
        options: Device and the like.
    """

    protocol: FinetuneProtocol
    mode: Mode
    head: Head | None
    shots: Sequence[Shots] | None
    draws: int | None
    alphas: Sequence[float]
    input_size: int | None
    options: TrainingOptions

    @property
    def start(self) -> Head:
        """How the classifier starts.

        Raises:
            UsageError: The mode has a start of its own.
        """
        if self.mode == "lp-ft":
            if self.head not in (None, "probe"):
                raise UsageError("mode lp-ft starts from the probe; leave out --head, or use --mode full")
            return "probe"
        if self.mode == "scratch" and self.head in ("probe", "text"):
            raise UsageError(f"mode scratch has no pre-trained features for a {self.head} head; leave out --head")
        return self.head or ("zero" if self.mode == "scratch" else self.protocol.head)


def tasks_of(
    request: Request,
    checkpoint: CheckpointSpec,
    sets: Iterable[tuple[Dataset, DatasetSpec | None]],
    home: Path,
) -> list[FinetuneTask]:
    """Returns a task for each data set and number of shots.

    Raises:
        WeightsError: The weights are missing, damaged or out of reach.
        CacheError: A head starts from the probe, and features are not cached; the line says which extract to run.
        UsageError: What was asked for does not fit together.
    """
    head = request.start
    spec = untrained(checkpoint, 0) if request.mode == "scratch" else checkpoint
    backbone = build_backbone(spec, home, request.input_size)
    tasks = []
    for dataset, names in sets:
        key = FeatureKey.of(
            spec,
            weights_digest=backbone.weights_digest,
            preprocessing=backbone.input,
            dtype=request.options.dtype,
            dataset_fingerprint=dataset.fingerprint,
            content=dataset.content,
            split="train",
        )
        tasks += [
            FinetuneTask(
                model=checkpoint.id,
                checkpoint=spec,
                key=key,
                dataset=dataset,
                names=names,
                protocol=request.protocol,
                mode=request.mode,
                head=head,
                shots=shots,
                draws=request.draws or request.protocol.draws,
                alphas=tuple(dict.fromkeys(request.alphas)),
                metric=names.metric if names else "accuracy",
                home=home,
                options=request.options,
            )
            for shots in request.shots or request.protocol.shots
        ]
        if head == "probe":
            cached_features(tasks[-1])
    return tasks


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a task will take.

    Attributes:
        model: Checkpoint id.
        dataset: Data set id.
        shots: Images a class.
        mode: What is trained, and from where.
        trainings: Rates times draws or training seeds.
        epochs: Of each.
        images: That are trained on, over all of them.
        rate: Images that are trained on in a second, as measured.
        seconds: In all, looks at validation and test images included.
    """

    model: str
    dataset: str
    shots: Shots
    mode: Mode
    trainings: int
    epochs: int
    images: int
    rate: float
    seconds: float


def planned(task: FinetuneTask) -> Planned:
    """Times a few steps and returns what the whole task would take; nothing that it trains is kept.

    Raises:
        ProbebenchError: Weights or images are missing or damaged, or memory runs out.
    """
    trials = task.trials(task.train_split)
    starts = Starts.of(task)
    images, looks = task.planned(trials)
    if task.mode == "linear":
        # Features are computed once, and the head trains in no time beside that.
        each = sum(len(draw.train) + len(draw.validation) for draw, _ in trials) + len(task.dataset.splits["test"])
        rate = _looks_a_second(task, starts)
        seconds = each / rate
    else:
        rate = _trained_a_second(task, starts)
        seconds = (images + _LOOK * looks) / rate
    return Planned(
        model=task.model,
        dataset=task.dataset.id,
        shots=task.shots,
        mode=task.mode,
        trainings=len(trials) * len(task.learning_rates),
        epochs=task.epochs(len(trials[0][0].train)),
        images=images,
        rate=rate,
        seconds=seconds,
    )


def _trained_a_second(task: FinetuneTask, starts: Starts) -> float:
    draw, seeds = task.trials(task.train_split)[0]
    first = trainings_of(task, starts, draw, seeds, ValidationImages(None), None)[0]
    # Batch normalisation cannot be trained on one.
    size = max(2, min(first.batch_size, task.options.micro_batch or first.batch_size, len(draw.train)))
    if task.options.device == "cpu":
        size = min(size, _IMAGES)
    few = np.resize(draw.train, (_STEPS + 1) * size)
    items = image_items(task, ImageSubset.of(task.dataset.splits["train"], few), seeds)
    return images_a_second(
        replace(first, train=items, validation=None, epochs=1, batch_size=size, keeps="last"), task.options
    )


def _looks_a_second(task: FinetuneTask, starts: Starts) -> float:
    place = accelerator(task.options)
    module = starts.backbone.module.to(place.device)
    few = ImageSubset.of(task.dataset.splits["train"], np.arange(min(_IMAGES, len(task.dataset.splits["train"]))))
    items = image_items(task, few)
    predict(module, items, task.options, place, Silent())
    began = time.perf_counter()
    predict(module, items, task.options, place, Silent())
    return len(few) / (time.perf_counter() - began)
