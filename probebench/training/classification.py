"""The objective of a classifier: cross-entropy, smoothed and mixed as asked for, and accuracy on validation images."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from accelerate import Accelerator
from timm.data.mixup import Mixup

from probebench.progress import Progress
from probebench.registry.schema import Augment, FinetuneProtocol
from probebench.training.checkpoint import Epoch
from probebench.training.data import Items
from probebench.training.options import TrainingOptions
from probebench.training.predict import predict


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of logits (B, K) to labels (B,).

    Attributes:
        criterion: What is best on validation images: the highest accuracy, or the smallest mean log-loss.
        label_smoothing: Share of the target that is spread over all classes.
        mixup: Mixes a batch's images with one another; None where nothing is mixed.
    """

    criterion: Literal["accuracy", "log-loss"]
    label_smoothing: float = 0.0
    mixup: Mixup | None = None
    whole: ClassVar[bool] = False

    @classmethod
    def of(cls, protocol: FinetuneProtocol, classes: int, mixes: bool) -> "Classification":
        """Returns the objective of a protocol; without ``mixes``, as where there are no images, nothing is mixed."""
        mixup = make_mixup(protocol.augment, classes) if mixes else None
        return cls(protocol.criterion, protocol.label_smoothing, mixup)

    def mixed(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes the images of a batch in pairs; one of an odd number stays as it is."""
        if self.mixup is None or len(inputs) % 2:
            return inputs, targets
        inputs, targets = self.mixup(inputs, targets)
        return inputs, targets

    def loss(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the summed cross-entropy."""
        return torch.nn.functional.cross_entropy(
            model(inputs).float(), targets, reduction="sum", label_smoothing=self.label_smoothing
        )

    def measure(
        self, module: torch.nn.Module, items: Items, options: TrainingOptions, place: Accelerator, progress: Progress
    ) -> tuple[float, float]:
        """Returns the mean log-loss, in nats, and the accuracy."""
        logits, labels = predict(module, items, options, place, progress)
        loss = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="mean")
        return float(loss), float((logits.argmax(dim=1) == labels).double().mean())

    def beats(self, one: Epoch, other: Epoch) -> bool:
        """Says whether an epoch is strictly better by the criterion."""
        if self.criterion == "log-loss":
            assert one.loss is not None and other.loss is not None
            return one.loss < other.loss
        assert one.score is not None and other.score is not None
        return one.score > other.score


def make_mixup(augment: Augment, classes: int) -> Mixup | None:
    """Returns timm's mixing of a batch's images with one another; None where the augmentation has none."""
    if not (augment.mixup or augment.cutmix):
        return None
    # Smoothing is the loss's own.
    return Mixup(augment.mixup, augment.cutmix, label_smoothing=0.0, num_classes=classes)  # type: ignore[no-untyped-call]
