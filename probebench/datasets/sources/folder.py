"""Opens a folder of class folders, with train, val and test subfolders where they exist."""

import os
from array import array
from pathlib import Path

import numpy as np

from probebench.arrays import Labels
from probebench.datasets.base import Dataset, FileImages, Split, check_utf8, unreadable
from probebench.datasets.digest_cache import DigestCache, Names, Numbers
from probebench.datasets.sources.assemble import assemble, cut, find_splits
from probebench.errors import DatasetError, UsageError
from probebench.files import stamp
from probebench.fingerprint import file_sha256
from probebench.registry.names import FOLDER


def open_folder(path: Path, root: Path) -> Dataset:
    """Opens class folders, under train/val/test where they exist, else cut by the committed rule.

    With train and val but no test, val is the test split: ImageNet's layout, where val is what everybody reports.
    """
    if not path.is_dir():
        raise UsageError(f"data set folder {path} does not exist")
    folders = {child.name: child for child in sorted(path.iterdir()) if child.is_dir()}
    named = find_splits(folders, f"data set folder {path}")
    places = named or {"all": path}
    classes = sorted({child.name for place in places.values() for child in place.iterdir() if _is_class(child)})
    if not classes:
        raise DatasetError(f"data set folder {path} holds no class folders")
    digest_cache = DigestCache(root / "content", path)
    splits = {name: _read_classes(path, folder, classes, digest_cache) for name, folder in places.items()}
    digest_cache.save()
    splits = splits if named else cut(splits["all"])
    return assemble(f"{FOLDER}{path}", path.resolve().name, tuple(classes), splits)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_classes(top: Path, folder: Path, classes: list[str], digest_cache: DigestCache) -> Split:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    ids: list[str] = []
    names, counts = [], []
    # Class by class: what Python takes for a list of paths, it then takes for one class at a time.
    for name in classes:
        place = folder.absolute()
        found = make_dataset(str(place), {name: 0}, extensions=IMG_EXTENSIONS, allow_empty=True)
        before, begin = (folder / name).relative_to(top).as_posix(), len(str(place / name))
        inside = [before + path[begin:] for path, _ in found]
        ids += inside
        names.append(np.array([os.fsencode(one) for one in inside], dtype=np.bytes_))
        counts.append(len(inside))
    check_utf8(str(folder), ids)
    labels: Labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return Split(tuple(ids), labels, _files(top, np.concatenate(names), labels, digest_cache))


def _files(top: Path, names: Names, labels: Labels, digest_cache: DigestCache) -> FileImages:
    stats, before = array("Q"), os.fsencode(top) + b"/"
    for name in names:
        try:
            # Path would keep every name in a table of its own.
            status = os.stat(before + name)  # noqa: PTH116
        except OSError as error:
            raise unreadable(before + name, error) from error
        stats.extend(fact % 2**64 for fact in (status.st_dev, *stamp(status)))
    table = np.frombuffer(stats, dtype=np.uint64).reshape(-1, 5)

    def read(name: bytes) -> str:
        try:
            return file_sha256(top / os.fsdecode(name))
        except OSError as error:
            raise unreadable(before + name, error) from error

    images = FileImages(top, names, digest_cache.digests(names, table[:, 1:], read))
    _refuse_shared_files(images, labels, table[:, :2])
    return images


def _refuse_shared_files(images: FileImages, labels: Labels, files: Numbers) -> None:
    """Refuses one file under two labels: a link that leads back to other classes would relabel their images."""
    _, first, which = np.unique(files, axis=0, return_index=True, return_inverse=True)
    first = first[which.reshape(-1)]
    wrong = np.flatnonzero(labels != labels[first])
    if len(wrong):
        path, where = images.path(wrong[0]), images.path(first[wrong[0]])
        raise DatasetError(f"{path} and {where} are one file in two classes; remove the link between them")
