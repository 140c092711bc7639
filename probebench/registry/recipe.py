"""What an entry says of a recipe: how a checkpoint is pre-trained here."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from probebench.registry.checkpoint import Architecture, Input
from probebench.registry.entry import Entry, Id, PositiveInt, Text, Versioned, Whole
from probebench.registry.optimization import Rate, Schedule, Share, UpdateRule

# The objective of each method.
OBJECTIVES = {"supervised": "cross-entropy", "language-image": "clip", "image-image": "simclr"}
_Strength = Annotated[float, Field(ge=0)]
# Keys that name a recipe or say where it comes from, and so need no origin of their own.
_NAMES = ("id", "version", "older", "title", "paper", "url", "origin")


class RecipeOptimizer(UpdateRule):
    """An optimizer with its learning rate at the peak."""

    learning_rate: Rate


class Views(Entry):
    """What an image goes through each time that it is seen, every image by its own chance.

    Attributes:
        crop_scale: Share of the image's area that the random crop keeps, (least, most).
        crop_ratio: Its sides' ratio, (least, most).
        flip: Probability of a horizontal flip.
        jitter: Probability that the colours are moved, by the four strengths of torchvision's ColorJitter.
        grayscale: Probability that the colours are lost.
        blur: Probability of a Gaussian blur, over a tenth of the side, with a deviation of 0.1 to 2 pixels.
    """

    crop_scale: tuple[Rate, Rate] = (0.08, 1.0)
    crop_ratio: tuple[Rate, Rate] = (0.75, 4 / 3)
    flip: Share = 0.5
    jitter: Share = 0.0
    brightness: _Strength = 0.0
    contrast: _Strength = 0.0
    saturation: _Strength = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    grayscale: Share = 0.0
    blur: Share = 0.0


class Projector(Entry):
    """The head of SimCLR, which is thrown away: widths of its hidden layers and of its output.

    Attributes:
        hidden: Width of each hidden layer.
        output: Width of the embedding that is compared.
        layers: Linear layers.
    """

    hidden: PositiveInt
    output: PositiveInt
    layers: Annotated[int, Whole, Field(ge=2)] = 2


class RecipeSpec(Versioned):
    """How a checkpoint is pre-trained. The version rises with every change of meaning.

    Attributes:
        method: What it learns from: labels, captions, or pairs of views.
        objective: Its loss.
        architecture: The network; under ``clip`` open_clip's with both towers.
        layer: The layer that stands for the checkpoint: pooled, but for networks that project inside their pooling.
        input: Preprocessing of the checkpoint at evaluation; views have the same size, mean and deviation.
        store: Images are decoded once, to squares of this side, and kept; views are drawn of a batch at a time. None:
            each image is decoded each time, as many images must be.
        samples_seen: Images that are trained on in all, a pair of views counting once.
        epochs: Passes over the images, instead of ``samples_seen``.
        reference_samples: Images that its authors trained on; ``--dry-run`` tells the hours for so many.
        batch_size: Images a step, over all devices; what is left of an epoch is dropped.
        threads: Of a CPU, so that the weights are the same whatever cores it has. None: as many as there are.
        label_smoothing: Of cross-entropy.
        temperature: Of the simclr loss.
        projector: Of simclr.
        templates: Sentences that ``--captions templates`` puts a caption into, {} being its place.
        origin: Where each value comes from, by key.
    """

    id: Id
    title: Text
    paper: Text
    url: Text
    method: Literal["supervised", "language-image", "image-image"]
    objective: Literal["cross-entropy", "clip", "simclr"]
    architecture: Architecture
    layer: Literal["pooled", "projected"] = "pooled"
    input: Input
    store: Annotated[int, Whole, Field(ge=1, le=4096)] | None = None
    samples_seen: PositiveInt | None = None
    epochs: PositiveInt | None = None
    reference_samples: PositiveInt | None = None
    batch_size: Annotated[int, Whole, Field(ge=2)]
    threads: PositiveInt | None = None
    optimizer: RecipeOptimizer
    schedule: Schedule
    views: Views
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    temperature: Rate | None = None
    projector: Projector | None = None
    templates: tuple[Text, ...] = ()
    origin: Mapping[Text, Text]

    @model_validator(mode="after")
    def _objective_fits_method(self) -> "RecipeSpec":
        if self.objective != OBJECTIVES[self.method]:
            raise ValueError(f"objective: {self.method} takes {OBJECTIVES[self.method]!r}")
        if {self.temperature is not None, self.projector is not None} != {self.objective == "simclr"}:
            raise ValueError("temperature and projector belong to simclr, which needs both")
        if (self.objective == "clip") != (self.architecture.library == "open_clip"):
            raise ValueError("architecture: clip trains a network of open_clip, and nothing else does")
        if self.label_smoothing and self.objective != "cross-entropy":
            raise ValueError("label_smoothing belongs to cross-entropy")
        if self.templates and self.objective != "clip":
            raise ValueError("templates belong to clip")
        if wrong := [one for one in self.templates if one.count("{}") != 1]:
            raise ValueError(f"templates: {wrong[0]!r} has no one place {{}} for the caption")
        return self

    @model_validator(mode="after")
    def _stored_images_are_not_blurred(self) -> "RecipeSpec":
        if self.store is not None and self.views.blur:
            raise ValueError("views.blur: stored images are not blurred; leave out store or blur")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> "RecipeSpec":
        if (self.samples_seen is None) == (self.epochs is None):
            raise ValueError("say either samples_seen or epochs")
        return self

    @model_validator(mode="after")
    def _every_value_has_an_origin(self) -> "RecipeSpec":
        said = self.model_fields_set - {*_NAMES}
        if lacking := sorted(said - self.origin.keys()):
            raise ValueError(f"origin: says nothing of {', '.join(lacking)}")
        if unknown := sorted(self.origin.keys() - said):
            raise ValueError(f"origin: the recipe has no {', '.join(unknown)}")
        return self

    def steps(self, samples: int, epochs: int | None = None) -> int:
        """Returns the steps of a training on so many images, all of whole batches.

        Args:
            samples: Images.
            epochs: Passes, instead of the recipe's length.
        """
        length = self.samples_seen if epochs is None else None
        seen = length or samples * (epochs or self.epochs or 1)
        return max(1, seen // self.batch(samples))

    def batch(self, samples: int) -> int:
        """Returns the images of a step."""
        return min(self.batch_size, samples)
