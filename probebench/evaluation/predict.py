"""Lets finished probes predict a test part: labels, and what a logistic probe says of each image beside its label."""

from collections.abc import Sequence

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.cache.store import FeatureFile
from probebench.evaluation.features import rows_of
from probebench.probes.base import FittedProbe, blocks
from probebench.probes.probabilities import said_of_images
from probebench.probes.select import Selected
from probebench.results.predictions import PROBABILITIES, SCALED, Measure


def predict(
    file: FeatureFile, labels: Labels, probes: Sequence[Selected | None], positions: Positions | None = None
) -> tuple[Labels, dict[str, Measure]]:
    """Returns predicted labels (probes, N), and measures likewise, of all rows of a file or of some.

    Args:
        file: Features of a test part.
        labels: True labels of the rows (N,), as the probes number classes.
        probes: Finished ones, one a draw; None where it failed, which predicts -1 everywhere, and measures NaN.
        positions: Of the rows, ascending; None: all.
    """
    shape = (len(probes), len(labels))
    predicted = np.full(shape, -1, dtype=np.int64)
    measures = {name: np.full(shape, np.nan, dtype=np.float32) for name in _measured(probes)}
    for rows, block in blocks(rows_of(file, positions).features):
        for number, selected in enumerate(probes):
            if selected is None:
                continue
            prepared, probe = selected.preparation(block), selected.probe
            if not isinstance(probe, FittedProbe):
                predicted[number, rows] = probe.predict(prepared)
                continue
            scores = probe.scores(prepared)
            predicted[number, rows] = probe.classes[scores.argmax(axis=1)]
            for names, temperature in ((PROBABILITIES, 1.0), (SCALED, selected.temperature)):
                if temperature is None or names[0] not in measures:
                    continue
                said = said_of_images(scores / temperature, probe.classes, labels[rows])
                for name, values in zip(names, said, strict=True):
                    measures[name][number, rows] = values
    return predicted, measures


def _measured(probes: Sequence[Selected | None]) -> tuple[str, ...]:
    """Returns what finished probes say of images beside their labels: scaled too, where all have a temperature."""
    finished = [one for one in probes if one is not None]
    if not all(isinstance(one.probe, FittedProbe) for one in finished) or not finished:
        return ()
    return (*PROBABILITIES, *(SCALED if all(one.temperature is not None for one in finished) else ()))
