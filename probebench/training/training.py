"""What one training is: a network, images, an objective, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from probebench.registry.optimization import Schedule, UpdateRule
from probebench.training.checkpoint import Epoch
from probebench.training.data import Items, epoch_batches, epoch_sizes
from probebench.training.objective import Judge, Objective
from probebench.training.seeds import Seeds


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one training is.

    Attributes:
        begin: Makes the network as it is before training.
        train: Training images, which are asked for by (epoch, place).
        validation: Images that choose; None where there are none.
        objective: What it is trained for.
        judge: What compares its epochs by the validation images; None where there are none.
        optimizer: Its name and clipping; rate and weight decay are this training's own.
        schedule: The learning rate over the steps.
        ema: Decay of the moving average of weights that is then evaluated; None: the weights themselves.
        rate: The learning rate at its peak.
        weight_decay: The optimizer's.
        epochs: Passes.
        batch_size: Images a step.
        drop_last: Whether what is left of an epoch after whole batches is dropped.
        most_steps: Steps in all, where the last epoch is cut short; None: whole epochs.
        keeps: Which epoch's weights count: the "best" on validation images, or the "last".
        seeds: Of the trial.
        frozen_norms: Whether batch normalisation keeps its statistics.
        path: The file that keeps its state.
        fused: Whether the optimizer takes one pass over each tensor.
        saved_every: Epochs from one state that is kept to the next.
        name: What it is called in progress lines.
    """

    begin: Callable[[], torch.nn.Module]
    train: Items
    validation: Items | None
    objective: Objective
    judge: Judge | None = None
    optimizer: UpdateRule
    schedule: Schedule
    ema: float | None
    rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    drop_last: bool = False
    most_steps: int | None = None
    keeps: Literal["best", "last"]
    seeds: Seeds
    frozen_norms: bool
    path: Path
    saved_every: int = 1
    fused: bool = False
    name: str

    def sizes(self, epoch: int) -> list[int]:
        """Returns the number of images of each batch of an epoch, from 1."""
        sizes = epoch_sizes(len(self.train), self.batch_size, self.drop_last)
        return sizes if self.most_steps is None else sizes[: max(0, self.most_steps - (epoch - 1) * len(sizes))]

    def batches(self, epoch: int) -> list[list[int]]:
        """Returns the places of each batch of an epoch, from 1."""
        return epoch_batches(len(self.train), self.sizes(epoch), self.seeds("order", epoch))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(len(self.sizes(epoch)) for epoch in range(1, self.epochs + 1))

    def trained(self, epochs: int) -> int:
        """Returns the images that the first epochs train on."""
        return sum(sum(self.sizes(epoch)) for epoch in range(1, epochs + 1))

    @property
    def images(self) -> int:
        """Images that go through the network in all."""
        looked = self.epochs if self.keeps == "best" else 1
        return self.trained(self.epochs) + (looked * len(self.validation) if self.validation else 0)

    def measured(self, epoch: int) -> bool:
        """Says whether validation images are looked at after an epoch."""
        return self.validation is not None and (self.keeps == "best" or epoch == self.epochs)

    def is_better(self, one: Epoch, other: Epoch | None) -> bool:
        """Says whether an epoch's weights replace those kept; ties go to the earlier."""
        if other is None or self.keeps == "last":
            return True
        assert self.judge is not None
        return self.judge.beats(one, other)
