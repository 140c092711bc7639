"""Bytes at known places of a file: the one way in which feature files are read and, once laid out, written.

Every call names its own offset, so threads may share a file, and a kill between two calls leaves what the earlier ones
wrote. An error of the operating system names the file.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from probebench.errors import CacheError
from probebench.outside import kind_fault


class RawFile:
    """An open file.

    Attributes:
        path: Where it lies.
    """

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        """Opens the file; ``flags`` are those of ``os.open``.

        Raises:
            CacheError: There is something else in its place.
            OSError: It cannot be opened.
        """
        self.path = path
        # A pipe in its place would otherwise be waited for. Folders are opened to make names durable.
        self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        mode = os.fstat(self._descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            os.close(self._descriptor)
            raise CacheError(f"feature file {path} {kind_fault(path)}; delete it and extract again")

    def length(self) -> int:
        """Returns the length in bytes."""
        return os.fstat(self._descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills a contiguous buffer of bytes from an offset on.

        Raises:
            CacheError: The file ends before.
            OSError: It cannot be read.
        """
        try:
            # Nearly always one call: the loop below is for what the system hands over in parts.
            got = os.preadv(self._descriptor, (buffer,), offset)
            while got < len(buffer):
                more = os.preadv(self._descriptor, (buffer[got:],), offset + got)
                if not more:
                    raise CacheError(f"feature file {self.path} is truncated; delete it and extract again")
                got += more
        except OSError as error:
            raise self._named(error) from error

    def read_into_each(self, buffers: Sequence[memoryview], offset: int) -> None:
        """Fills at most 1024 contiguous buffers of bytes, wherever they lie, with what follows an offset.

        Raises:
            CacheError: The file ends before.
            OSError: It cannot be read.
        """
        try:
            got = os.preadv(self._descriptor, buffers, offset)
        except OSError as error:
            raise self._named(error) from error
        if got < sum(map(len, buffers)):
            for buffer in buffers:
                self.read_into(buffer, offset)
                offset += len(buffer)

    def read(self, offset: int, count: int) -> bytes:
        """Returns ``count`` bytes, or fewer where the file ends before.

        Raises:
            OSError: It cannot be read.
        """
        parts = []
        try:
            while count and (part := os.pread(self._descriptor, count, offset)):
                parts.append(part)
                offset, count = offset + len(part), count - len(part)
        except OSError as error:
            raise self._named(error) from error
        return b"".join(parts)

    def read_array(self, offset: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns an array that lies at an offset in C order.

        Raises:
            CacheError: The file ends before.
            OSError: It cannot be read.
        """
        values = np.empty(shape, dtype)
        self.read_into(bytes_of(values), offset)
        return values

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """Writes bytes from an offset on.

        Raises:
            OSError: The disk is full or cannot be written; some of the bytes may be written.
        """
        rest = memoryview(content)
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
        except OSError as error:
            raise self._named(error) from error

    def extend(self, length: int) -> None:
        """Makes the file ``length`` bytes long; what was not written is a hole, and reads as zeros.

        Raises:
            OSError: The disk is full or cannot be written.
        """
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            raise self._named(error) from error

    def begin_sync(self, offset: int, count: int) -> None:
        """Has the system begin to write a range to the disk, and returns at once; only a hint, and none off Linux."""
        if hasattr(os, "posix_fadvise"):
            # Linux begins to write what is named here, and would drop from memory what is on the disk already.
            os.posix_fadvise(self._descriptor, offset, count, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Returns when all that was written is on the disk.

        Raises:
            OSError: Some of it could not be written.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self.path))

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()


def bytes_of(values: npt.NDArray[Any]) -> memoryview:
    """Returns a flat view of a C-contiguous array's bytes."""
    return memoryview(values.reshape(-1).view(np.uint8).data)


def publish(scratch: Path, path: Path) -> None:
    """Gives a file its name, for good: the folder is on the disk when this returns."""
    scratch.replace(path)
    with RawFile(path.parent) as folder:
        folder.sync()
