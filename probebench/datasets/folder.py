"""Opens a folder of class folders, with train, val and test subfolders where they exist."""

import json
from pathlib import Path

import numpy as np

from probebench.datasets.base import SPLITS, Dataset, FileImages, Labels, Split, check_dataset
from probebench.datasets.splits import Positions, cut_test_part
from probebench.errors import DatasetError, UsageError
from probebench.fingerprint import file_sha256, fingerprint

FOLDER = "folder:"
_VALIDATION_NAMES = ("val", "valid", "validation")


def open_folder(path: Path, root: Path) -> Dataset:
    """Opens class folders, under train/val/test where they exist, else cut by the committed rule.

    With train and val but no test, val is the test part: ImageNet's layout, where val is what everybody reports.
    """
    if not path.is_dir():
        raise UsageError(f"data set folder {path} does not exist")
    parts = {part: path / part for part in ("train", "test") if (path / part).is_dir()}
    validation = next((path / name for name in _VALIDATION_NAMES if (path / name).is_dir()), None)
    if "train" in parts and validation is not None:
        parts["val" if "test" in parts else "test"] = validation
    if "train" in parts and "test" not in parts:
        raise DatasetError(f"data set folder {path} has train but neither test nor val beside it")
    if parts and "train" not in parts:
        raise DatasetError(f"data set folder {path} has {', '.join(parts)} but no train beside it")
    roots = parts or {"all": path}
    classes = sorted({child.name for part in roots.values() for child in part.iterdir() if _is_class(child)})
    if not classes:
        raise DatasetError(f"data set folder {path} holds no class folders")
    memo = _ContentMemo(root / "content" / f"{fingerprint(str(path.resolve()))[:16]}.json")
    splits = {part: _read_classes(path, folder, classes, memo) for part, folder in roots.items()}
    memo.save()
    if not parts:
        whole = splits["all"]
        train, test = cut_test_part(whole.ids, whole.labels)
        splits = {"train": _take(whole, train), "test": _take(whole, test)}
    ordered = {part: splits[part] for part in SPLITS if part in splits}
    dataset = check_dataset(Dataset(f"{FOLDER}{path}", tuple(classes), ordered))
    name = "".join(character if character.isalnum() or character in "_-" else "_" for character in path.resolve().name)
    return Dataset(f"{FOLDER}{name}-{dataset.fingerprint[:8]}", dataset.class_names, dataset.splits)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_classes(top: Path, folder: Path, classes: list[str], memo: "_ContentMemo") -> Split:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    numbers = {name: number for number, name in enumerate(classes)}
    found = make_dataset(str(folder), numbers, extensions=IMG_EXTENSIONS, allow_empty=True)
    paths = [Path(path) for path, _ in found]
    labels: Labels = np.array([label for _, label in found], dtype=np.int64)
    ids = tuple(path.relative_to(top).as_posix() for path in paths)
    return Split(ids, labels, FileImages(paths, [memo.digest(path) for path in paths]))


def _take(split: Split, positions: Positions) -> Split:
    assert isinstance(split.images, FileImages)
    images = FileImages(
        [split.images.paths[position] for position in positions],
        [split.images.digests[position] for position in positions],
    )
    return Split(tuple(split.ids[position] for position in positions), split.labels[positions], images)


class _ContentMemo:
    """Remembers files' sha256 by path, size and modification time, so that a second look reads no image again."""

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
            stamp = [status.st_size, status.st_mtime_ns]
            known = self._before.get(str(path))
            digest = str(known[2]) if known and known[:2] == stamp else file_sha256(path)
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
