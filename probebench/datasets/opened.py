"""What is remembered of a user's own data sets: where each was found under its id, and what it was found to share."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from probebench.datasets.base import Dataset
from probebench.files import write_whole
from probebench.fingerprint import fingerprint

_NOTHING = hashlib.sha256().hexdigest()


class Opened(BaseModel):
    """One data set.

    Attributes:
        id: Its id.
        source: What opens it (``folder:PATH``); None of images in memory.
        shared_with_train: Images of its test split that are in its train split too, byte for byte.
    """

    id: str
    source: str | None
    shared_with_train: int


@runtime_checkable
class Digested(Protocol):
    """Images of which each has a digest."""

    @property
    def digests(self) -> "npt.NDArray[np.bytes_] | Sequence[str]":
        """A digest of each image."""


def shared_images(dataset: Dataset) -> tuple[int, str]:
    """Returns how many test images are in train too, byte for byte, and names the first pair.

    Returns:
        The count, and "test ID = train ID", or "" where there is none.
    """
    if "train" not in dataset.splits:
        return 0, ""
    train, test = dataset.splits["train"], dataset.splits["test"]
    if not isinstance(train.images, Digested) or not isinstance(test.images, Digested):
        return 0, ""
    known, asked = np.asarray(train.images.digests), np.asarray(test.images.digests)
    # A sample without an image has the digest of no bytes, and shares nothing.
    shared = np.flatnonzero(np.isin(asked, np.setdiff1d(known, np.array([_NOTHING], dtype=known.dtype))))
    if not len(shared):
        return 0, ""
    twin = int(np.flatnonzero(known == asked[shared[0]])[0])
    return len(shared), f"test {test.ids[shared[0]]} = train {train.ids[twin]}"


def remember(opened: Opened, root: Path) -> None:
    """Keeps what is known of a data set; a home that cannot be written only costs the memory."""
    path = _path(opened.id, root)
    if recall(opened.id, root) == opened:
        return
    try:
        write_whole(path, json.dumps(opened.model_dump(), ensure_ascii=False))
    except OSError:
        return


def recall(dataset: str, root: Path) -> Opened | None:
    """Returns what is known of the data set of an id; None where nothing is."""
    try:
        return Opened.model_validate_json(_path(dataset, root).read_bytes())
    except (OSError, ValidationError):
        return None


def _path(dataset: str, root: Path) -> Path:
    return root / "opened" / f"{fingerprint(dataset)[:32]}.json"
