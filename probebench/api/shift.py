"""Which other data set probes are scored on, as the front door names it."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from probebench.api.data import class_names_of, place_of
from probebench.api.features import Features
from probebench.api.session import Path_, listed
from probebench.errors import UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.api.evaluate import DataName, FeaturesLike
    from probebench.cache.index import FeatureGroup
    from probebench.evaluation.shifted import Shifted
    from probebench.registry import Registry


def shifted_to(
    registry: "Registry", test_dataset: Path_, features: "FeaturesLike | None", dataset: "DataName | None"
) -> "Callable[[FeatureGroup], Shifted]":
    """Returns what finds the other test part that probes of an extraction are scored on.

    Args:
        registry: Entries.
        test_dataset: The other data set, as a user names it.
        features: What probes are fitted on, as in ``evaluate``.
        dataset: Likewise.

    Raises:
        UsageError: There is no such data set, or none to fit on was named.
    """
    from probebench.cache.index import read_index
    from probebench.datasets.open import open_dataset
    from probebench.evaluation.shifted import Shifted, same_features
    from probebench.registry.classes import matched
    from probebench.registry.names import TRIAL, is_source

    if not listed(dataset) and not any(isinstance(one, Features) for one in listed(features)):
        raise UsageError("--test-dataset takes the data set that probes are fitted on: name it by --dataset")
    place = place_of(registry, test_dataset)
    if is_source(place):
        opened = open_dataset(place, registry, home() / "datasets")
        name, classes = opened.id, opened.class_names
    else:
        name, classes = place, registry.dataset(place).classes
    known, groups = class_names_of(registry, features, dataset), read_index(home()).groups

    def find(group: "FeatureGroup") -> Shifted:
        whole = group.dataset.partition(TRIAL)[0]
        if whole == name:
            raise UsageError(f"{name} is tested on its own test part without --test-dataset; name another set there")
        if whole not in known:
            raise UsageError(
                f"{whole}: its class names are not in the cache; name it by where it lies (folder:PATH, wds: or hf:)"
            )
        labels = matched(known[whole], classes, (whole, os.fspath(test_dataset)))
        return Shifted.of(same_features(group, groups, name), labels, len(known[whole]))

    return find
