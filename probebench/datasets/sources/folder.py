"""Opens a folder of class folders, with train, val and test subfolders where they exist."""

import os
import warnings
from array import array
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from probebench.arrays import Labels
from probebench.datasets.base import Dataset, FileImages, Split, check_utf8, unreadable
from probebench.datasets.digest_cache import DigestCache, Names, Numbers
from probebench.datasets.sources.assemble import assemble, cut
from probebench.datasets.sources.layouts import children, understand
from probebench.datasets.sources.walk import LeftOut, class_images, inode
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.files import stamp
from probebench.fingerprint import file_sha256
from probebench.registry.names import FOLDER, Layout


def open_folder(path: Path, root: Path, layout: Layout | None = None) -> Dataset:
    """Opens class folders, under train/val/test where they exist, else cut by the committed rule.

    With train and val but no test, val is the test split: ImageNet's layout, where val is what everybody reports.
    What is read is every file that Pillow reads, once a class, in no hidden or system folder; the rest is counted in
    a warning.

    Args:
        path: The folder.
        root: The folder that holds data sets; digests are remembered below.
        layout: "classes" where every folder in it is a class whatever its name, "splits" where those named train, val
            and test are splits; None: by what they hold.

    Raises:
        UsageError: There is no such folder.
        DatasetError: It cannot be read, or not evaluated on; one file is in two classes, or in two splits.
    """
    if not path.is_dir():
        raise UsageError(f"data set folder {path} does not exist")
    left = LeftOut()
    understood = understand(path, layout, left)
    places = understood.places
    _refuse_one_folder(places)
    # The folder itself was looked through to be understood.
    inside = {split: children(place, LeftOut() if split == "all" else left) for split, place in places.items()}
    classes = sorted({name for folders in inside.values() for name in folders})
    if not classes:
        raise DatasetError(f"data set folder {path} holds no class folders")
    digest_cache = DigestCache(root / "content", path)
    walked = {split: _walk(path, place, classes, left) for split, place in places.items()}
    _refuse_shared_files(path, walked)
    splits = {split: _read(path, one, digest_cache) for split, one in walked.items()}
    digest_cache.save()
    if not any(map(len, splits.values())):
        raise DatasetError(f"data set folder {path} holds no images{f' (left out: {left})' if str(left) else ''}")
    splits = cut(splits["all"]) if "all" in splits else splits
    opened = assemble(f"{FOLDER}{path}", path.resolve().name, tuple(classes), splits)
    for note in [*understood.notes, *([f"left out: {left}"] if str(left) else []), *_untested(opened)]:
        warnings.warn(f"data set folder {path}: {note}", ProbebenchWarning, stacklevel=2)
    return opened


class _Walked:
    """The files of one split, class by class."""

    def __init__(self) -> None:
        self.names: Names = np.zeros(0, dtype=np.bytes_)
        self.ids: tuple[str, ...] = ()
        self.labels: Labels = np.zeros(0, dtype=np.int64)
        # Device, inode, size and two times of each.
        self.files: Numbers = np.zeros((0, 5), dtype=np.uint64)


def _walk(top: Path, folder: Path, classes: list[str], left: LeftOut) -> _Walked:
    walked, names, counts = _Walked(), list[Names](), list[int]()
    ids: list[str] = []
    stats = array("Q")
    # Class by class: what Python takes for a list of paths, it then takes for one class at a time.
    for name in classes:
        place, inside = folder.absolute() / name, list[str]()
        if place.is_dir():
            begin = len(str(place))
            before = (folder / name).relative_to(top).as_posix()
            for found in class_images(str(place), _above(place), left):
                inside.append(f"{before}{found.folder[begin:].replace(os.sep, '/')}/{found.name}")
                stats.extend(fact % 2**64 for fact in (found.status.st_dev, *stamp(found.status)))
        ids += inside
        names.append(np.array([os.fsencode(one) for one in inside], dtype=np.bytes_))
        counts.append(len(inside))
    check_utf8(str(folder), ids)
    walked.ids, walked.names = tuple(ids), np.concatenate(names)
    walked.labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    walked.files = np.frombuffer(stats, dtype=np.uint64).reshape(-1, 5)
    return walked


def _above(place: Path) -> set[tuple[int, int]]:
    return {inode(str(folder)) for folder in (*place.parents, *place.resolve().parents)}


def _read(top: Path, walked: _Walked, digest_cache: DigestCache) -> Split:
    def read(name: bytes) -> str:
        try:
            return file_sha256(top / os.fsdecode(name))
        except OSError as error:
            raise unreadable(os.fsencode(top) + b"/" + name, error) from error

    images = FileImages(top, walked.names, digest_cache.digests(walked.names, walked.files[:, 1:], read))
    return Split(walked.ids, walked.labels, images)


def _refuse_one_folder(places: Mapping[str, Path]) -> None:
    for (_, first), (_, second) in combinations(places.items(), 2):
        if inode(str(first)) == inode(str(second)):
            raise DatasetError(f"{first} and {second} are one folder, which would be two splits; remove the link")


def _refuse_shared_files(top: Path, splits: Mapping[str, _Walked]) -> None:
    """Refuses one file under two labels, which a link would relabel, and one in two splits."""
    names = np.concatenate([one.names for one in splits.values()])
    labels = np.concatenate([one.labels for one in splits.values()])
    which = np.repeat(np.arange(len(splits)), [len(one.names) for one in splits.values()])
    files = np.concatenate([one.files[:, :2] for one in splits.values()])
    _, first, place = np.unique(files, axis=0, return_index=True, return_inverse=True)
    first = first[place.reshape(-1)]
    for mark, what in ((labels, "classes"), (which, "splits")):
        if len(wrong := np.flatnonzero(mark != mark[first])):
            path, other = (top / os.fsdecode(names[one]) for one in (wrong[0], first[wrong[0]]))
            more = f" ({len(wrong) - 1} more are shared)" if len(wrong) > 1 else ""
            raise DatasetError(f"{path} and {other} are one file in two {what}{more}; remove the link between them")


def _untested(dataset: Dataset) -> list[str]:
    """Says which classes have no images to test or to train on."""
    lines: list[str] = []
    if "train" not in dataset.splits:
        return lines
    present = {name: set(np.unique(split.labels).tolist()) for name, split in dataset.splits.items()}
    for split, other, what in (("test", "train", "trains and is never tested"), ("train", "test", "cannot be learnt")):
        if lacking := [dataset.class_names[label] for label in sorted(present[other] - present[split])]:
            some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
            lines.append(f"without {split} images, so that it {what}: {some}")
    return lines
