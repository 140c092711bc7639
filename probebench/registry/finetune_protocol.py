"""What an entry says of a fine-tune protocol: how a network is trained, selected and scored."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from probebench.registry.entry import Entry, NonNegativeInt, PositiveInt, Shots, Text, TrainingShots, Versioned
from probebench.registry.optimization import Rate, Schedule, Share, UpdateRule

# As every id, and a variant after @.
ProtocolId = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*(@[a-z0-9][a-z0-9_.-]*)?$", max_length=100)
]


class Optimizer(UpdateRule):
    """An optimizer and the learning rates that are tried, ascending."""

    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> "Optimizer":
        if list(self.learning_rates) != sorted(set(self.learning_rates)):
            raise ValueError("learning_rates must ascend, each once: ties go to the smaller")
        return self


class Augment(Entry):
    """What training images go through, by timm; mean, deviation, interpolation and size are the checkpoint's own.

    Attributes:
        crop_scale: Share of the image's area that the random crop keeps, (least, most).
        crop_ratio: Its sides' ratio, (least, most).
        flip: Probability of a horizontal flip.
        color_jitter: Strength; 0 is none. RandAugment takes its place, as in timm.
        auto_augment: timm's policy, such as "rand-m9-mstd0.5-inc1"; "none".
        erasing: Probability of random erasing, in pixel mode.
        mixup: Its alpha; 0 is none.
        cutmix: Likewise.
    """

    crop_scale: tuple[Rate, Rate] = (0.08, 1.0)
    crop_ratio: tuple[Rate, Rate] = (0.75, 4 / 3)
    flip: Share = 0.5
    color_jitter: Annotated[float, Field(ge=0)] = 0.0
    auto_augment: Text = "none"
    erasing: Share = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0


class Frozen(Entry):
    """Mode ``linear``: the head alone, on features of images that are not augmented, with rates of its own."""

    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    epochs: PositiveInt
    batch_size: PositiveInt


class Choice(Entry):
    """What is chosen on validation images.

    Attributes:
        epoch: "best": the epoch is chosen along with the rate; "last": training ends where it ends.
        most: In a draw, min(k, most) more images a class validate (CoOp).
        share: At full data, this share of train validates where the data set has no part of its own for it.
    """

    epoch: Literal["best", "last"]
    most: PositiveInt | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None


class FinetuneProtocol(Versioned):
    """How a network is fine-tuned, selected and scored. The version rises with every change of meaning.

    Attributes:
        source: The paper or code that it follows.
        selects_on: One sentence for readers: what the choice is made on.
        selection: "test" repeats a habit of others on the test part; such results are never ranked.
        criterion: What is best on validation images: the highest accuracy, or the smallest mean log-loss. Ties go to
            the smaller rate and then to the earlier epoch.
        shots: Numbers of shots that are the command's default.
        draws: Draws to average over, likewise.
        seeds: Training seeds at full data, where there is one draw.
        epochs: Passes over the training images.
        least_steps: Where these passes take fewer steps, as in a small draw, as many more passes as it takes.
        batch_size: Images a step, over all devices.
        batch_norm: "live" normalises training batches by their own statistics; "frozen" keeps the checkpoint's, which a
            few images cannot better. Mode ``scratch`` has none to keep and is always live.
        label_smoothing: Share of the target that is spread over all classes.
        ema: Decay of the moving average of weights that is then evaluated; None: the weights themselves.
        head: How the classifier starts: at zero, from the probe of the ``default`` protocol, or from embeddings of the
            classes' names.
        unit_features: Whether each image's features are divided by their norm before the head, however it starts; left
            out of dumps where they are not, so that older results keep their names.
    """

    id: ProtocolId
    title: Text
    source: Text
    selects_on: Text
    probe: Literal["finetune"]
    selection: Literal["validation", "test"]
    criterion: Literal["accuracy", "log-loss"]
    shots: tuple[TrainingShots, ...] = (1, 5, 10, 20, "full")
    draws: PositiveInt = 5
    seeds: PositiveInt = 1
    epochs: PositiveInt
    least_steps: NonNegativeInt = 0
    batch_size: PositiveInt
    batch_norm: Literal["live", "frozen"] = "live"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    head: Literal["zero", "probe", "text"] = "zero"
    unit_features: bool = Field(default=False, exclude_if=lambda unit: not unit)
    optimizer: Optimizer
    schedule: Schedule
    augment: Augment
    linear: Frozen
    few_shot: Choice
    full: Choice

    @model_validator(mode="after")
    def _choices_fit_their_place(self) -> "FinetuneProtocol":
        if self.selection == "validation" and (self.few_shot.most is None or self.full.share is None):
            raise ValueError("few_shot needs most, and full needs share: that is where validation images come from")
        if self.few_shot.share is not None or self.full.most is not None:
            raise ValueError("most belongs to few_shot, and share to full")
        if self.selection == "test" and (self.few_shot.most or self.full.share):
            raise ValueError('selection = "test" holds nothing out: leave out most and share')
        if self.selection == "test" and "@" not in self.id:
            raise ValueError('an id whose selection is "test" says so after an @')
        return self

    def choice(self, shots: Shots) -> Choice:
        """Returns what is chosen at a number of shots."""
        return self.full if shots == "full" else self.few_shot
