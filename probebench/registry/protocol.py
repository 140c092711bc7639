"""What an entry says of a protocol: how a probe is fitted, selected and scored."""

import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from probebench.registry.checkpoint import CheckpointSpec
from probebench.registry.entry import (
    Entry,
    Id,
    Metric,
    Number,
    PositiveInt,
    Shots,
    Text,
    TrainingShots,
    Versioned,
    Whole,
)
from probebench.registry.layers import LayerName, known_layers
from probebench.registry.probes import OWN_FIELDS, PROBES, Parameter, ProbeName

Positive = Annotated[float, Number, Field(gt=0)]
# Exponents of 10.
Decades = Annotated[float, Number, Field(ge=-30, le=30)]
# What solvers of the logistic objective are held to, as relative gaps: exact ones, and procedures that stop early.
TOLERANCES = {"exact": 1e-6, "lbfgs": 1e-4}


def _unset(value: object) -> bool:
    """Says whether a field is left out of dumps: one that came later must not rename the results from before it."""
    return value is None or value is False or value == ()


class Grid(Entry):
    """The values that are tried: 10 ** linspace(start, stop, num), or ``values`` as they stand.

    Attributes:
        parameter: "C" multiplies the summed loss, as in scikit-learn; "weight_decay" is the optimizer's; "alpha"
            multiplies ridge's penalty; "k" is a number of neighbours.
        values: Ascending.
        search: "all" fits every value; "coarse-to-fine" fits ``coarse`` values spread over the grid and then halves the
            step around the best, as the CLIP authors do.
        ties: Of equally good values the one that was tried "first" is taken; None: the smallest.
        widen: Decades by which a grid whose edge is chosen is widened on that side, in its own steps.
    """

    parameter: Parameter
    start: Decades | None = None
    stop: Decades | None = None
    num: Annotated[PositiveInt, Field(le=10_000)] | None = None
    values: tuple[Positive, ...] = Field(default=(), exclude_if=_unset)
    search: Literal["all", "coarse-to-fine"] = "all"
    coarse: Annotated[int, Whole, Field(ge=2)] | None = None
    ties: Literal["first"] | None = Field(default=None, exclude_if=_unset)
    widen: Annotated[float, Field(ge=0, le=12)] = 0.0

    @model_validator(mode="after")
    def _values_or_a_range(self) -> "Grid":
        spread = (self.start, self.stop, self.num)
        if any(one is None for one in spread) if not self.values else any(one is not None for one in spread):
            raise ValueError("a grid has start, stop and num, or values and none of these")
        if list(self.values) != sorted(set(self.values)):
            raise ValueError("values must ascend")
        if self.values and (self.search != "all" or self.widen):
            raise ValueError('values go with search = "all" and no widen')
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> "Grid":
        if self.start is None or self.stop is None or self.num is None:
            return self
        if (self.search == "coarse-to-fine") != (self.coarse is not None):
            raise ValueError('coarse goes with search = "coarse-to-fine", which needs it')
        if self.coarse is not None and (self.num < self.coarse or (self.num - 1) % (self.coarse - 1)):
            raise ValueError(
                "coarse - 1 must divide num - 1, so that the coarse values lie on the grid, and are no more than that"
            )
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
            ``value``, of a probe that has a grid.
        folds: Folds inside the draw: of "k-fold"; of "validation-draw" and "own-split-or-holdout", which may name
            them, where fewer than half of the draw's classes have a validation image.
    """

    method: Literal["validation-draw", "k-fold", "holdout", "own-split-or-holdout", "fixed"]
    most: PositiveInt | None = None
    folds: Annotated[int, Whole, Field(ge=2)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    value: Positive | None = None

    @model_validator(mode="after")
    def _its_own_parameter(self) -> "Selection":
        own = {"validation-draw": "most", "k-fold": "folds", "fixed": "value"}.get(self.method, "share")
        may_fold = self.method in ("validation-draw", "own-split-or-holdout")
        for name in ("most", "share", "value") if may_fold else ("most", "folds", "share", "value"):
            # Whether a fixed one takes a value, its probe decides.
            free = self.method == "fixed" and name == "value"
            if not free and (getattr(self, name) is not None) != (name == own):
                perhaps = " and perhaps folds" if may_fold else ""
                raise ValueError(f"method {self.method!r} takes {own}{perhaps}, and nothing else")
        return self


class Solver(Entry):
    """How a probe is fitted.

    Attributes:
        name: "exact" is the optimum of the objective, by whatever backend is asked for, or for knn the true
            neighbours. The others reproduce published procedures, which stop where they stop: "lbfgs" is
            scikit-learn's or scipy's, "adamw" and "sgd" with momentum 0.9 are torch's.
        max_iter: Iterations of L-BFGS.
        summed: L-BFGS: the loss is summed over the rows, and scipy stops on it as scikit-learn before 1.4 had it do;
            otherwise the installed scikit-learn decides, which since 1.4 averages the loss and so stops earlier.
        learning_rates: Rates that are tried; each goes through the grid.
        epochs: Passes over the training rows.
        final_epochs: Passes of the last fit, at the chosen values.
        batch_size: Rows a step.
        schedule: Learning rate over the steps.
        batch_norm: Whether the head is trained behind a batch normalisation without weights of its own, whose running
            statistics then prepare what is predicted.
        epoch: In the search the "best" epoch on validation rows stands for a value; None: the last.
        start: The head starts from "text", the embeddings of the classes' names, where the checkpoint's features can be
            compared with text; None: from random weights everywhere.
    """

    name: Literal["exact", "lbfgs", "adamw", "sgd"]
    max_iter: PositiveInt | None = None
    learning_rates: tuple[Positive, ...] = ()
    epochs: PositiveInt | None = None
    final_epochs: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    schedule: Literal["cosine", "constant"] | None = None
    summed: bool = Field(default=False, exclude_if=_unset)
    batch_norm: bool = Field(default=False, exclude_if=_unset)
    epoch: Literal["best"] | None = Field(default=None, exclude_if=_unset)
    start: Literal["text"] | None = Field(default=None, exclude_if=_unset)

    @model_validator(mode="after")
    def _its_own_parameters(self) -> "Solver":
        steps = {"learning_rates", "epochs", "final_epochs", "batch_size", "schedule"}
        own = {"exact": set(), "lbfgs": {"max_iter"}}.get(self.name, steps)
        for name in (*sorted(steps), "max_iter"):
            if bool(getattr(self, name)) != (name in own):
                raise ValueError(
                    f"solver {self.name!r} takes {', '.join(sorted(own)) or 'no parameter'}, and nothing else"
                )
        if self.summed and self.name != "lbfgs":
            raise ValueError('summed goes with solver "lbfgs"')
        if (self.batch_norm or self.epoch or self.start) and self.name not in ("adamw", "sgd"):
            raise ValueError('batch_norm, epoch and start go with solver "adamw" or "sgd"')
        return self


# Solvers that reach the optimum of the logistic objective; the first is taken where nobody asks.
EXACT_BACKENDS = ("torch", "sklearn", "cuml")


class ProtocolSpec(Versioned):
    """How a probe is fitted, selected and scored. The version rises with every change of meaning.

    Attributes:
        source: The paper or code that it follows.
        selects_on: One sentence for readers: what the choice is made on.
        layer: The features that it takes of a checkpoint that offers them; None, and of others: whatever is cached.
        probe: Its name in the table of probes: "logistic"; "ridge", least squares on targets of -1 and 1; "knn", a vote
            of the rows nearest by cosine; "retrieval", their ranking.
        normalize: "l2" divides each row by its norm, first of all.
        standardize: Then each feature is centred and divided by its standard deviation over the training rows.
        epsilon: Added to each standard deviation.
        scale: Then "rms" divides by the root mean squared norm of the centred training rows.
        criterion: What is best on validation images: the smallest mean log-loss, the highest accuracy, or the highest
            score by the metric that is reported.
        rule: "one-standard-error" takes the smallest value whose criterion is within one standard error of the best.
        refit: Whether the last fit is on training and validation images together; "full": at full data alone.
        fallback: Value taken where no validation image is left and folds are not to be had; the result then says
            selection = "fixed". Like ``grid`` it is None of a probe that has nothing to choose.
        constant: ridge: a feature of this value, penalised like the others, stands for the intercept, which is
            unpenalised without it.
        temperature: knn: a neighbour at cosine s has exp(s / temperature) votes.
        shots: Numbers of shots that its authors report; eval's default for it.
        draws: Draws that they average over, likewise.
        metric: What is reported, on every data set; None: what each set's own convention is.
    """

    id: Id
    title: Text
    source: Text
    selects_on: Text
    layer: LayerName | None = Field(default=None, exclude_if=_unset)
    probe: ProbeName
    normalize: Literal["none", "l2"]
    standardize: bool
    epsilon: Positive | None = Field(default=None, exclude_if=_unset)
    scale: Literal["rms", "none"]
    criterion: Literal["log-loss", "accuracy", "metric"]
    rule: Literal["best", "one-standard-error"]
    refit: bool | Literal["full"]
    fallback: Annotated[float, Field(ge=0)] | None = Field(default=None, exclude_if=_unset)
    shots: Annotated[tuple[TrainingShots, ...], Field(min_length=1)] = (1, 5, 10, "full")
    draws: PositiveInt = 5
    constant: Positive | None = Field(default=None, exclude_if=_unset)
    temperature: Positive | None = Field(default=None, exclude_if=_unset)
    metric: Metric | None = Field(default=None, exclude_if=_unset)
    solver: Solver
    grid: Grid | None = Field(default=None, exclude_if=_unset)
    few_shot: Selection
    full: Selection

    @model_validator(mode="after")
    def _selections_fit_their_place(self) -> "ProtocolSpec":
        if self.few_shot.method == "own-split-or-holdout":
            raise ValueError("few_shot: a draw has no split of its own; use validation-draw, k-fold, holdout or fixed")
        if self.full.method in ("validation-draw", "k-fold"):
            raise ValueError("full: use own-split-or-holdout, holdout or fixed")
        return self

    @model_validator(mode="after")
    def _grid_fits_its_probe(self) -> "ProtocolSpec":
        probe = PROBES[self.probe]
        fixed = [one.value for one in (self.few_shot, self.full) if one.method == "fixed"]
        if not probe.parameters:
            if (self.grid, self.fallback, fixed) != (None, None, [None, None]):
                raise ValueError(
                    f'{probe.name} has nothing to choose: no grid, no fallback, few_shot and full "fixed" without value'
                )
            return self
        if self.grid is None or self.fallback is None or None in fixed:
            raise ValueError(f'{probe.name} needs a grid and a fallback, and method "fixed" takes value')
        parameter = self.grid.parameter
        if parameter not in probe.parameters:
            raise ValueError(f"grid.parameter is {' or '.join(probe.parameters)} for the {self.probe} probe")
        if (parameter == "weight_decay") != (self.solver.name in ("adamw", "sgd")):
            raise ValueError("grid.parameter is C for exact and lbfgs, and weight_decay for adamw and sgd")
        if parameter != "weight_decay" and self.fallback <= 0:
            raise ValueError(f"fallback is a value of {parameter} and must be positive")
        if probe.whole and not (self.grid.values and all(value.is_integer() for value in self.grid.values)):
            raise ValueError(f"grid.parameter {parameter} needs values, and they are whole numbers")
        if probe.whole and not all(value.is_integer() for value in (self.fallback, *fixed) if value):
            raise ValueError(f"fallback and a fixed value are values of {parameter}: whole numbers")
        return self

    @model_validator(mode="after")
    def _each_probe_has_its_own(self) -> "ProtocolSpec":
        probe = PROBES[self.probe]
        by_hits = self.criterion != "log-loss" and self.rule == "best"
        if self.solver.name not in probe.solvers or not (probe.loss or by_hits):
            solvers = " or ".join(json.dumps(name) for name in probe.solvers)
            rest = "" if probe.loss else ', criterion "accuracy" or "metric" and rule "best": it has no log-loss'
            raise ValueError(f"{probe.name} takes solver {solvers}{rest}")
        if (self.criterion, self.rule) == ("metric", "one-standard-error"):
            raise ValueError('rule "one-standard-error" takes criterion "log-loss" or "accuracy"')
        for name in OWN_FIELDS:
            owners = [one.name for one in PROBES.values() if name in (*one.needs, *one.takes)]
            if getattr(self, name) is not None and probe.name not in owners:
                raise ValueError(f"{name} goes with the {' or '.join(owners)} probe")
            if getattr(self, name) is None and name in probe.needs:
                raise ValueError(f"{name} goes with the {probe.name} probe, which needs it")
        if any(getattr(self, name) != value for name, value in probe.rows.items()):
            # JSON writes these values as TOML does.
            wanted = ", ".join(f"{name} = {json.dumps(value)}" for name, value in probe.rows.items())
            raise ValueError(f"{probe.name} {probe.because}: {wanted}")
        if self.epsilon is not None and not self.standardize:
            raise ValueError("epsilon goes with standardize = true")
        return self

    @property
    def parameter(self) -> str | None:
        """What is chosen; None where there is nothing to choose."""
        return self.grid.parameter if self.grid else None

    def layer_of(self, spec: CheckpointSpec) -> str:
        """Returns the layer of a checkpoint that it is evaluated on where a user names none."""
        offered = known_layers(spec.architecture) or ()
        return self.layer if self.layer is not None and self.layer in offered else spec.output.layer

    @property
    def backends(self) -> tuple[str, ...]:
        """What may compute it, as results record it; the first is taken where nobody asks."""
        if PROBES[self.probe].numpy:
            return ("numpy",)
        if self.solver.name == "exact":
            return EXACT_BACKENDS
        if self.solver.name == "lbfgs":
            return ("scipy-lbfgs" if self.solver.summed else "sklearn-lbfgs",)
        return (f"torch-{self.solver.name}",)

    @property
    def tolerance(self) -> float | None:
        """The relative gap to the optimum within which a fit has converged; None where there is no optimum to reach."""
        return TOLERANCES.get(self.solver.name) if PROBES[self.probe].loss else None

    def selection(self, shots: Shots) -> Selection:
        """Returns on what the value is chosen at a number of shots."""
        return self.full if shots == "full" else self.few_shot

    def folds(self, shots: Shots) -> int:
        """Returns folds inside every draw; 1 where it has none, or has them only where validation images are few."""
        chosen = self.selection(shots)
        folds = (chosen.folds or 1) if chosen.method == "k-fold" else 1
        return folds if shots == "full" else min(folds, shots)

    def refits(self, shots: Shots) -> bool:
        """Says whether the last fit at a number of shots takes the validation images too."""
        return self.refit is True or (self.refit == "full" and shots == "full")

    def refuses(self, shots: Shots) -> str | None:
        """Says why a number of shots cannot be chosen on under this protocol; None where it can."""
        if shots == 1 and self.few_shot.method in ("k-fold", "holdout"):
            return f"protocol {self.id} chooses inside the draw and needs 2 shots or more; one image cannot do both"
        return None


class ZeroshotProtocol(Versioned):
    """Zero-shot classification, which has nothing to choose and so no entry of its own."""

    id: Id


# The version rises when the same cache gives other numbers: by the procedure, or by prompts of shipped entries.
ZEROSHOT = ZeroshotProtocol(
    id="zeroshot", version=2, older={1: "other templates or names in words for ImageNet, SVHN, PCAM, Pets and SUN397"}
)
