"""Opens a folder of images with a table of captions: a user's own, or one that was drawn."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from probebench.datasets.base import FileImages, decode, unreadable
from probebench.datasets.captioned.captioned import Captioned, check_captioned, number_labels
from probebench.datasets.captioned.table import Row, read_table
from probebench.datasets.digest_cache import DigestCache
from probebench.errors import UsageError
from probebench.files import stamp
from probebench.fingerprint import file_sha256


def table_images(folder: Path, rows: Sequence[Row], root: Path, read: Callable[[Path], str]) -> FileImages:
    """Returns the images that rows of a table name.

    Args:
        folder: Where the table lies.
        rows: Some of its rows.
        root: The folder that holds data sets; digests are remembered below.
        read: Returns the digest of a file.

    Raises:
        DatasetError: A file cannot be read.
    """
    names = np.array([os.fsencode(row.file) for row in rows])

    def stamps(name: bytes) -> tuple[int, int, int, int]:
        path = folder / os.fsdecode(name)
        try:
            return stamp(path.stat())
        except OSError as error:
            raise unreadable(path, error) from error

    def digest(name: bytes) -> str:
        path = folder / os.fsdecode(name)
        try:
            return read(path)
        except OSError as error:
            raise unreadable(path, error) from error

    cache = DigestCache(root / "content", folder)
    found = np.array([[part % 2**64 for part in stamps(name)] for name in names.tolist()], dtype=np.uint64)
    digests = cache.digests(names, found, digest)
    cache.save()
    return FileImages(folder, names, digests)


def pixels_of(path: Path) -> str:
    """Returns the sha256 of an image's size and RGB pixels: libraries compress the same pixels differently."""
    image = decode(path, str(path)).convert("RGB")
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def open_captions(folder: Path, root: Path, name: str, read: Callable[[Path], str] = file_sha256) -> Captioned:
    """Opens a folder with a table of captions.

    Args:
        folder: The folder.
        root: The folder that holds data sets; digests are remembered below.
        name: The id of the source.
        read: Returns the digest of a file.

    Raises:
        UsageError: There is no such folder.
        DatasetError: The table is wrong, or an image cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"source folder {folder} does not exist")
    rows = read_table(folder)
    labels = [row.label for row in rows if row.label is not None]
    class_names, numbers = number_labels(labels)
    return check_captioned(
        Captioned(
            id=name,
            ids=tuple(row.file for row in rows),
            captions=tuple(row.caption for row in rows),
            labels=numbers if labels else None,
            class_names=class_names if labels else (),
            images=table_images(folder, rows, root, read),
            concepts=tuple(row.concepts for row in rows) if any(row.concepts for row in rows) else (),
        )
    )
