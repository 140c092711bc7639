"""Probes of one data set on the test part of another: which classes the two share, and what is predicted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from probebench.arrays import Labels
from probebench.cache.index import FeatureGroup
from probebench.cache.store import FeatureFile
from probebench.errors import CacheError
from probebench.evaluation.predict import predict
from probebench.fingerprint import fingerprint
from probebench.probes.base import Linear
from probebench.probes.knn import Neighbours
from probebench.probes.prepare import Picked
from probebench.probes.select import Selected
from probebench.results.predictions import Predictions


@dataclass(frozen=True)
class Shifted:
    """Another data set whose test part probes are scored on.

    Attributes:
        group: Its features, of the same checkpoint in the same setting.
        labels: The label that the probes' own data set has for each of its classes (K,).
        whole: Whether it has all classes of that data set. Where it has some only, the prediction is the best of
            these, as everybody reports of ImageNet-A and ImageNet-R.
    """

    group: FeatureGroup
    labels: Labels
    whole: bool

    @classmethod
    def of(cls, group: FeatureGroup, labels: Sequence[int], classes: int) -> "Shifted":
        """Takes the labels as a sequence, and how many classes the probes' own data set has."""
        return cls(group, np.array(labels, dtype=np.int64), len(labels) == classes)

    @property
    def some(self) -> list[int]:
        """The probes' labels that it has, ascending; none where these are all."""
        return [] if self.whole else sorted(self.labels.tolist())

    @property
    def identity(self) -> str:
        """The sha256 over what of it decides a result."""
        return fingerprint([self.group.key.group, self.labels.tolist()])


def same_features(own: FeatureGroup, groups: Sequence[FeatureGroup], dataset: str) -> FeatureGroup:
    """Returns the features of another data set that were made as these were: same weights, layer, input and dtype.

    Args:
        own: Of the set that probes are fitted on.
        groups: All that are cached.
        dataset: Id of the other set.

    Raises:
        CacheError: There are none, or their test split is missing; the line says how to get them.
    """
    apart = {"dataset_fingerprint", "content", "split"}
    made = own.key.model_dump(exclude=apart)
    for group in groups:
        if (group.model, group.dataset) == (own.model, dataset) and group.key.model_dump(exclude=apart) == made:
            if "test" in group.paths:
                return group
            break
    size, layer = own.key.preprocessing.size, own.key.layer
    raise CacheError(
        f"features of {own.model} on the test part of {dataset}, made as those on {own.dataset} ({size} px, {layer}, "
        f"{own.key.dtype}), are not cached; run: probebench extract --model {own.model} --dataset {dataset} "
        f"--input-size {size} --layer {layer} --dtype {own.key.dtype}"
    )


def predict_shifted(
    shift: Shifted, own: FeatureFile, other: FeatureFile, probes: Sequence[Selected | None]
) -> Predictions:
    """Lets finished probes predict the other test part, and their own as far as it is of the same classes.

    Args:
        shift: What is shared.
        own: Features of the own test part.
        other: Features of the other one.
        probes: One a draw; None where it failed, which predicts -1 everywhere.

    Returns:
        Labels and predictions as the probes' own data set numbers classes.
    """
    if not shift.whole:
        probes = [None if one is None else replace(one, probe=restricted(one.probe, shift.labels)) for one in probes]
    here = np.flatnonzero(np.isin(own.labels, shift.labels))
    if not len(here):
        raise CacheError("the own test part has no image of the classes that both data sets have")
    labels = shift.labels[other.labels]
    home, _ = predict(own, own.labels[here], probes, here)
    return Predictions(
        other.ids,
        labels,
        *predict(other, labels, probes),
        own=Predictions(tuple(own.ids[one] for one in here), own.labels[here], home),
    )


def restricted(probe: object, labels: Labels) -> Linear | Neighbours:
    """Returns a probe that predicts the best of some classes.

    Of a linear probe, the class of the highest score among these; of neighbours, the vote of the nearest rows of these
    classes, so that every image has k voters.

    Raises:
        ValueError: It knows none of them.
    """
    assert isinstance(probe, Linear | Neighbours)
    kept = np.flatnonzero(np.isin(probe.classes, labels))
    if not len(kept):
        raise ValueError("the probe knows none of the classes that both data sets have")
    if isinstance(probe, Linear):
        return replace(probe, classes=probe.classes[kept], coef=probe.coef[kept], intercept=probe.intercept[kept])
    rows = np.flatnonzero(np.isin(probe.own, kept))
    return replace(
        probe,
        classes=probe.classes[kept],
        rows=Picked(probe.rows, rows),
        own=np.searchsorted(kept, probe.own[rows]),
    )
