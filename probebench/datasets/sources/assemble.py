"""From what a user's data hold to a data set: which splits there are, what is cut where there are none, and its id."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from probebench.arrays import Positions
from probebench.datasets.base import SPLITS, Dataset, Images, Split, check_dataset
from probebench.datasets.splits import cut_test_split
from probebench.errors import DatasetError
from probebench.fingerprint import fingerprint

# The names that people give to splits, in any case.
SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
ANY_SPLIT_NAME = frozenset(name for names in SPLIT_NAMES.values() for name in names)

_Place = TypeVar("_Place")


@runtime_checkable
class Divisible(Images, Protocol):
    """Images of which some can be taken."""

    def take(self, positions: Positions) -> "Divisible":
        """Returns some of the images."""


def find_splits(places: Mapping[str, _Place], where: str, *, test_alone: bool = False) -> dict[str, _Place]:
    """Returns the places that are named as splits are, by split; none where nothing is named so.

    With train and val but no test, val is the test split.

    Args:
        places: By name.
        where: What the error line begins with.
        test_alone: Whether test without train is a set to test probes of others on.

    Raises:
        DatasetError: There is test without train otherwise, or train alone, or two of one split; the line begins with
            ``where``.
    """
    found: dict[str, str] = {}
    for name in places:
        for split in (split for split, known in SPLIT_NAMES.items() if name.lower() in known):
            if split in found:
                raise DatasetError(
                    f"{where} has {found[split]} and {name}, which are both the {split} split; rename one"
                )
            found[split] = name
    if "train" not in found:
        if "test" in found and not (test_alone and len(found) == 1):
            raise DatasetError(f"{where} has {found['test']} but no train beside it")
        # A set to test probes of another on.
        return {"test": places[found["test"]]} if "test" in found else {}
    if "test" not in found:
        if "val" not in found:
            raise DatasetError(f"{where} has {found['train']} but neither test nor val beside it")
        found["test"] = found.pop("val")
    return {split: places[found[split]] for split in SPLIT_NAMES if split in found}


def cut(whole: Split) -> dict[str, Split]:
    """Cuts data without splits of their own by the committed rule."""
    train, test = cut_test_split(whole.ids, whole.labels)
    return {"train": _take(whole, train), "test": _take(whole, test)}


def _take(split: Split, positions: Positions) -> Split:
    assert isinstance(split.images, Divisible)
    ids = tuple(split.ids[position] for position in positions)
    return Split(ids, split.labels[positions], split.images.take(positions))


def assemble(source: str, title: str, class_names: tuple[str, ...], splits: Mapping[str, Split]) -> Dataset:
    """Returns a data set of the user's under an id for ever: its kind, a name fit for files, and its identity.

    The content is in the id: the same file names with other images (blurred, repaired) are another data set.

    Args:
        source: What the user typed, kind and all; errors name it.
        title: What the id is to say.
        class_names: One name a label.
        splits: Train, test, and val where there is one.

    Raises:
        DatasetError: It cannot be evaluated on.
    """
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    dataset = check_dataset(Dataset(source, class_names, ordered))
    title = "".join(character if character.isalnum() or character in "_-" else "_" for character in title)
    identity = fingerprint([dataset.fingerprint, dataset.content])[:8]
    return Dataset(f"{source.partition(':')[0]}:{title}-{identity}", dataset.class_names, dataset.splits)
