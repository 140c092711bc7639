"""From what a user's data hold to a data set: which parts there are, what is cut where there are none, and its id."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from probebench.datasets.base import SPLITS, Dataset, Images, Split, check_dataset
from probebench.datasets.splits import Positions, cut_test_part
from probebench.errors import DatasetError
from probebench.fingerprint import fingerprint

# The names that people give to parts, in any case.
PART_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}

_Place = TypeVar("_Place")


@runtime_checkable
class Divisible(Images, Protocol):
    """Images of which some can be taken."""

    def take(self, positions: Positions) -> Images:
        """Returns some of the images."""


def find_parts(places: Mapping[str, _Place], where: str) -> dict[str, _Place]:
    """Returns the places that are named as parts are, by part; none where nothing is named so.

    With train and val but no test, val is the test part.

    Raises:
        DatasetError: There is a test part without a train part, or a train part alone; the line begins with ``where``.
    """
    names = {name.lower(): name for name in places}
    parts = {part: names[name] for part, known in PART_NAMES.items() for name in known if name in names}
    if "train" not in parts:
        if "test" in parts:
            raise DatasetError(f"{where} has {parts['test']} but no train beside it")
        return {}
    if "test" not in parts:
        if "val" not in parts:
            raise DatasetError(f"{where} has {parts['train']} but neither test nor val beside it")
        parts["test"] = parts.pop("val")
    return {part: places[name] for part, name in parts.items()}


def cut(whole: Split) -> dict[str, Split]:
    """Cuts data without parts of their own by the committed rule."""
    train, test = cut_test_part(whole.ids, whole.labels)
    return {"train": _take(whole, train), "test": _take(whole, test)}


def _take(split: Split, positions: Positions) -> Split:
    assert isinstance(split.images, Divisible)
    ids = tuple(split.ids[position] for position in positions)
    return Split(ids, split.labels[positions], split.images.take(positions))


def assemble(source: str, name: str, class_names: tuple[str, ...], parts: Mapping[str, Split]) -> Dataset:
    """Returns a data set of the user's under an id for ever: its kind, a name fit for files, and its identity.

    The content is in the id: the same file names with other images (blurred, repaired) are another data set.

    Args:
        source: What the user typed, kind and all; errors name it.
        name: What the id is to say.
        class_names: One name a label.
        parts: Train, test, and val where there is one.

    Raises:
        DatasetError: It cannot be evaluated on.
    """
    ordered = {part: parts[part] for part in SPLITS if part in parts}
    dataset = check_dataset(Dataset(source, class_names, ordered))
    name = "".join(character if character.isalnum() or character in "_-" else "_" for character in name)
    identity = fingerprint([dataset.fingerprint, dataset.content])[:8]
    return Dataset(f"{source.partition(':')[0]}:{name}-{identity}", dataset.class_names, dataset.splits)
