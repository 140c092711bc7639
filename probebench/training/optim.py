"""What moves the weights, both of them timm's: optimizer and schedule."""

from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from timm.scheduler.cosine_lr import CosineLRScheduler

from probebench.registry.optimization import Schedule, UpdateRule


def make_optimizer(
    module: torch.nn.Module, asked: UpdateRule, rate: float, decay: float, fused: bool = False
) -> torch.optim.Optimizer:
    """Returns timm's optimizer that an entry asks for; under decay = "matrices" biases and norms have none.

    With ``fused``, torch updates all of a tensor in one pass, which rounds otherwise; timm's LAMB has no such form.
    """
    more: dict[str, Any] = {"betas": asked.betas} if asked.betas else {}
    if fused and asked.name != "lamb":
        more["fused"] = True
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        module,
        opt=asked.name,
        lr=rate,
        weight_decay=decay,
        filter_bias_and_bn=asked.decay == "matrices",
        **more,
    )
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, asked: Schedule, rate: float, steps: int) -> CosineLRScheduler:
    """Returns timm's schedule, called with the step from 0 before each one.

    With warm-up W the rate is rate (t + 1) / W at step t < W, and then rate (1 + cos(pi e / E)) / 2 with
    e = t - W + 1 and E = steps - W + 1, so that the last step has a rate above 0.
    """
    warmup = asked.warmup(steps)
    before = max(warmup - 1, 0)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(steps - before, 1),
        warmup_t=before,
        warmup_lr_init=rate / max(warmup, 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )
