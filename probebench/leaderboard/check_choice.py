"""What was chosen must be something that the protocol tries, and what a fit says of itself must hold together."""

import math
from collections.abc import Iterable, Iterator

from probebench.leaderboard.rules import AnyProtocol, in_words_of
from probebench.registry.schema import FinetuneProtocol, ProtocolSpec
from probebench.results.schema import Result, Trial

# Powers of ten of other machines differ in the last digits.
_CLOSE = 1e-9
# A gap at its tolerance may be rounded to either side.
_ROUNDED = 1e-3


def check_choice(result: Result, spec: AnyProtocol) -> Iterator[str]:
    """Yields what no run of a protocol in its present version could have chosen or certified."""
    for trial in result.trials:
        if trial.error is not None:
            # check_trials has told.
            continue
        if isinstance(spec, ProtocolSpec) and spec.parameter is not None:
            faults = (*_probe_choice(trial, result, spec), *_certificate(trial, spec))
        elif isinstance(spec, FinetuneProtocol):
            faults = (*_training_choice(trial, result, spec), *_without_certificate(trial))
        else:
            faults = (*_no_choice(trial, spec.id), *_without_certificate(trial))
        for fault in faults:
            yield f"{in_words_of(trial)}: {fault}"
    if isinstance(spec, FinetuneProtocol) and result.shots == "full" and len(result.trials) != spec.seeds:
        yield f"{len(result.trials)} training seeds, where protocol {spec.id} has {spec.seeds}"


def _probe_choice(trial: Trial, result: Result, spec: ProtocolSpec) -> Iterator[str]:
    from probebench.probes.grid import beyond, strengths

    name, rates = spec.parameter, spec.solver.learning_rates
    assert name is not None
    if set(trial.chosen) != {name, *(("learning_rate",) if rates else ())}:
        wanted = f"{name} and learning_rate" if rates else name
        yield f"chosen is {_keys(trial)}, where protocol {spec.id} chooses {wanted}"
        return
    value, grid = trial.chosen[name], strengths(spec)
    below, above = beyond(spec, -1), beyond(spec, 1)
    tried_values = [*below, *grid, *above]
    if trial.selection == "fixed":
        chosen = spec.full if result.shots == "full" else spec.few_shot
        fixed = chosen.value or spec.fallback or 0.0
        if not _in(value, [fixed]):
            yield f"{name} = {value:g} is fixed, where protocol {spec.id} has {fixed:g}"
        if rates and not _in(trial.chosen["learning_rate"], rates[-1:]):
            yield f"learning_rate is {trial.chosen['learning_rate']:g}, where {rates[-1]:g} is fixed"
        if (
            trial.tried != (value, value)
            or (trial.on_edge, trial.validation_loss, trial.validation_score) != (None,) * 3
        ):
            yield "nothing was chosen, and tried, on_edge or a validation score says otherwise"
    else:
        if not _in(value, tried_values):
            yield f"{name} = {value:g} is not on the grid of protocol {spec.id}"
        if rates and not _in(trial.chosen["learning_rate"], rates):
            yield f"learning_rate = {trial.chosen['learning_rate']:g} is none that protocol {spec.id} tries"
        low, high = trial.tried or (math.nan, math.nan)
        left = [one for one in grid if not _in(one, trial.left_out)] or grid
        if not (_in(low, [*below, left[0]]) and _in(high, [left[-1], *above]) and low <= value <= high):
            yield f"tried is {_pair(trial)}, and the grid of protocol {spec.id} is {grid[0]:g} to {grid[-1]:g}"
        edge = value <= grid[0] * (1 + _CLOSE) or value >= grid[-1] * (1 - _CLOSE)
        if trial.on_edge != edge:
            yield f"on_edge is {trial.on_edge} at {name} = {value:g}"
        if trial.validation_score is None:
            yield "validation_score is missing, and validation images chose"
    for what, values in (("unconverged", trial.unconverged), ("left_out", trial.left_out)):
        if odd := [one for one in values if not _in(one, [*tried_values, spec.fallback or 0.0, value])]:
            yield f"{what} names {name} = {odd[0]:g}, which is not on the grid of protocol {spec.id}"
        if len(set(values)) < len(values):
            yield f"{what} names a value twice"


def _certificate(trial: Trial, spec: ProtocolSpec) -> Iterator[str]:
    """Yields a certificate that contradicts itself: converged is what the gap is within the tolerance."""
    if spec.tolerance is None:
        yield from _without_certificate(trial)
        return
    if trial.converged is None or (trial.gap is None and trial.converged):
        yield "converged without a gap that shows it"
    elif trial.gap is not None:
        within = trial.gap / (spec.tolerance * max(1.0 - trial.gap, 1e-300))
        if not -_CLOSE <= trial.gap <= 1 or (within > 1 + _ROUNDED and trial.converged):
            yield f"converged with a gap of {trial.gap:g}, where protocol {spec.id} allows {spec.tolerance:g}"
        elif within < 1 - _ROUNDED and not trial.converged:
            yield f"not converged with a gap of {trial.gap:g}, which is within {spec.tolerance:g}"
    if trial.converged is False and not _in(trial.chosen.get(spec.parameter or "", math.nan), trial.unconverged):
        yield "not converged, and unconverged does not name the choice"


def _without_certificate(trial: Trial) -> Iterator[str]:
    if (trial.converged, trial.gap) != (None, None):
        yield "converged or gap is told of a procedure that has no optimum to reach"


def _training_choice(trial: Trial, result: Result, spec: FinetuneProtocol) -> Iterator[str]:
    linear = result.mode.split(",")[0] == "linear"
    rates = (spec.linear if linear else spec.optimizer).learning_rates
    alpha = result.mode.partition(", alpha ")[2]
    wanted = {"learning_rate", "epoch", "training_seed", *(("alpha",) if alpha else ())}
    if set(trial.chosen) != wanted:
        yield f"chosen is {_keys(trial)}, where mode {ascii(result.mode)} has {', '.join(sorted(wanted))}"
        return
    rate, epoch, seed = (trial.chosen[name] for name in ("learning_rate", "epoch", "training_seed"))
    if not _in(rate, rates[:1] if trial.selection == "fixed" else rates):
        yield f"learning_rate = {rate:g} is none that protocol {spec.id} tries"
    size = spec.linear.batch_size if linear else spec.batch_size
    least = 0 if linear else -(-spec.least_steps // max(-(-trial.train // size), 1))
    most = max(spec.linear.epochs if linear else spec.epochs, least)
    if not (float(epoch).is_integer() and 1 <= epoch <= most):
        yield f"epoch is {epoch:g}, and there are {most}"
    if not (float(seed).is_integer() and 0 <= seed < max(spec.seeds, 1)):
        yield f"training_seed is {seed:g}, and protocol {spec.id} has {spec.seeds}"
    if alpha and not _in(trial.chosen["alpha"], [float(alpha)]):
        yield f"alpha is {trial.chosen['alpha']:g}, and the mode says {alpha}"
    several = len(rates) > 1 and trial.selection != "fixed"
    if trial.tried != ((rates[0], rates[-1]) if several else None):
        yield f"tried is {_pair(trial)}, where protocol {spec.id} tries {rates[0]:g} to {rates[-1]:g}"
    if trial.on_edge != (_in(rate, (rates[0], rates[-1])) if several else None):
        yield f"on_edge is {trial.on_edge} at learning_rate = {rate:g}"
    if odd := [one for one in trial.unconverged if not _in(one, rates)]:
        yield f"unconverged names learning_rate = {odd[0]:g}, which is none that protocol {spec.id} tries"


def _no_choice(trial: Trial, protocol: str) -> Iterator[str]:
    chosen = (trial.tried, trial.on_edge, trial.validation_loss, trial.validation_score, trial.folds, trial.iterations)
    if trial.chosen or trial.unconverged or trial.left_out or any(one is not None for one in chosen):
        yield f"something was chosen, where protocol {protocol} has nothing to choose"


def _in(value: float, values: Iterable[float]) -> bool:
    return any(math.isclose(value, one, rel_tol=_CLOSE) for one in values)


def _keys(trial: Trial) -> str:
    return ascii(sorted(trial.chosen)[:5])


def _pair(trial: Trial) -> str:
    return "missing" if trial.tried is None else f"{trial.tried[0]:g} to {trial.tried[1]:g}"
