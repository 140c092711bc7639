"""Chooses a probe's strength on validation data. Nothing here is ever handed a test label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from probebench.probes.base import Backend, Judged, Labelled, OnProgress, Probe
from probebench.probes.grid import beyond, strengths
from probebench.probes.prepare import Joined, Picked, Preparation, PreparedRows
from probebench.probes.probabilities import fit_temperature
from probebench.probes.tried import Tried, Value, best_value, joined
from probebench.registry.entry import Metric
from probebench.registry.schema import ProtocolSpec

# Makes the backend for a learning rate and the last fit or the search; exact solvers have no rate and ignore both.
Fitters = Callable[[float | None, bool], Backend]


@dataclass(frozen=True)
class SelectionData:
    """What one draw gives to choose with.

    Attributes:
        train: The rows that the draw is fitted on.
        validation: Rows that choose, disjoint from ``train``; none where ``fold`` or nothing does.
        fold: For K-fold inside the draw, the fold of each row of ``train``, (N,).
        value: A strength that is fixed beforehand.
        refit: Whether the last fit takes ``validation`` too.
    """

    train: Labelled
    validation: Labelled | None = None
    fold: npt.NDArray[np.int64] | None = None
    value: float | None = None
    refit: bool = False


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The chosen probe, and on what it was chosen.

    Attributes:
        probe: The finished probe; takes prepared features.
        preparation: How features are prepared before the probe sees them.
        how: "validation", or "fixed" where there was nothing to choose on.
        folds: Folds inside the draw that chose; None where something else did.
        chosen: The hyper-parameters by name.
        on_edge: Whether the choice is the smallest or largest value of the protocol's grid, or lies beyond it; None
            where nothing was chosen.
        loss: Mean validation log-loss at the choice, in nats; None where a probe has none.
        score: Validation accuracy at the choice, or the score by the metric where that is what chose.
        unconverged: Strengths at which the solver stopped short of its tolerance.
        tried: The smallest and the largest strength that were tried; None where there is none.
        left_out: Values of the grid that cannot be fitted to so few rows.
        temperature: Divides the scores of a logistic probe so that its probabilities fit validation rows best; None
            where there were none to fit it on.
    """

    probe: Probe
    preparation: Preparation
    how: Literal["validation", "fixed"]
    folds: int | None
    chosen: dict[str, float]
    on_edge: bool | None
    loss: float | None
    score: float | None
    unconverged: tuple[float, ...]
    tried: tuple[float, float] | None
    left_out: tuple[float, ...] = ()
    temperature: float | None = None


@dataclass
class _Case:
    """One draw on its way to a choice: pairs of prepared training and validation rows, and what was tried.

    ``metric`` is what scores validation rows; "accuracy" unless the protocol chooses by the metric that is reported.
    """

    data: SelectionData
    pairs: list[tuple[Preparation, Labelled, Labelled]]
    metric: Metric
    tried: dict[Value, Tried] = field(default_factory=dict)


def select(
    selection_data: Sequence[SelectionData],
    protocol: ProtocolSpec,
    fitters: Fitters,
    on_progress: OnProgress = lambda fits: None,
    *,
    metric: Metric = "accuracy",
) -> list[Selected]:
    """Chooses the strength of every draw by the protocol, and returns finished probes.

    Ties go to the smaller value, or where the grid says so to the one that was tried first. Validation rows of a class
    that the training rows lack say nothing about the strength and are left out. With no validation row left, the
    protocol's fallback is taken. Where the best value is the edge of the grid, and the protocol widens it, values
    beyond are tried until the best is inside; one there must be strictly better.

    Args:
        selection_data: What each draw gives to choose with.
        protocol: The rules.
        fitters: Make the backends.
        on_progress: Called with the number of fits that were just finished.
        metric: What is reported, for protocols that choose by it.

    Raises:
        ValueError: Features are not finite, or a draw has one class only.
    """
    by = metric if protocol.criterion == "metric" else "accuracy"
    cases = [_Case(data, _pairs(data, protocol), by) for data in selection_data]
    rates: Sequence[float | None] = protocol.solver.learning_rates or [None]
    choosing = [case for case in cases if case.pairs]
    for rate in rates if choosing else ():
        fit = fitters(rate, False)
        if protocol.grid and protocol.grid.coarse:
            for case in choosing:
                _search(case, rate, protocol, fit, on_progress)
        else:
            _try(choosing, rate, strengths(protocol), protocol, fit, on_progress)
            _widen(choosing, rate, protocol, fit, on_progress)
    return [_finish(case, protocol, fitters, on_progress) for case in cases]


def _pairs(data: SelectionData, protocol: ProtocolSpec) -> list[tuple[Preparation, Labelled, Labelled]]:
    if data.value is not None or protocol.grid is None:
        return []
    train = data.train
    if data.fold is None:
        parts = [] if data.validation is None else [(train, data.validation)]
    else:
        matrix = train.matrix
        parts = [
            (Labelled(matrix[data.fold != fold], train.labels[data.fold != fold]),
             Labelled(matrix[data.fold == fold], train.labels[data.fold == fold]))
            for fold in np.unique(data.fold)
        ]  # fmt: skip
    pairs = []
    for fitted, held in parts:
        known = np.isin(held.labels, fitted.labels)
        if not known.any():
            continue
        preparation = Preparation.of(fitted.features, protocol)
        rows = held.features if known.all() else Picked(held.features, np.flatnonzero(known))
        pairs.append((preparation, _prepared(fitted, preparation), Labelled(rows, held.labels[known])))
    return pairs


def _prepared(data: Labelled, preparation: Preparation) -> Labelled:
    return Labelled(PreparedRows(data.features, preparation), data.labels)


def _try(
    cases: Sequence[_Case],
    rate: float | None,
    values: Sequence[float],
    protocol: ProtocolSpec,
    fit: Backend,
    on_progress: OnProgress,
) -> None:
    """Fits values for all cases and folds in one call, and scores them on validation rows.

    Where a backend gives several probes of one value, one an epoch, the best epoch stands for the value, the first of
    equal ones.
    """
    todo = [(case, pair) for case in cases for pair in case.pairs]
    if not todo:
        return
    paths = fit([train for _, (_, train, _) in todo], values, on_progress)
    scored: dict[tuple[int, float], list[list[tuple[Judged, Probe]]]] = {}
    for (case, (preparation, _, held)), path in zip(todo, paths, strict=True):
        own: dict[float, list[tuple[Judged, Probe]]] = {}
        for probe, judged in zip(path, _scores(path, preparation, held), strict=True):
            own.setdefault(probe.strength, []).append((judged, probe))
        for value, epochs in own.items():
            scored.setdefault((id(case), value), []).append(epochs)
    for case in cases:
        labels = np.concatenate([held.labels for _, _, held in case.pairs]) if case.pairs else None
        for value in values:
            folds = scored.get((id(case), float(value)), [])
            if labels is None or len(folds) < len(case.pairs):
                continue
            whole = [joined(epoch, labels, case.metric) for epoch in zip(*folds, strict=True)]
            case.tried[rate, float(value)] = min(whole, key=lambda one: one.cost(protocol.criterion))


def _scores(path: Sequence[Probe], preparation: Preparation, held: Labelled) -> list[Judged]:
    """Returns log-loss and hit of each validation row, for each probe; rows are read once, on a GPU if there is one."""
    from probebench.probes.stream import blocks_on, pick_device

    device = pick_device("auto")
    if device.type != "cpu":
        path, preparation = [probe.on(device) for probe in path], preparation.on(device)
    judged = [
        path[0].judge(path, preparation(block), held.labels[rows]) for rows, block in blocks_on(held.features, device)
    ]
    return [
        (np.concatenate([losses for losses, _ in own]), np.concatenate([hits for _, hits in own]))
        for own in zip(*judged, strict=True)
    ]


def _widen(
    cases: Sequence[_Case], rate: float | None, protocol: ProtocolSpec, fit: Backend, on_progress: OnProgress
) -> None:
    """Walks beyond an edge that is best, value by value, until the best is inside or the widest grid is reached.

    All values of a side are fitted in one call, where each starts from the last; those beyond the end of the walk do
    not count as tried.
    """
    on_grid = strengths(protocol)
    sides: tuple[tuple[Literal[-1, 1], float], ...] = ((-1, on_grid[0]), (1, on_grid[-1]))
    for side, end in sides:
        values = beyond(protocol, side)
        there = [case for case in cases if values and best_value(case.tried, protocol)[1] == end]
        _try(there, rate, values, protocol, fit, on_progress)
        for case in there:
            for value, one in [(value, case.tried.pop((rate, value))) for value in values]:
                case.tried[rate, value] = one
                if best_value(case.tried, protocol)[1] != value:
                    break


def _search(case: _Case, rate: float | None, protocol: ProtocolSpec, fit: Backend, on_progress: OnProgress) -> None:
    """Tries the coarse values, and then halves the step around the best until it is one step of the grid."""
    assert protocol.grid and protocol.grid.coarse
    grid = strengths(protocol)
    step = (len(grid) - 1) // (protocol.grid.coarse - 1)
    wanted = list(range(0, len(grid), step))
    while True:
        fresh = [grid[position] for position in wanted if (rate, grid[position]) not in case.tried]
        if fresh:
            _try([case], rate, fresh, protocol, fit, on_progress)
        if step == 1:
            return
        step //= 2
        own = {key: one for key, one in case.tried.items() if key[0] == rate}
        peak = grid.index(best_value(own, protocol)[1])
        wanted = [max(peak - step, 0), min(peak + step, len(grid) - 1)]


def _finish(case: _Case, protocol: ProtocolSpec, fitters: Fitters, on_progress: OnProgress) -> Selected:
    name = protocol.parameter
    short = tuple(sorted({value for (_, value), one in case.tried.items() if not one.converged}))
    if not case.pairs:
        # Of a probe without a parameter neither is there, and 0 stands for no value.
        value = next((one for one in (case.data.value, protocol.fallback) if one is not None), 0.0)
        rate = protocol.solver.learning_rates[-1] if protocol.solver.learning_rates else None
        probe, preparation = _fit_whole(case.data.train, value, rate, protocol, fitters, on_progress)
        short = (value,) if probe.converged is False else ()
        return Selected(
            probe=probe,
            preparation=preparation,
            how="fixed",
            folds=None,
            chosen=_named(name, value, rate),
            on_edge=None,
            loss=None,
            score=None,
            unconverged=short,
            tried=(value, value) if name else None,
        )
    whole = _all_rows(case.data) if case.data.refit or case.data.fold is not None else None
    open_ = dict(case.tried)
    while True:
        rate, value = best_value(open_, protocol)
        best = open_.pop((rate, value))
        probe, preparation = best.probes[0], case.pairs[0][0]
        if whole is None:
            break
        try:
            probe, preparation = _fit_whole(whole, value, rate, protocol, fitters, on_progress)
            break
        except FloatingPointError:
            # A last run that is longer than those of the search may diverge where they did not: the next best then.
            if not open_:
                raise
    if whole is not None and probe.converged is False:
        short = tuple(sorted({*short, value}))
    grid = strengths(protocol)
    tried = {value for _, value in case.tried}
    loss = float(best.losses.mean())
    return Selected(
        probe=probe,
        preparation=preparation,
        how="validation",
        folds=None if case.data.fold is None else len(case.pairs),
        chosen=_named(name, value, rate),
        on_edge=value <= grid[0] or value >= grid[-1],
        loss=None if np.isnan(loss) else loss,
        score=best.score,
        unconverged=short,
        tried=(min(tried), max(tried)),
        left_out=() if protocol.grid and protocol.grid.coarse else tuple(value for value in grid if value not in tried),
        # By the probes that never saw these rows, also where the finished one has taken them in.
        temperature=fit_temperature(
            [(one, prepared, held) for one, (prepared, _, held) in zip(best.probes, case.pairs, strict=True)]
        ),
    )


def _all_rows(data: SelectionData) -> Labelled:
    """Returns the rows of a draw with those that were held out."""
    held = data.validation
    if held is None or not len(held):
        return data.train
    return Labelled(Joined(data.train.features, held.features), np.concatenate([data.train.labels, held.labels]))


def _fit_whole(
    train: Labelled, value: float, rate: float | None, protocol: ProtocolSpec, fitters: Fitters, on_progress: OnProgress
) -> tuple[Probe, Preparation]:
    preparation = Preparation.of(train.features, protocol)
    ((probe,),) = fitters(rate, True)([_prepared(train, preparation)], [value], on_progress)
    if not probe.finite:
        raise FloatingPointError(f"training diverged at the chosen {protocol.parameter} = {value:g}")
    return probe, preparation


def _named(parameter: str | None, value: float, rate: float | None) -> dict[str, float]:
    chosen = {} if parameter is None else {parameter: value}
    return chosen if rate is None else {**chosen, "learning_rate": rate}
