"""Which files of a class folder are its images: each file once, and a count of whatever is left out."""

import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from probebench.datasets.base import unreadable
from probebench.datasets.formats import ending_of, is_image
from probebench.errors import DatasetError
from probebench.outside import kind_fault

# Folders and files that systems, archivers and tools leave behind, in lower case; whatever is hidden is one too.
_SYSTEM = (
    *(".*", "__macosx", "__pycache__", "lost+found", "system volume information", "found.[0-9][0-9][0-9]"),
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@sharesnap", "@__thumb", "@syno*"),
    *("#recycle", "#snapshot", "~snapshot", "$recycle.bin", "recycler", "recycled", "network trash folder"),
    *("temporary items", "thevolumesettingsfolder", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
)
_IS_SYSTEM = re.compile("|".join(map(fnmatch.translate, _SYSTEM)))
# Names that a line gives, before it says how many more there are.
_NAMED = 3

# What tells one file or folder from another, whatever it is called: its device and inode.
Inode = tuple[int, int]


def is_system(name: str) -> bool:
    """Says whether a folder or file is hidden, or a system's own."""
    return _IS_SYSTEM.match(name.lower()) is not None


class Found(NamedTuple):
    """One image file.

    Attributes:
        linked: Whether a link leads to it.
        folder: Where it was found.
        name: Its name there.
        status: What the system says of it.
    """

    linked: bool
    folder: str
    name: str
    status: os.stat_result


@dataclass
class LeftOut:
    """Counts what is not read of a data set folder.

    Attributes:
        endings: Files that are no images, by their ending.
        system: Images in hidden and system folders, by the folder's name.
        hidden: Images whose own name is hidden.
        again: Files that a class holds already under another name, and links to folders that it holds already.
        loose: Images beside the class folders.
    """

    endings: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    again: int = 0
    loose: int = 0

    def skip(self, entry: "os.DirEntry[str]") -> bool:
        """Says whether a folder or file is hidden or a system's own, and counts the images in it."""
        if not is_system(entry.name):
            return False
        if not is_folder(entry):
            self.hidden += is_image(entry.name)
        elif images := sum(is_image(name) for _, _, names in os.walk(entry.path) for name in names):
            self.system[entry.name] += images
        return True

    def __str__(self) -> str:
        """Returns a text such as "12 .heic files, 3 images in hidden or system folders (@eaDir)"; "" for nothing."""
        parts = [
            f"{count} {ending or 'files without an ending'}{' files' if ending else ''}"
            for ending, count in self.endings.most_common(_NAMED)
        ]
        if rest := sum(self.endings.values()) - sum(count for _, count in self.endings.most_common(_NAMED)):
            parts.append(f"{rest} files of other kinds")
        if images := sum(self.system.values()):
            names = ", ".join(sorted(self.system)[:_NAMED]) + (", ..." if len(self.system) > _NAMED else "")
            parts.append(f"{images} images in hidden or system folders ({names})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden images")
        if self.again:
            parts.append(f"{self.again} links to what its class holds already")
        if self.loose:
            parts.append(f"{self.loose} images that lie beside the class folders")
        return ", ".join(parts)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Says whether an entry is a folder or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def listing(folder: str) -> "list[os.DirEntry[str]]":
    """Returns what is in a folder, by name.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(
            f"folder {folder} cannot be read ({error.strerror}); give its rights, or remove it"
        ) from error


def inode(folder: str) -> Inode:
    """Returns the device and inode of a folder or file, links followed."""
    # Path would keep every name in a table of its own.
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def class_images(place: str, above: Collection[Inode], left: LeftOut) -> list[Found]:
    """Finds the images of one class at every depth, by folder and name.

    Links are followed, and a file counts once, under its own name where one leads to it without a link. Folders are
    ordered as ``sorted(os.walk(place))`` orders them, for ever: ids and their order make the fingerprint.

    Args:
        place: The class folder.
        above: The folders that hold it; a link to one of these would make every class one of its images.
        left: Counts what is left out.

    Raises:
        DatasetError: A folder or file cannot be read, or a link leads to a folder that holds the class.
    """
    found: list[Found] = []
    seen: set[Inode] = set()
    # Folders before links to folders, so that what is reached both ways counts under its own name.
    folders, links = [place], list[str]()
    while folders or links:
        linked = not folders
        folder = links.pop(0) if linked else folders.pop()
        own = inode(folder)
        if own in above:
            raise DatasetError(f"{folder} is a link to a folder that holds its own class; remove it")
        if own in seen:
            left.again += 1
            continue
        seen.add(own)
        for entry in listing(folder):
            if left.skip(entry):
                continue
            if is_folder(entry):
                (links if linked or entry.is_symlink() else folders).append(entry.path)
            elif not is_image(entry.name):
                left.endings[ending_of(entry.name)] += 1
            else:
                try:
                    status = entry.stat()
                except OSError as error:
                    raise unreadable(os.fsencode(entry.path), error) from error
                if not stat.S_ISREG(status.st_mode):
                    raise DatasetError(f"image {entry.path} {kind_fault(Path(entry.path))}; remove it")
                found.append(Found(linked or entry.is_symlink(), folder, entry.name, status))
    return _once(found, left)


def _once(found: list[Found], left: LeftOut) -> list[Found]:
    found.sort(key=lambda one: one[:3])
    first: dict[Inode, Found] = {}
    for one in found:
        first.setdefault((one.status.st_dev, one.status.st_ino), one)
    left.again += len(found) - len(first)
    return sorted(first.values(), key=lambda one: one[1:3])
