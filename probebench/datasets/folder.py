"""Opens a folder of class folders, with train, val and test subfolders where they exist."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from probebench.datasets.base import SPLITS, Dataset, FileImages, Labels, Split, check_dataset, check_utf8
from probebench.datasets.splits import Positions, cut_test_part
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import file_sha256, fingerprint

FOLDER = "folder:"
# The names that people give to parts, in any case.
_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def open_folder(path: Path, root: Path) -> Dataset:
    """Opens class folders, under train/val/test where they exist, else cut by the committed rule.

    With train and val but no test, val is the test part: ImageNet's layout, where val is what everybody reports.
    """
    if not path.is_dir():
        raise UsageError(f"data set folder {path} does not exist")
    parts = _find_parts(path)
    roots = parts or {"all": path}
    classes = sorted({child.name for part in roots.values() for child in part.iterdir() if _is_class(child)})
    if not classes:
        raise DatasetError(f"data set folder {path} holds no class folders")
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    memo = _ContentMemo(root / "content" / f"{place}.json")
    splits = {part: _read_classes(path, folder, classes, memo) for part, folder in roots.items()}
    memo.save()
    if not parts:
        whole = splits["all"]
        train, test = cut_test_part(whole.ids, whole.labels)
        splits = {"train": _take(whole, train), "test": _take(whole, test)}
    ordered = {part: splits[part] for part in SPLITS if part in splits}
    dataset = check_dataset(Dataset(f"{FOLDER}{path}", tuple(classes), ordered))
    name = "".join(character if character.isalnum() or character in "_-" else "_" for character in path.resolve().name)
    # The content is in the id: the same file names with other images (blurred, repaired) are another data set.
    identity = fingerprint([dataset.fingerprint, dataset.content])[:8]
    return Dataset(f"{FOLDER}{name}-{identity}", dataset.class_names, dataset.splits)


def _find_parts(path: Path) -> dict[str, Path]:
    """Returns the folders of the parts; none where the class folders lie in ``path`` itself."""
    folders = {child.name.lower(): child for child in sorted(path.iterdir()) if child.is_dir()}
    parts = {part: folders[name] for part, names in _PARTS.items() for name in names if name in folders}
    if "train" not in parts:
        if "test" in parts:
            raise DatasetError(f"data set folder {path} has {parts['test'].name} but no train beside it")
        return {}
    if "test" not in parts:
        if "val" not in parts:
            raise DatasetError(f"data set folder {path} has {parts['train'].name} but neither test nor val beside it")
        parts["test"] = parts.pop("val")
    return parts


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_classes(top: Path, folder: Path, classes: list[str], memo: "_ContentMemo") -> Split:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    numbers = {name: number for number, name in enumerate(classes)}
    found = make_dataset(str(folder), numbers, extensions=IMG_EXTENSIONS, allow_empty=True)
    paths = [Path(path) for path, _ in found]
    labels: Labels = np.array([label for _, label in found], dtype=np.int64)
    ids = tuple(path.relative_to(top).as_posix() for path in paths)
    check_utf8(str(folder), ids)
    split = Split(ids, labels, FileImages.below(top, ids, [memo.digest(path) for path in paths]))
    _refuse_shared_files(split)
    return split


def _refuse_shared_files(split: Split) -> None:
    """Refuses one file under two labels: a link that leads back to other classes would relabel their images."""
    assert isinstance(split.images, FileImages)
    seen: dict[tuple[int, int], tuple[int, Path]] = {}
    for position, label in enumerate(split.labels):
        path = split.images.path(position)
        status = path.stat()
        first, where = seen.setdefault((status.st_dev, status.st_ino), (int(label), path))
        if first != label:
            raise DatasetError(f"{path} and {where} are one file in two classes; remove the link between them")


def _take(split: Split, positions: Positions) -> Split:
    assert isinstance(split.images, FileImages)
    images = split.images
    chosen = FileImages(images.root, images.names[positions], [images.digests[position] for position in positions])
    return Split(tuple(split.ids[position] for position in positions), split.labels[positions], chosen)


class _ContentMemo:
    """Remembers files' sha256 by path, size, times and inode, so that a second look reads no image again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._before: dict[str, list[object]] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._before = {}
        self._now: dict[str, list[object]] = {}

    def digest(self, path: Path) -> str:
        """Returns the sha256 of a file's bytes."""
        try:
            status = path.stat()
            # ctime cannot be set back, as cp -p and rsync -t set mtime back.
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            known = self._before.get(str(path))
            digest = str(known[-1]) if known and known[:-1] == stamp else file_sha256(path)
        except OSError as error:
            raise DatasetError(f"image {path} cannot be read ({error.strerror}); repair or remove it") from error
        self._now[str(path)] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Keeps what was learnt; a home that cannot be written only costs time."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(self._now))
            partial.replace(self._path)
        except OSError:
            return
