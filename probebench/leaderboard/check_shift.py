"""What a result on the test part of another data set must satisfy: that part, the classes that both have, the drop."""

from collections.abc import Iterator

import numpy as np

from probebench.errors import UsageError
from probebench.registry.classes import matched
from probebench.registry.dataset import DatasetSpec
from probebench.registry.load import Registry
from probebench.results.metrics import image_scores
from probebench.results.predictions import Predictions
from probebench.results.schema import Result
from probebench.results.stats import dropped

# Kinds of result whose probes can be scored on another test part.
KINDS = ("probe", "ridge", "knn")
# As check_result has it.
_CLOSE = 1e-9


def own_side(result: Result) -> Result:
    """Returns a result as if it were of its own test part, as far as images are concerned."""
    if result.shift is None:
        return result
    return result.model_copy(update={"n_test": result.shift.n_own, "skipped_ids": result.shift.own_skipped_ids})


def check_shift(result: Result, registry: Registry) -> Iterator[str]:
    """Yields what a result says of the other data set against the registry; nothing where it is on its own."""
    shift = result.shift
    if shift is None or result.test_dataset is None:
        return
    if result.kind not in KINDS:
        yield f"kind {result.kind} on the test part of another data set, which {', '.join(KINDS)} are scored on"
    if result.test_dataset == result.dataset:
        yield "test_dataset is the data set that its probes were fitted on"
    if "own" not in (result.feature_key or {}):
        yield "a probe on another test part has a feature key of its own one too"
    own, other = (registry.datasets.get(name) for name in (result.dataset, result.test_dataset))
    if other is None:
        yield f"test data set {result.test_dataset!r} is not in the registry, so nobody else can check it"
        return
    if other.fingerprint not in ("unknown", shift.fingerprint):
        yield f"the test data set's fingerprint is not that of the registry's {other.id}"
    if not 0 <= other.splits.test - (result.n_test or 0) <= len(result.skipped_ids):
        yield f"{result.n_test} test images and {len(result.skipped_ids)} skipped, of {other.splits.test}"
    if own is None:
        return
    labels = _labels(own, other)
    if labels is None:
        yield f"{other.id} has classes that {own.id} has not"
        return
    some = sorted(labels) if len(labels) < len(own.classes) else []
    if shift.labels != some:
        yield f"its labels are not the {len(labels)} classes that {own.id} and {other.id} share"
    most, counts = own.splits.test, own.class_counts.test
    if some and counts != "unknown":
        most = len(some) * counts if isinstance(counts, int) else sum(counts[label] for label in some)
    exact = not some or counts != "unknown"
    if not 0 <= most - shift.n_own <= (len(shift.own_skipped_ids) if exact else most):
        yield f"{shift.n_own} images of its own test part and {len(shift.own_skipped_ids)} skipped, of {most}"


def _labels(own: DatasetSpec, other: DatasetSpec) -> tuple[int, ...] | None:
    try:
        return matched(own.classes, other.classes, (own.id, other.id))
    except UsageError:
        return None


def check_sides(result: Result, predictions: Predictions) -> Iterator[str]:
    """Yields where predictions lack a side, or are of other classes than both sets have."""
    if (result.shift is None) != (predictions.own is None):
        there = "no predictions" if predictions.own is None else "predictions"
        yield f"its file holds {there} on its own test part beside another's"
    elif result.shift is not None and predictions.own is not None and result.shift.labels:
        for where, one in (("the other", predictions), ("its own", predictions.own)):
            for what, values in (("labels", one.y_true), ("predictions", one.y_pred)):
                if len(odd := np.setdiff1d(values, result.shift.labels)):
                    yield f"{what} on {where} test part are of class {odd[0]}, which the two sets do not share"


def check_drop(result: Result, predictions: Predictions) -> Iterator[str]:
    """Yields every number of a drop that does not follow from the predictions on both sides."""
    shift, own = result.shift, predictions.own
    if shift is None or own is None:
        return
    scores, own_scores = (image_scores(result.metric, one.y_true, one.y_pred) for one in (predictions, own))
    drop, (low, high) = dropped(own_scores, scores)
    ends = shift.drop_ci95 or (None, None)
    for what, told, found in (
        ("own_mean", shift.own_mean, float(own_scores.mean())),
        ("drop", shift.drop, drop),
        ("the drop's low end", ends[0], low),
        ("the drop's high end", ends[1], high),
    ):
        if told is None or abs(told - found) > _CLOSE:
            yield f"{what} is {'missing' if told is None else f'{told:.6f}'}, and the predictions give {found:.6f}"


def check_other_published(
    result: Result, predictions: Predictions, own: DatasetSpec, other: DatasetSpec
) -> Iterator[str]:
    """Yields where images and labels are not those of which the other data set's entry publishes a digest."""
    labels = _labels(own, other)
    if other.published is None or labels is None or result.skipped_ids:
        return
    back = {label: place for place, label in enumerate(labels)}
    y_true = np.array([back.get(label, -1) for label in predictions.y_true.tolist()])
    if Predictions(predictions.test_ids, y_true, predictions.y_pred).part != other.published.test:
        yield f"its test ids or labels are not those of {other.id}: another digest than the registry publishes"


def other_not_verifiable(result: Result, other: DatasetSpec | None) -> str | None:
    """Says why nobody without the other data set can verify its side; None where everybody can."""
    if other is None or not other.verifiable:
        return f"not verifiable, so not ranked: the registry publishes no digests of {result.test_dataset}"
    if result.skipped_ids:
        return f"not verifiable without the data: {len(result.skipped_ids)} images of {other.id} were left out"
    return None
