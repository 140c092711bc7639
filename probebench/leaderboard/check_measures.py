"""What a result says of probabilities, held against the arrays beside its predictions."""

from collections.abc import Iterator, Sequence

import numpy as np

from probebench.results.calibration import calibration
from probebench.results.predictions import PROBABILITIES, RANKS, SCALED, Predictions
from probebench.results.schema import Calibration, Result

# Probabilities are float32, and sums of their squares rounded like them.
_ROUNDING = 1e-5
# Sums of other machines and versions differ in the last digits.
_CLOSE = 1e-9


def check_measures(result: Result, predictions: Predictions) -> Iterator[str]:
    """Yields what is wrong with measures, and every number that does not follow from them."""
    held = set(predictions.measures) - {*RANKS}
    expected = [set(), {*PROBABILITIES}, {*PROBABILITIES, *SCALED}] if result.kind == "probe" else [set()]
    if held not in expected:
        yield f"predictions hold {', '.join(sorted(held))}, which do not belong to a result of kind {result.kind}"
        return
    temperatures = [trial.temperature is not None for trial in result.trials]
    if held & {*SCALED} and not all(temperatures):
        yield "predictions hold scaled probabilities, and a draw has no temperature"
    for names, told, what in (
        (PROBABILITIES, result.calibration, "calibration"),
        (SCALED, result.scaled_calibration, "scaled_calibration"),
    ):
        if not held & {*names}:
            if told is not None:
                yield f"{what} is told, and predictions hold no probabilities for it"
            continue
        if fault := _impossible(predictions, names):
            yield fault
            continue
        yield from _differs(what, told, calibration(predictions, names))


def _impossible(predictions: Predictions, names: Sequence[str]) -> str | None:
    """Says why these are no probabilities of one fit; None where they may be."""
    true, predicted, squared = (predictions.measures[name].astype(np.float64) for name in names)
    right = predictions.y_pred == predictions.y_true
    with np.errstate(invalid="ignore"):
        if not ((true >= 0) & (true <= predicted + _ROUNDING) & (predicted <= 1 + _ROUNDING)).all():
            return f"{names[0]} and {names[1]} are no probabilities of a true and of the most likely class"
        if not (true == predicted)[right].all():
            return f"{names[0]} is not {names[1]} where the prediction is right"
        if not ((squared >= predicted**2 - _ROUNDING) & (squared <= predicted + _ROUNDING)).all():
            return f"{names[2]} is no sum of squares of probabilities of which {names[1]} is the largest"
    return None


def _differs(what: str, told: Calibration | None, found: Calibration | None) -> Iterator[str]:
    assert found is not None
    if told is None:
        yield f"{what} is missing, and predictions hold probabilities for it"
        return
    for name, value in found.model_dump().items():
        if abs(getattr(told, name) - value) > _CLOSE:
            yield f"{what}: {name} is {getattr(told, name):.6f}, and the predictions give {value:.6f}"
