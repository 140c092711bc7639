"""What a user names a data set by: an id, a folder or another source, or images in memory."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probebench.api.features import Features
from probebench.api.session import listed
from probebench.errors import UsageError
from probebench.files import home

if TYPE_CHECKING:
    from probebench.datasets.base import Dataset
    from probebench.registry import Registry

# An id, folder:PATH, wds:SHARDS, hf:NAME, a folder's path, or images with labels, whole or by split.
DatasetLike = str | os.PathLike[str] | Iterable[Any] | Mapping[str, Iterable[Any]]
Ids = Sequence[str] | Mapping[str, Sequence[str]]


def place_of(registry: "Registry", dataset: str | os.PathLike[str]) -> str:
    """Returns the name of a data set as the command line takes it: a path becomes ``folder:PATH``.

    A text is a path where no entry has that name, and there is such a folder.
    """
    from probebench.registry.names import FOLDER, folder_of, is_source

    text = os.fspath(dataset)
    named = isinstance(dataset, str) and (text in registry.datasets or is_source(text))
    return f"{FOLDER}{text}" if not named and folder_of(text)[0].is_dir() else text


def open_data(registry: "Registry", dataset: DatasetLike, ids: Ids | None, title: str | None) -> "Dataset":
    """Opens a data set.

    Args:
        registry: Where ids are looked up.
        dataset: As a user names it.
        ids: Of images in memory.
        title: What the id of images in memory is to say; None: ``images``.

    Raises:
        UsageError: There is no such data set, or ids or a title were given for one that has its own.
        DatasetError: The data are missing, incomplete, or cannot be evaluated on.
    """
    from probebench.datasets.open import open_dataset, remembered
    from probebench.datasets.sources.memory import open_memory

    if isinstance(dataset, str | os.PathLike):
        if ids is not None or title is not None:
            raise UsageError(f"ids= and dataset_name= are for images in memory; {os.fspath(dataset)} has its own")
        return open_dataset(place_of(registry, dataset), registry, home() / "datasets")
    return remembered(open_memory(dataset, title or "images", ids), None, home() / "datasets")


def class_names_of(
    registry: "Registry", features: Any, dataset: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
) -> dict[str, tuple[str, ...]]:
    """Returns class names by data set, of those without an entry as far as they are at hand.

    Args:
        registry: Entries.
        features: What was asked for, as in ``evaluate``.
        dataset: Likewise.
    """
    from probebench.datasets.open import open_dataset
    from probebench.registry.names import is_source, split_list

    given = [one for one in listed(features) if isinstance(one, Features)]
    names = {one.dataset: one.class_names for one in given if one.class_names is not None}
    for place in split_list([place_of(registry, one) for one in listed(dataset)]):
        if is_source(place):
            opened = open_dataset(place, registry, home() / "datasets")
            names[opened.id] = opened.class_names
    return names | {name: spec.classes for name, spec in registry.datasets.items()}
