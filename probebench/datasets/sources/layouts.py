"""What a folder of images is taken for: splits of class folders, or class folders alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probebench.datasets.formats import is_image
from probebench.datasets.sources.assemble import ANY_SPLIT_NAME, SPLIT_NAMES, find_splits
from probebench.datasets.sources.walk import LeftOut, is_folder, is_system, listing
from probebench.errors import DatasetError
from probebench.registry.names import FOLDER, Layout

# Names that a line gives, before it says how many more there are.
_NAMED = 3


@dataclass(frozen=True)
class Understood:
    """How a folder is read.

    Attributes:
        places: The folder of class folders of each split; the folder itself as ``all`` where there are no splits.
        notes: What there was to decide, and how to say it otherwise.
    """

    places: Mapping[str, Path]
    notes: tuple[str, ...]


def understand(path: Path, asked: Layout | None, left: LeftOut) -> Understood:
    """Says how a folder is read: as its layout was named, else by what it holds.

    Args:
        path: The folder.
        asked: "classes" or "splits"; None: decide.
        left: Counts what is left out beside the class folders.

    Raises:
        DatasetError: It holds nothing that can be read so, or several data sets; the line says what to name.
    """
    folders = children(path, left)
    where = f"data set folder {path}"
    if asked == "classes":
        return Understood({"all": path}, ())
    named = {name: place for name, place in folders.items() if name.lower() in ANY_SPLIT_NAME}
    if asked == "splits":
        if not (splits := find_splits(named, where, test_alone=True)):
            raise DatasetError(f"{where} has no train folder, which --layout splits needs")
        return Understood(splits, tuple(_beside(named, folders)))
    flat = [name for name, place in named.items() if _holds_images_alone(place)]
    if named and len(flat) == len(named):
        if len(named) == len(folders):
            raise DatasetError(
                f"{where}: {_list(flat)} hold images and no class folders; give each class a folder of its own there, "
                "or say --layout classes where these are the classes"
            )
        note = f"read as class folders, {_list(flat)} among them; where that is a split: --layout splits"
        return Understood({"all": path}, (note,))
    if named:
        hint = "; where it is a class: --layout classes" if len(folders) > len(named) else ""
        try:
            splits = find_splits(named, where, test_alone=len(named) == len(folders))
        except DatasetError as error:
            raise DatasetError(f"{error}{hint}") from error
        if splits:
            return Understood(splits, tuple(_beside(named, folders)))
    return Understood({"all": path}, tuple(_data_sets(path, folders, where)))


def children(path: Path, left: LeftOut) -> dict[str, Path]:
    """Returns the folders in a folder by name, hidden and system ones left out; counts images that lie beside them."""
    entries = [entry for entry in listing(str(path)) if not left.skip(entry)]
    folders = {entry.name: path / entry.name for entry in entries if is_folder(entry)}
    left.loose += sum(is_image(entry.name) for entry in entries if entry.name not in folders)
    return folders


def _holds_images_alone(place: Path) -> bool:
    entries = [entry for entry in listing(str(place)) if not is_system(entry.name)]
    return any(is_image(entry.name) for entry in entries) and not any(map(is_folder, entries))


def _beside(named: Mapping[str, Path], folders: Mapping[str, Path]) -> list[str]:
    """Says which folders are left out beside those of splits."""
    others = [name for name in folders if name not in named]
    if not others:
        return []
    return [f"read as splits ({_list(list(named))}), without {_list(others)}; where all are classes: --layout classes"]


def _data_sets(path: Path, folders: Mapping[str, Path], where: str) -> list[str]:
    """Looks for data sets in the place of classes; returns a line where it may be so.

    Raises:
        DatasetError: It is so.
    """
    whole = [name for name, place in folders.items() if _has_splits(place)]
    if whole:
        raise DatasetError(
            f"{where} holds data sets with splits of their own ({_list(whole)}): name one, such as "
            f"{FOLDER}{path / whole[0]}, or say --layout classes where these are the classes"
        )
    inside = [_folders_alone(place) for place in folders.values()]
    first = inside[0] if inside else None
    if not first or len(first) < 2 or any(one != first for one in inside):
        return []
    names = list(folders)
    if len(names) == 1:
        raise DatasetError(
            f"{where} holds one folder, {names[0]}, and a data set needs two classes; did you mean "
            f"{FOLDER}{path / names[0]}?"
        )
    return [
        f"{_list(names)} hold folders of the same names ({_list(sorted(first))}), and each is read as one class; "
        f"where they are data sets, name one, such as {FOLDER}{path / names[0]}"
    ]


def _has_splits(place: Path) -> bool:
    """Says whether a folder has train and test folders in it; without listing what may be a class of many images."""

    def has(split: str) -> bool:
        ways = (way for name in SPLIT_NAMES[split] for way in (name, name.title(), name.upper()))
        return any((place / way).is_dir() for way in ways)

    return has("train") and (has("test") or has("val"))


def _folders_alone(place: Path) -> frozenset[str] | None:
    """Returns the folders in a folder; None where it holds anything else, or none. Stops at the first file."""
    names = set()
    with os.scandir(place) as entries:
        for entry in entries:
            if is_system(entry.name):
                continue
            if not is_folder(entry):
                return None
            names.add(entry.name)
    return frozenset(names) or None


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    if more > 0:
        return f"{', '.join(names[:_NAMED])} and {more} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
