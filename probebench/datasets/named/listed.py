"""Images of sets that have a name: in files, or in one HDF5 file. Their content is read once and then remembered."""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from probebench.datasets.base import FileImages, digests_fingerprint, unreadable
from probebench.datasets.digest_cache import files_stamp
from probebench.errors import DatasetError, one_line
from probebench.files import write_whole
from probebench.fingerprint import file_sha256

# Files that are read in one go.
_TOGETHER = 4096


@dataclass(frozen=True)
class ListedImages(FileImages):
    """Files that a published list names; no image is read to open the set.

    Attributes:
        digest_cache: The file that remembers the content, with what it was known by.
    """

    digest_cache: Path

    @classmethod
    def of(cls, root: Path, names: Sequence[str], digest_cache: Path) -> "ListedImages":
        """Takes the names as text."""
        return cls(root, np.array([os.fsencode(name) for name in names]), np.empty(0, np.bytes_), digest_cache)

    def content(self) -> str:
        """Returns the sha256 over the files' sha256, reading them only when one of them has changed."""
        return _remembered(self.digest_cache, self._files, lambda: digests_fingerprint(_digests(self._files())))

    def _files(self) -> Iterator[bytes]:
        # Bytes, because Python keeps the text of every Path in a table of its own.
        before = os.fsencode(self.root) + b"/"
        return (before + name for name in self.names)


@dataclass(frozen=True)
class HDF5Images:
    """Images that lie in one array (N, H, W, 3), uint8, of an HDF5 file.

    Attributes:
        file: The file.
        array: The array's name in it.
        digest_cache: The file that remembers the content.
    """

    file: Path
    array: str
    digest_cache: Path

    def load(self, position: int) -> Image.Image:
        """Reads one image; the file is opened each time, because decoding processes cannot share an open one."""
        import h5py

        try:
            with h5py.File(self.file) as opened:
                return Image.fromarray(opened[self.array][position])
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(
                f"image {position} of {self.file} cannot be read ({one_line(error, 80)}); fetch the file again"
            ) from error

    def check(self, position: int) -> None:
        """Finds nothing wrong: the array's size was compared at opening, and its blocks are read with the images."""

    def content(self) -> str:
        """Returns the sha256 of the file, reading it only when it has changed."""
        return _remembered(self.digest_cache, lambda: iter([os.fsencode(self.file)]), lambda: file_sha256(self.file))


def _digests(files: Iterator[bytes]) -> npt.NDArray[np.bytes_]:
    digests: list[bytes] = []
    with ThreadPoolExecutor() as pool:
        while some := list(itertools.islice(files, _TOGETHER)):
            digests += pool.map(_digest, some)
    return np.array(digests, dtype=np.bytes_)


def _digest(file: bytes) -> bytes:
    try:
        return file_sha256(Path(os.fsdecode(file))).encode()
    except OSError as error:
        raise unreadable(file, error) from error


def _remembered(digest_cache: Path, files: Callable[[], Iterator[bytes]], compute: Callable[[], str]) -> str:
    """Returns the content of files, from the digest cache where it still holds."""
    stamp = files_stamp(files())
    try:
        known = json.loads(digest_cache.read_text())
        if known["stamp"] == stamp:
            return str(known["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    content = compute()
    # A home that cannot be written only costs time.
    with contextlib.suppress(OSError):
        write_whole(digest_cache, json.dumps({"stamp": stamp, "content": content}))
    return content
