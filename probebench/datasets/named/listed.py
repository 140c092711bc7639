"""Images of sets that have a name: in files, or in one HDF5 file. Their content is read once and then remembered."""

import hashlib
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

from probebench.datasets.base import FileImages, digests_fingerprint
from probebench.errors import DatasetError, one_line
from probebench.fingerprint import file_sha256

# Files that are read in one go.
_TOGETHER = 4096


@dataclass(frozen=True)
class ListedImages(FileImages):
    """Files that a published list names; no image is read to open the set.

    Attributes:
        memo: Where the content is remembered, with what it was known by.
    """

    memo: Path

    @classmethod
    def of(cls, root: Path, names: Sequence[str], memo: Path) -> "ListedImages":
        """Takes the names as text."""
        return cls(root, np.array([os.fsencode(name) for name in names]), np.empty(0, np.bytes_), memo)

    def content(self) -> str:
        """Returns the sha256 over the files' sha256, reading them only when one of them has changed."""
        return _remembered(self.memo, self._files, lambda: digests_fingerprint(_digests(self._files())))

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
        memo: Where the content is remembered.
    """

    file: Path
    array: str
    memo: Path

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
        return _remembered(self.memo, lambda: iter([os.fsencode(self.file)]), lambda: file_sha256(self.file))


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
        raise _unreadable(file, error) from error


def _unreadable(file: bytes, error: OSError) -> DatasetError:
    return DatasetError(f"image {os.fsdecode(file)} cannot be read ({error.strerror}); repair or remove it")


def _stamp(files: Iterator[bytes]) -> str:
    """Returns the sha256 over names, sizes, times and inodes; ctime cannot be set back, as cp -p sets mtime back."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116
        except OSError as error:
            raise _unreadable(file, error) from error
        facts = (file, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(repr(facts).encode())
    return digest.hexdigest()


def _remembered(memo: Path, files: Callable[[], Iterator[bytes]], compute: Callable[[], str]) -> str:
    """Returns the content of files, from the memo where it still holds."""
    stamp = _stamp(files())
    try:
        known = json.loads(memo.read_text())
        if known["stamp"] == stamp:
            return str(known["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    content = compute()
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        partial = memo.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"stamp": stamp, "content": content}))
        partial.replace(memo)
    except OSError:
        # A home that cannot be written only costs time.
        return content
    return content
