"""What a network is trained for: all that the loop asks of it, and does not know itself."""

from typing import Protocol

import torch
from accelerate import Accelerator

from probebench.progress import Progress
from probebench.training.checkpoint import Epoch
from probebench.training.data import Items
from probebench.training.options import TrainingOptions


class Objective(Protocol):
    """The loss of a training.

    Attributes:
        whole: Whether the loss compares the images of a batch with one another, so that no part of it can be trained on
            alone, and processes must see one another's features.
    """

    @property
    def whole(self) -> bool: ...  # noqa: D102

    def mixed(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a whole batch as it is trained on; called within the epoch's seed."""

    def loss(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the sum, not the mean, of the losses of a micro-batch."""


class Judge(Protocol):
    """What the epochs of a training are compared by."""

    def measure(
        self, module: torch.nn.Module, items: Items, options: TrainingOptions, place: Accelerator, progress: Progress
    ) -> tuple[float, float]:
        """Returns the mean loss on validation items, and a score in [0, 1], the higher the better."""

    def beats(self, one: Epoch, other: Epoch) -> bool:
        """Says whether an epoch is strictly better than another that was measured on the same validation items."""
