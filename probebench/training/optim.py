"""What moves the weights, all of it timm's: optimizer, schedule, mixing."""

import torch
from timm.data.mixup import Mixup
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from timm.scheduler.cosine_lr import CosineLRScheduler

from probebench.registry.schema import FinetuneProtocol


def make_optimizer(
    module: torch.nn.Module, protocol: FinetuneProtocol, rate: float, decay: float
) -> torch.optim.Optimizer:
    """Returns timm's optimizer of a protocol; under decay = "matrices" biases and norms have none."""
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        module,
        opt=protocol.optimizer.name,
        lr=rate,
        weight_decay=decay,
        filter_bias_and_bn=protocol.optimizer.decay == "matrices",
    )
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer, protocol: FinetuneProtocol, rate: float, steps: int
) -> CosineLRScheduler:
    """Returns timm's schedule, called with the step from 0 before each one.

    With warm-up W the rate is rate (t + 1) / W at step t < W, and then rate (1 + cos(pi e / E)) / 2 with
    e = t - W + 1 and E = steps - W + 1, so that the last step has a rate above 0.
    """
    warmup = protocol.schedule.warmup(steps)
    before = max(warmup - 1, 0)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(steps - before, 1),
        warmup_t=before,
        warmup_lr_init=rate / max(warmup, 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )


def make_mixup(protocol: FinetuneProtocol, classes: int) -> Mixup | None:
    """Returns timm's mixing of a batch's images with one another; None where the protocol has none."""
    augment = protocol.augment
    if not (augment.mixup or augment.cutmix):
        return None
    # Smoothing is the loss's own.
    return Mixup(augment.mixup, augment.cutmix, label_smoothing=0.0, num_classes=classes)  # type: ignore[no-untyped-call]
