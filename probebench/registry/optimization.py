"""What moves the weights: the optimizer, and the learning rate over the steps."""

from typing import Annotated, Literal

from pydantic import Field

from probebench.registry.entry import Entry, NonNegativeInt, Number

Rate = Annotated[float, Number, Field(gt=0)]
Share = Annotated[float, Number, Field(ge=0, le=1)]
_Moment = Annotated[float, Field(ge=0, lt=1)]


class UpdateRule(Entry):
    """The optimizer, but for its learning rate.

    Attributes:
        name: As timm's factory knows it.
        decay: Whether weight decay is on all parameters, or on matrices only: neither biases nor normalisation layers.
        clip_norm: The gradient's norm is cut to this; None: never.
        betas: Adam's decays of its two averages; None: the optimizer's own; left out of dumps then.
    """

    name: Literal["adamw", "sgd", "adam", "lamb"]
    weight_decay: Annotated[float, Field(ge=0)]
    decay: Literal["all", "matrices"] = "matrices"
    clip_norm: Rate | None = None
    betas: tuple[_Moment, _Moment] | None = Field(default=None, exclude_if=lambda betas: betas is None)


class Schedule(Entry):
    """The learning rate over the steps: a linear warm-up, then half a cosine down to zero.

    Attributes:
        warmup_steps: Steps of the warm-up.
        warmup_share: The warm-up is never longer than this share of all steps; 1: as long as it is, even if training
            ends before it does.
    """

    warmup_steps: NonNegativeInt
    warmup_share: Share = 1.0

    def warmup(self, steps: int) -> int:
        """Returns the steps of the warm-up in a training of ``steps`` steps."""
        return min(self.warmup_steps, int(self.warmup_share * steps)) if self.warmup_share < 1 else self.warmup_steps
