"""What a source shares with the test images of a downstream set: pixels, looks, and what is shown."""

import numpy as np

from probebench.datasets.base import Dataset, Split
from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.captioned.table import TABLE, read_table
from probebench.datasets.duplicates.search import find_duplicates
from probebench.datasets.named.layout import Layout
from probebench.progress import Progress
from probebench.registry.source import Shared


def shared_with(source: Captioned, dataset: Dataset, concepts: dict[str, frozenset[str]], progress: Progress) -> Shared:
    """Compares a source with the test split of a data set.

    Args:
        source: The source.
        dataset: The data set.
        concepts: What each test image shows, by its id; none where nobody says.
        progress: Hears how far it is.
    """
    test = dataset.splits["test"]
    # One label for all: images that occur twice in the source are no fault here.
    searched = {
        "train": Split(source.ids, np.zeros(len(source), np.int64), source.images),
        "test": Split(test.ids, np.zeros(len(test), np.int64), test.images),
    }
    found = find_duplicates(Dataset(dataset.id, (source.id,), searched), progress)
    shown = {concept for several in source.concepts for concept in several}
    return Shared(
        exact=found.exact.between["test in train"],
        near=found.near.between["test in train"],
        concepts=sum(not concepts.get(name, frozenset()).isdisjoint(shown) for name in test.ids),
        test=len(test),
    )


def concepts_of(layout: Layout) -> dict[str, frozenset[str]]:
    """Returns what each image of a drawn data set shows, by its id; none of other data sets."""
    if not (layout.place / TABLE).is_file():
        return {}
    return {row.id: frozenset(row.concepts) for row in read_table(layout.place)}
