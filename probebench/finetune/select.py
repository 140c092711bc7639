"""Chooses the learning rate and the epoch of each trial. A test label reaches only a protocol that says so."""

from dataclasses import dataclass
from typing import Literal

import torch

from probebench.datasets.draws import Draw
from probebench.finetune import train
from probebench.finetune.cell import Cell
from probebench.finetune.checkpoint import Epoch
from probebench.finetune.data import FeatureItems, ImageItems, Items, Part
from probebench.finetune.heads import HeadStart, probe_head, text_head
from probebench.finetune.model import Starts
from probebench.finetune.predict import accelerator, predict
from probebench.finetune.progress import Progress, Silent
from probebench.finetune.seeds import Seeds
from probebench.finetune.train import Training
from probebench.registry.schema import ProtocolSpec


@dataclass(frozen=True)
class Held:
    """The images that choose, and what they are of: None where a draw has none left.

    Attributes:
        part: The images.
        how: What a result says that its choice was made on.
    """

    part: Part | None
    how: Literal["validation", "test"] = "validation"


@dataclass(frozen=True)
class Trial:
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
    held: Held
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
        return "fixed" if self.held.part is None else self.held.how


class Selector:
    """Trains and chooses; what it is made from decides what it can see."""

    def __init__(self, cell: Cell, starts: Starts, protocol: ProtocolSpec | None, progress: Progress) -> None:
        """Takes a cell, whose data set is all that it sees, and the probe's protocol where a head starts from it."""
        self._cell, self._starts, self._protocol, self._progress = cell, starts, protocol, progress
        self._text = text_head(cell) if cell.head == "text" else None

    def choose(self, draw: Draw, seeds: Seeds, held: Held) -> Trial:
        """Trains at every rate and returns the best on ``held``; with nothing held, the smallest rate's.

        Raises:
            ProbebenchError: An image cannot be read, memory runs out, or a head's features are missing.
        """
        head = self._head(draw)
        trainings = trainings_of(self._cell, self._starts, draw, seeds, held, head)
        tried = [(one.rate, train.run(one, self._cell.options, self._progress)) for one in trainings]
        diverged = tuple(rate for rate, done in tried if done.error)
        finished = [(rate, done) for rate, done in tried if not done.error]
        if not finished:
            errors = "; ".join(f"rate {rate:g}: {done.error}" for rate, done in tried)
            return Trial(draw, seeds, held, head, diverged=diverged, error=f"diverged at every rate ({errors})")
        best_rate, best = finished[0]
        for rate, done in finished[1:]:
            assert done.kept and best.kept
            # Rates ascend, so ties go to the smaller.
            if done.kept.beats(best.kept, self._cell.recipe.criterion):
                best_rate, best = rate, done
        return Trial(draw, seeds, held, head, best_rate, best.kept, best.weights, best.micro, diverged)

    def _head(self, draw: Draw) -> HeadStart | None:
        if self._cell.head == "probe":
            assert self._protocol
            return probe_head(self._cell, draw, self._protocol)
        return self._text


def trainings_of(
    cell: Cell, starts: Starts, draw: Draw, seeds: Seeds, held: Held, head: HeadStart | None
) -> list[Training]:
    """Returns the trainings of a trial, one a rate, ascending; the first alone where nothing can be chosen on."""
    part = Part.of(cell.dataset.splits["train"], draw.train)
    linear = cell.mode == "linear"
    items: Items
    validation: Items | None = None
    if linear:
        items = frozen(cell, starts, part)
        validation = frozen(cell, starts, held.part) if held.part else None
    else:
        items = ImageItems(part, cell.key.preprocessing, cell.recipe.augment, seeds)
        validation = ImageItems(held.part, cell.key.preprocessing) if held.part else None
    rates = cell.learning_rates if held.part else cell.learning_rates[:1]
    return [
        Training(
            begin=lambda: starts.network(seeds, head),
            train=items,
            validation=validation,
            recipe=cell.recipe,
            rate=rate,
            weight_decay=cell.recipe.linear.weight_decay if linear else cell.recipe.optimizer.weight_decay,
            epochs=cell.epochs(len(part)),
            batch_size=cell.batch_size,
            keeps=cell.recipe.choice(cell.shots).epoch if held.part else "last",
            seeds=seeds,
            frozen_norms=cell.recipe.batch_norm == "frozen" and cell.mode != "scratch",
            mixes=not linear,
            path=cell.folder / f"{draw.digest[:16]}-{seeds.training}" / f"{rate:g}.pt",
            name=_name(cell, draw, seeds, rate),
        )
        for rate in rates
    ]


def frozen(cell: Cell, starts: Starts, part: Part) -> FeatureItems:
    """Runs images through the frozen backbone, once, in evaluation mode, and returns their features."""
    place = accelerator(cell.options)
    module = starts.backbone.module.to(place.device)
    rows, _ = predict(module, ImageItems(part, cell.key.preprocessing), cell.options, place, Silent())
    return FeatureItems(rows, part.labels)


def _name(cell: Cell, draw: Draw, seeds: Seeds, rate: float) -> str:
    which = f"seed {seeds.training}" if draw.seed is None else f"draw {draw.seed}"
    shots = "full" if cell.shots == "full" else f"{cell.shots} shots"
    return f"{cell.model} on {cell.dataset.id}, {shots}, {cell.mode}, {which}, rate {rate:g}"
