"""Recall and average precision, computed from the measures that a run of retrieval stores of each test image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probebench.results.metrics import mean_score
from probebench.results.predictions import RANKS, Predictions
from probebench.results.schema import Retrieval

# Recall at k is the share of queries that find an image of their own class among the first k.
CUTS = (1, 5, 10)

Means = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassRetrieval:
    """What came of the queries of one class, over all draws.

    Attributes:
        label: The class.
        images: Its test images.
        recall: Share of its queries that find an image of it among the first k, by k of ``CUTS``.
        average_precision: Mean over its queries.
    """

    label: int
    images: int
    recall: dict[int, float]
    average_precision: float


def summary(predictions: Predictions) -> Retrieval | None:
    """Returns the means over draws and test images; None where the run ranked nothing, or a draw failed."""
    hits = _hits(predictions)
    if hits is None or any(np.isnan(predictions.measures[name]).any() for name in RANKS):
        return None
    at, precision = hits
    return Retrieval(
        recall_at_1=mean_score(at[1]),
        recall_at_5=mean_score(at[5]),
        recall_at_10=mean_score(at[10]),
        mean_average_precision=mean_score(precision),
    )


def by_class(predictions: Predictions) -> list[ClassRetrieval]:
    """Returns the same of each class of the test images, in the order of the labels; none where nothing was ranked."""
    hits = _hits(predictions)
    if hits is None:
        return []
    at, precision = hits
    labels, place, counts = np.unique(predictions.y_true, return_inverse=True, return_counts=True)

    def means(values: Means) -> list[float]:
        found: list[float] = (np.bincount(place, weights=values.mean(axis=0), minlength=len(labels)) / counts).tolist()
        return found

    recalls, precisions = {k: means(values) for k, values in at.items()}, means(precision)
    return [
        ClassRetrieval(label, images, {k: recalls[k][row] for k in CUTS}, precisions[row])
        for row, (label, images) in enumerate(zip(labels.tolist(), counts.tolist(), strict=True))
    ]


def _hits(predictions: Predictions) -> tuple[dict[int, Means], Means] | None:
    """Returns hits among the first k, by k, and average precisions, each (trials, images) float64."""
    if not set(RANKS) <= predictions.measures.keys():
        return None
    first, precision = (predictions.measures[name].astype(np.float64) for name in RANKS)
    return {k: ((first >= 1) & (first <= k)).astype(np.float64) for k in CUTS}, precision
