"""What an entry of the registry may say. A fact that nobody knows is written "unknown"."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
Count = Annotated[int, Field(ge=0)] | Literal["unknown"]
Three = tuple[float, float, float]

_URI = re.compile(
    r"^(pkg://[\w.-]+/.+|timm://\S+|open_clip://\S+|hf://[^/\s]+/[^/\s]+/\S+|https://\S+|file:.+|user|random:\d{1,18})$"
)


class Entry(BaseModel):
    """Common rules: unknown keys are errors, entries do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Architecture(Entry):
    """The network, by the name that its library gives it."""

    library: Literal["timm", "open_clip", "torchvision"]
    name: Text
    kwargs: dict[str, Any] = {}


class Source(Entry):
    """One pre-training data set and how many samples of it were used."""

    name: Text
    samples: Count


class Pretraining(Entry):
    """How the checkpoint came to be: the facts that the study groups by."""

    method: Literal["supervised", "language-image", "image-image", "none"]
    objective: Text
    sources: tuple[Source, ...]
    samples_seen: Count
    epochs: Annotated[float, Field(ge=0)] | Literal["unknown"]
    labels: Text
    curation: Text

    @model_validator(mode="after")
    def _sources_fit_method(self) -> "Pretraining":
        if self.method == "none" and self.sources:
            raise ValueError('method "none" means no pre-training, so sources must be empty')
        if self.method != "none" and not self.sources:
            raise ValueError('name at least one source; where nobody knows it, name = "unknown"')
        return self


class Weights(Entry):
    """Where the tensors come from and how their names map onto the architecture."""

    uri: str
    sha256: str
    keys: Literal["plain", "by-order"] = "plain"

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str) -> str:
        if not _URI.match(uri):
            raise ValueError(
                f"{uri!r} is none of pkg://package/path, timm://tag, open_clip://tag, hf://owner/repo/file, "
                "https://..., file:path, user, random:SEED"
            )
        return uri

    @field_validator("sha256")
    @classmethod
    def _hexadecimal(cls, sha256: str) -> str:
        if sha256 not in ("unknown", "none") and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(
                'sha256 must be 64 lower-case hexadecimal digits, "unknown", or "none" where there is no file'
            )
        return sha256

    @property
    def scheme(self) -> str:
        """The part of the uri that says how to get the weights: pkg, timm, user, random, ..."""
        return self.uri.split(":", 1)[0]


class Input(Entry):
    """Preprocessing at evaluation, in this order: resize, centre crop, scale to [0, 1], normalise.

    ``resize = "shortest"`` brings the shorter side to ``floor(size / crop)`` pixels and keeps the aspect ratio;
    ``"squash"`` brings both sides there. The crop is ``size`` x ``size`` pixels.
    """

    size: Annotated[int, Field(ge=1, le=4096)]
    resize: Literal["shortest", "squash"]
    crop: Annotated[float, Field(gt=0, le=1)]
    interpolation: Literal["nearest", "bilinear", "bicubic"]
    mean: Three
    std: Three

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Three) -> Three:
        if min(std) <= 0:
            raise ValueError("std must be positive")
        return std

    def at_size(self, size: int | None) -> "Input":
        """Returns the same preprocessing at another input size in pixels (None: unchanged)."""
        return self if size is None else self.model_copy(update={"size": size})


class Output(Entry):
    """What is taken as the feature: its width D and the layer."""

    features: Annotated[int, Field(ge=1)]
    layer: Literal["pooled", "projected"]


class CheckpointSpec(Entry):
    """One pre-trained checkpoint."""

    id: Id
    title: Text
    paper: Text
    url: Text
    license: Text
    architecture: Architecture
    pretraining: Pretraining
    weights: Weights
    input: Input
    output: Output

    @model_validator(mode="after")
    def _random_is_untrained(self) -> "CheckpointSpec":
        if (self.weights.scheme == "random") != (self.pretraining.method == "none"):
            raise ValueError('method "none" and uri "random:SEED" go together')
        return self


class Splits(Entry):
    """Images in each part, and the rule that made the parts."""

    rule: Text
    train: Annotated[int, Field(ge=1)]
    val: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=1)]


class DatasetSpec(Entry):
    """One downstream data set that has a name of its own."""

    id: Id
    title: Text
    paper: Text
    url: Text
    license: Text
    loader: Literal["digits", "fashion_mnist", "cifar100"]
    metric: Literal["accuracy"]
    splits: Splits
    classes: tuple[Text, ...]


class SuiteSpec(Entry):
    """A named list of data sets that one ``extract`` runs through."""

    id: Id
    title: Text
    datasets: tuple[Id, ...]


class Grid(Entry):
    """The values that are tried: 10 ** linspace(start, stop, num).

    Attributes:
        parameter: "C" multiplies the summed loss, as in scikit-learn; "weight_decay" is the optimizer's.
        search: "all" fits every value; "coarse-to-fine" fits ``coarse`` values spread over the grid and then halves the
            step around the best, as the CLIP authors do.
        widen: Decades by which a grid whose edge is chosen is widened on that side, in its own steps.
    """

    parameter: Literal["C", "weight_decay"]
    start: float
    stop: float
    num: Annotated[int, Field(ge=1)]
    search: Literal["all", "coarse-to-fine"] = "all"
    coarse: Annotated[int, Field(ge=2)] | None = None
    widen: Annotated[float, Field(ge=0, le=12)] = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "Grid":
        if (self.search == "coarse-to-fine") != (self.coarse is not None):
            raise ValueError('coarse goes with search = "coarse-to-fine", which needs it')
        if self.coarse is not None and (self.num - 1) % (self.coarse - 1):
            raise ValueError("coarse - 1 must divide num - 1, so that the coarse values lie on the grid")
        if self.num > 1 and not self.stop > self.start:
            raise ValueError("stop must be above start")
        if self.widen and (self.num < 2 or self.search != "all"):
            raise ValueError('widen needs search = "all" and a grid of at least two values')
        return self


class Selection(Entry):
    """What the value is chosen on. Test labels are never among it.

    Attributes:
        method: In a draw: "validation-draw", min(k, ``most``) more images a class, disjoint from the draw (CoOp);
            "k-fold" inside the draw; "holdout", a ``share`` of the draw. At full data: "own-split-or-holdout", the
            data set's own validation part or else a ``share`` of train; "holdout", always that share. Or "fixed":
            ``value``.
    """

    method: Literal["validation-draw", "k-fold", "holdout", "own-split-or-holdout", "fixed"]
    most: Annotated[int, Field(ge=1)] | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    value: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _its_own_parameter(self) -> "Selection":
        own = {"validation-draw": "most", "k-fold": "folds", "fixed": "value"}.get(self.method, "share")
        for name in ("most", "folds", "share", "value"):
            if (getattr(self, name) is not None) != (name == own):
                raise ValueError(f"method {self.method!r} takes {own}, and nothing else")
        return self


class Solver(Entry):
    """How a probe is fitted.

    Attributes:
        name: "exact" is the optimum of the objective, by whatever backend is asked for. The others reproduce published
            procedures, which stop where they stop: "lbfgs" is scikit-learn's, "adamw" and "sgd" are torch's.
        max_iter: Iterations of L-BFGS.
        learning_rates: Rates that are tried; each goes through the grid.
        epochs: Passes over the training rows.
        final_epochs: Passes of the last fit, at the chosen values.
        batch_size: Rows a step.
        schedule: Learning rate over the steps.
    """

    name: Literal["exact", "lbfgs", "adamw", "sgd"]
    max_iter: Annotated[int, Field(ge=1)] | None = None
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    epochs: Annotated[int, Field(ge=1)] | None = None
    final_epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    schedule: Literal["cosine", "constant"] | None = None

    @model_validator(mode="after")
    def _its_own_parameters(self) -> "Solver":
        steps = {"learning_rates", "epochs", "final_epochs", "batch_size", "schedule"}
        own = {"exact": set(), "lbfgs": {"max_iter"}}.get(self.name, steps)
        for name in (*sorted(steps), "max_iter"):
            if bool(getattr(self, name)) != (name in own):
                raise ValueError(
                    f"solver {self.name!r} takes {', '.join(sorted(own)) or 'no parameter'}, and nothing else"
                )
        return self


class ProtocolSpec(Entry):
    """How a probe is fitted, selected and scored. The version rises with every change of meaning.

    Attributes:
        source: The paper or code that it follows.
        selects_on: One sentence for readers: what the choice is made on.
        normalize: "l2" divides each row by its norm, first of all.
        standardize: Then each feature is centred and divided by its standard deviation over the training rows.
        scale: Then "rms" divides by the root mean squared norm of the centred training rows.
        criterion: What is best: the smallest mean log-loss or the highest accuracy on validation images.
        rule: "one-standard-error" takes the smallest value whose criterion is within one standard error of the best.
        refit: Whether the last fit is on training and validation images together.
        fallback: Value taken where no validation image is left; the result then says selection = "fixed".
        shots: Numbers of shots that its authors report; eval's default for it.
        draws: Draws that they average over, likewise.
    """

    id: Id
    version: Annotated[int, Field(ge=1)]
    title: Text
    source: Text
    selects_on: Text
    probe: Literal["logistic"]
    normalize: Literal["none", "l2"]
    standardize: bool
    scale: Literal["rms", "none"]
    criterion: Literal["log-loss", "accuracy"]
    rule: Literal["best", "one-standard-error"]
    refit: bool
    fallback: Annotated[float, Field(ge=0)]
    shots: tuple[Annotated[int, Field(ge=1)] | Literal["full"], ...] = (1, 5, 10, "full")
    draws: Annotated[int, Field(ge=1)] = 5
    solver: Solver
    grid: Grid
    few_shot: Selection
    full: Selection

    @model_validator(mode="after")
    def _selections_fit_their_place(self) -> "ProtocolSpec":
        if self.few_shot.method == "own-split-or-holdout":
            raise ValueError("few_shot: a draw has no split of its own; use validation-draw, k-fold, holdout or fixed")
        if self.full.method in ("validation-draw", "k-fold"):
            raise ValueError("full: use own-split-or-holdout, holdout or fixed")
        if (self.solver.name in ("exact", "lbfgs")) != (self.grid.parameter == "C"):
            raise ValueError("grid.parameter is C for exact and lbfgs, and weight_decay for adamw and sgd")
        if self.grid.parameter == "C" and self.fallback <= 0:
            raise ValueError("fallback is a strength C and must be positive")
        return self

    def refuses(self, shots: int | Literal["full"]) -> str | None:
        """Says why a number of shots cannot be chosen on under this protocol; None where it can."""
        if shots == 1 and self.few_shot.method in ("k-fold", "holdout"):
            return f"protocol {self.id} chooses inside the draw and needs 2 shots or more; one image cannot do both"
        return None
