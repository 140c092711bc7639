"""Lets finished probes predict a test part: labels, and what a logistic probe says of each image beside its label."""

from collections.abc import Sequence

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.cache.store import FeatureFile
from probebench.evaluation.features import rows_of
from probebench.probes.base import FittedProbe, Matrix, Measured, blocks
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
    measures: dict[str, Measure] = {}
    scaled = all(one.temperature is not None for one in probes if one is not None)
    for rows, block in blocks(rows_of(file, positions).features):
        for number, selected in enumerate(probes):
            if selected is None:
                continue
            prepared, probe = selected.preparation(block), selected.probe
            if isinstance(probe, FittedProbe):
                temperature = selected.temperature if scaled else None
                predicted[number, rows], found = _believed(probe, prepared, labels[rows], temperature)
            else:
                predicted[number, rows], found = probe.measured(prepared, labels[rows])
            for name, values in found.items():
                measures.setdefault(name, np.full(shape, np.nan, dtype=np.float32))[number, rows] = values
    return predicted, measures


def _believed(probe: FittedProbe, features: Matrix, labels: Labels, temperature: float | None) -> Measured:
    """Returns labels and probabilities of a logistic probe, scaled too where there is a temperature."""
    scores = probe.scores(features)
    found = dict(zip(PROBABILITIES, said_of_images(scores, probe.classes, labels), strict=True))
    if temperature is not None:
        found |= zip(SCALED, said_of_images(scores / temperature, probe.classes, labels), strict=True)
    return probe.classes[scores.argmax(axis=1)], found
