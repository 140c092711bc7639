"""Opens a folder of class folders, with train, val and test subfolders where they exist."""

import os
from array import array
from pathlib import Path

import numpy as np

from probebench.datasets.base import Dataset, FileImages, Labels, Split, check_utf8
from probebench.datasets.digest_cache import FileMemo, Names, Numbers
from probebench.datasets.sources.assemble import assemble, cut, find_parts
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import file_sha256

FOLDER = "folder:"


def open_folder(path: Path, root: Path) -> Dataset:
    """Opens class folders, under train/val/test where they exist, else cut by the committed rule.

    With train and val but no test, val is the test part: ImageNet's layout, where val is what everybody reports.
    """
    if not path.is_dir():
        raise UsageError(f"data set folder {path} does not exist")
    folders = {child.name: child for child in sorted(path.iterdir()) if child.is_dir()}
    parts = find_parts(folders, f"data set folder {path}")
    roots = parts or {"all": path}
    classes = sorted({child.name for part in roots.values() for child in part.iterdir() if _is_class(child)})
    if not classes:
        raise DatasetError(f"data set folder {path} holds no class folders")
    memo = FileMemo(root / "content", path)
    splits = {part: _read_classes(path, folder, classes, memo) for part, folder in roots.items()}
    memo.save()
    splits = splits if parts else cut(splits["all"])
    return assemble(f"{FOLDER}{path}", path.resolve().name, tuple(classes), splits)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_classes(top: Path, folder: Path, classes: list[str], memo: FileMemo) -> Split:
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
    return Split(tuple(ids), labels, _look_at(top, np.concatenate(names), labels, memo))


def _look_at(top: Path, names: Names, labels: Labels, memo: FileMemo) -> FileImages:
    stats, before = array("Q"), os.fsencode(top) + b"/"
    for name in names:
        try:
            # Path would keep every name in a table of its own.
            status = os.stat(before + name)  # noqa: PTH116
        except OSError as error:
            raise _unreadable(top, name, error) from error
        # ctime cannot be set back, as cp -p and rsync -t set mtime back.
        facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        stats.extend(fact % 2**64 for fact in facts)
    table = np.frombuffer(stats, dtype=np.uint64).reshape(-1, 5)

    def read(name: bytes) -> str:
        try:
            return file_sha256(top / os.fsdecode(name))
        except OSError as error:
            raise _unreadable(top, name, error) from error

    images = FileImages(top, names, memo.digests(names, table[:, 1:], read))
    _refuse_shared_files(images, labels, table[:, :2])
    return images


def _unreadable(top: Path, name: bytes, error: OSError) -> DatasetError:
    return DatasetError(f"image {top / os.fsdecode(name)} cannot be read ({error.strerror}); repair or remove it")


def _refuse_shared_files(images: FileImages, labels: Labels, files: Numbers) -> None:
    """Refuses one file under two labels: a link that leads back to other classes would relabel their images."""
    _, first, which = np.unique(files, axis=0, return_index=True, return_inverse=True)
    first = first[which.reshape(-1)]
    wrong = np.flatnonzero(labels != labels[first])
    if len(wrong):
        path, where = images.path(wrong[0]), images.path(first[wrong[0]])
        raise DatasetError(f"{path} and {where} are one file in two classes; remove the link between them")
