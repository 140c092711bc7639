"""Chooses the learning rate and the epoch of each trial. A test label reaches only a protocol that says so."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from probebench.backbones.preprocess import build_transform
from probebench.datasets.draws import Draw
from probebench.finetuning.heads import HeadStart, probe_head, text_head
from probebench.finetuning.model import Starts
from probebench.finetuning.task import FinetuneTask
from probebench.progress import Progress, Silent
from probebench.registry.schema import ProtocolSpec
from probebench.results.cells import shots_text
from probebench.training import loop as train
from probebench.training.checkpoint import Epoch
from probebench.training.classification import Classification
from probebench.training.data import FeatureItems, ImageItems, ImageSubset, Items, training_transform
from probebench.training.predict import accelerator, predict
from probebench.training.seeds import Seeds
from probebench.training.training import Training


@dataclass(frozen=True)
class ValidationImages:
    """The images that choose, and what they are of: None where a draw has none left.

    Attributes:
        images: The images.
        how: What a result says that its choice was made on.
    """

    images: ImageSubset | None
    how: Literal["validation", "test"] = "validation"


@dataclass(frozen=True, kw_only=True)
class TrainedDraw:
    """A draw, and how its network was trained and chosen.

    Attributes:
        draw: The draw.
        seeds: Of the training.
        held: What the choice was made on.
        head: How the head started.
        rate: The chosen learning rate; None where every training diverged.
        epoch: The chosen epoch.
        weights: Its weights.
        micro: Images that went through the network at once.
        diverged: Rates at which training diverged.
        error: Why there are no weights.
    """

    draw: Draw
    seeds: Seeds
    held: ValidationImages
    head: HeadStart | None
    rate: float | None = None
    epoch: Epoch | None = None
    weights: dict[str, torch.Tensor] | None = None
    micro: int | None = None
    diverged: tuple[float, ...] = ()
    error: str | None = None

    @property
    def how(self) -> Literal["validation", "test", "fixed"]:
        """What the choice was made on; "fixed" where there was nothing to choose on."""
        return "fixed" if self.held.images is None else self.held.how


class Selector:
    """Trains and chooses; what it is made from decides what it can see."""

    def __init__(
        self, task: FinetuneTask, starts: Starts, probe_protocol: ProtocolSpec | None, progress: Progress
    ) -> None:
        """Takes a task, whose data set is all that it sees, and the probe's protocol where a head starts from it."""
        self._task, self._starts, self._probe_protocol, self._progress = task, starts, probe_protocol, progress
        self._text = text_head(task) if task.head == "text" else None

    def choose(self, draw: Draw, seeds: Seeds, held: ValidationImages) -> TrainedDraw:
        """Trains at every rate and returns the best on ``held``; with nothing held, the smallest rate's.

        Raises:
            ProbebenchError: An image cannot be read, memory runs out, or a head's features are missing.
        """
        head = self._head(draw)
        trainings = trainings_of(self._task, self._starts, draw, seeds, held, head)
        tried = [(one.rate, train.run(one, self._task.options, self._progress)) for one in trainings]
        diverged = tuple(rate for rate, done in tried if done.error)
        outcome = TrainedDraw(draw=draw, seeds=seeds, held=held, head=head, diverged=diverged)
        finished = [(rate, done) for rate, done in tried if not done.error]
        if not finished:
            errors = "; ".join(f"rate {rate:g}: {done.error}" for rate, done in tried)
            return replace(outcome, error=f"diverged at every rate ({errors})")
        best_rate, best = finished[0]
        judge = trainings[0].judge
        assert judge is not None
        for rate, done in finished[1:]:
            assert done.kept and best.kept
            # Rates ascend, so ties go to the smaller.
            if judge.beats(done.kept, best.kept):
                best_rate, best = rate, done
        return replace(outcome, rate=best_rate, epoch=best.kept, weights=best.weights, micro=best.micro)

    def _head(self, draw: Draw) -> HeadStart | None:
        if self._task.head == "probe":
            assert self._probe_protocol
            return probe_head(self._task, draw, self._probe_protocol)
        return self._text


def trainings_of(
    task: FinetuneTask, starts: Starts, draw: Draw, seeds: Seeds, held: ValidationImages, head: HeadStart | None
) -> list[Training]:
    """Returns the trainings of a trial, one a rate, ascending; the first alone where nothing can be chosen on."""
    images = ImageSubset.of(task.dataset.splits["train"], draw.train)
    linear = task.mode == "linear"
    items: Items
    validation: Items | None = None
    if linear:
        items = frozen(task, starts, images)
        validation = frozen(task, starts, held.images) if held.images else None
    else:
        items = image_items(task, images, seeds)
        validation = image_items(task, held.images) if held.images else None
    rates = task.learning_rates if held.images else task.learning_rates[:1]
    objective = Classification.of(task.protocol, len(task.dataset.class_names), mixes=not linear)
    return [
        Training(
            begin=lambda: starts.network(seeds, head),
            train=items,
            validation=validation,
            objective=objective,
            judge=objective,
            optimizer=task.protocol.optimizer,
            schedule=task.protocol.schedule,
            ema=task.protocol.ema,
            rate=rate,
            weight_decay=task.protocol.linear.weight_decay if linear else task.protocol.optimizer.weight_decay,
            epochs=task.epochs(len(images)),
            batch_size=task.batch_size,
            keeps=task.protocol.choice(task.shots).epoch if held.images else "last",
            seeds=seeds,
            frozen_norms=task.protocol.batch_norm == "frozen" and task.mode != "scratch",
            path=task.folder / f"{draw.digest[:16]}-{seeds.training}" / f"{rate:g}.pt",
            name=_name(task, draw, seeds, rate),
        )
        for rate in rates
    ]


def image_items(task: FinetuneTask, images: ImageSubset, seeds: Seeds | None = None) -> ImageItems:
    """Returns images as the task's network sees them; with the seeds of a training, augmented in it."""
    spec = task.key.preprocessing
    train = training_transform(spec, task.protocol.augment) if seeds else None
    return ImageItems(images, build_transform(spec), train, seeds)


def frozen(task: FinetuneTask, starts: Starts, images: ImageSubset) -> FeatureItems:
    """Runs images through the frozen backbone, once, in evaluation mode, and returns their features."""
    place = accelerator(task.options)
    module = starts.backbone.module.to(place.device)
    rows, _ = predict(module, image_items(task, images), task.options, place, Silent())
    return FeatureItems(rows, images.labels)


def _name(task: FinetuneTask, draw: Draw, seeds: Seeds, rate: float) -> str:
    which = f"seed {seeds.training}" if draw.seed is None else f"draw {draw.seed}"
    return f"{task.model} on {task.dataset.id}, {shots_text(task.shots)}, {task.mode}, {which}, rate {rate:g}"
