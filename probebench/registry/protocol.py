"""What an entry says of a protocol: how a probe is fitted, selected and scored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from probebench.registry.entry import Entry, Id, Text


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
