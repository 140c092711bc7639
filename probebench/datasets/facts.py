"""What there is to say of a data set: by its entry, and by what was found on this machine."""

from typing import Any

import numpy as np

from probebench.datasets.base import SPLITS, Dataset
from probebench.registry.schema import DatasetSpec


def entry_facts(spec: DatasetSpec) -> dict[str, Any]:
    """Returns what the entry says, in the order in which people ask for it."""
    return {
        "id": spec.id,
        "title": spec.title,
        "paper": spec.paper,
        "url": spec.url,
        "license": spec.license,
        "citation": spec.citation,
        "metric": spec.metric,
        "splits": {name: count for name in SPLITS if (count := getattr(spec.splits, name))},
        "rule": spec.splits.rule,
        "class_counts": {name: getattr(spec.class_counts, name) for name in SPLITS if getattr(spec.splits, name)},
        "quirks": list(spec.quirks),
        "unverified": list(spec.unverified),
        "templates": list(spec.templates),
        "prompt_source": spec.prompt_source,
    }


def found_facts(dataset: Dataset) -> dict[str, Any]:
    """Returns what was found in the opened data."""
    return {
        "id": dataset.id,
        "fingerprint": dataset.fingerprint,
        "classes": len(dataset.class_names),
        "images": {name: len(split) for name, split in dataset.splits.items()},
        "smallest_class": {
            name: int(np.unique(split.labels, return_counts=True)[1].min()) for name, split in dataset.splits.items()
        },
    }
