"""Shards of a webdataset: local ones are read in place, others are streamed through a bounded cache on the disk."""

import contextlib
import gzip
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

from filelock import FileLock, Timeout

from probebench.errors import DatasetError, OutOfReachError, describe_os_error, one_line
from probebench.network import reachable

# Bytes that the shards in the cache may take together; one that is larger stays alone.
LIMIT = 8 << 30
# Streamed shards that a process holds open: they stay readable for it when others push them out of the cache.
_HELD = 4
# Seconds after which a half-written shard is what a killed process left behind.
_ABANDONED = 3600
_BLOCK = 1 << 20
_NETWORK = "the network cannot be reached"
# How curl and gsutil say that there is no such file.
_MISSING = (22, 1)
# What curl's exit codes mean to the user.
_CURL = {
    5: _NETWORK,
    6: _NETWORK,
    7: "its server does not answer",
    18: "the transfer was cut off",
    22: "its server has no such file, or refuses it",
    28: "its server does not answer in time",
    60: "its server's certificate cannot be checked",
}


class MissingError(DatasetError):
    """There is no such file where a shard, or what lies beside it, should be."""


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        url: Where it is: a path, or whatever webdataset's gopen opens.
        digest: The sha256 of its (unpacked) bytes where it is streamed; empty where it is read in place.
    """

    url: str
    digest: str = ""


def read_in_place(url: str) -> bool:
    """Says whether a shard is a plain tar file on this machine."""
    return is_local(url) and not _packed(url)


def is_local(url: str) -> bool:
    """Says whether a shard is a file on this machine."""
    return urlparse(url).scheme in ("", "file")


def local_path(url: str) -> Path:
    """Returns the path of a file on this machine."""
    return Path(urlparse(url).path if url.startswith("file:") else url)


def _packed(url: str) -> bool:
    return urlparse(url).path.endswith((".gz", ".tgz"))


class _Open:
    """An open file that threads share; it is closed when nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file, size, offset)

    def __del__(self) -> None:
        # There is nothing to close where opening failed.
        with contextlib.suppress(AttributeError):
            os.close(self._file)


@dataclass(frozen=True)
class ShardStore:
    """Reads shards.

    Attributes:
        folder: Where streamed shards are kept, the newest of them, under the sha256 of their bytes.
        limit: Bytes that they may take together.
    """

    folder: Path
    limit: int = LIMIT

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """Returns bytes of a shard.

        Raises:
            DatasetError: The shard is gone, out of reach, shorter or another than it was.
        """
        try:
            opened = _held(self, shard) if shard.digest else _Open(local_path(shard.url))
            content = opened.read(offset, size)
        except OSError as error:
            raise OutOfReachError(f"shard {shard.url} cannot be read: {describe_os_error(error)}") from error
        if len(content) < size:
            raise DatasetError(f"shard {shard.url} is shorter than it was; run the same command again")
        return content

    @contextlib.contextmanager
    def whole(self, url: str) -> Iterator[tuple[IO[bytes], str]]:
        """Opens a shard to be read from end to end; yields it with the sha256 of a streamed one.

        Raises:
            DatasetError: The shard is missing or out of reach.
        """
        try:
            stream, digest = (local_path(url).open("rb"), "") if read_in_place(url) else self._fetch(url)
        except OSError as error:
            raise OutOfReachError(f"shard {url} cannot be read: {describe_os_error(error)}") from error
        with stream:
            yield stream, digest

    def _place(self, digest: str) -> Path:
        return self.folder / f"{digest}.tar"

    def _lock(self, digest: str) -> FileLock:
        # Few locks for many shards: a lock file cannot be removed while others may wait for it. Whoever fetches a shard
        # may hold the lock of one that has to go: one object for each file lets the same thread take it twice.
        return FileLock(self.folder / f"{digest[:1]}.lock", is_singleton=True)

    def fetched(self, shard: Shard) -> _Open:
        """Opens a streamed shard, fetching it where the cache lacks it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self._place(shard.digest)
        with self._lock(shard.digest):
            if not place.is_file():
                stream, found = self._fetch(shard.url)
                stream.close()
                if found != shard.digest:
                    raise DatasetError(
                        f"shard {shard.url} is not what it was when it was first read; restore it, "
                        f"or remove {self.folder.parent} and run the same command again"
                    )
            place.touch()
            return _Open(place)

    def _fetch(self, url: str) -> tuple[IO[bytes], str]:
        """Streams a shard into the cache; returns it open, and the sha256 of its bytes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        # Not files.replacing: a shard's name is known when it is all there, and it stays open after that.
        number, name = tempfile.mkstemp(suffix=".partial", dir=self.folder)
        partial, kept = Path(name), os.fdopen(number, "w+b")
        try:
            for block in blocks(url):
                digest.update(block)
                kept.write(block)
            kept.flush()
            partial.replace(self._place(digest.hexdigest()))
        except BaseException:
            kept.close()
            partial.unlink(missing_ok=True)
            raise
        self._make_room(digest.hexdigest())
        kept.seek(0)
        return kept, digest.hexdigest()

    def _make_room(self, newest: str) -> None:
        """Removes the shards that were not used for longest, and what killed processes left."""
        total = 0
        for place in sorted(self.folder.glob("*.tar"), key=lambda place: (place.stem != newest, _age(place))):
            with contextlib.suppress(FileNotFoundError, Timeout):
                total += place.stat().st_size
                if total > self.limit and place.stem != newest:
                    with self._lock(place.stem).acquire(timeout=0):
                        place.unlink()
        for place in self.folder.glob("*.partial"):
            if _age(place) > _ABANDONED:
                place.unlink(missing_ok=True)


@lru_cache(maxsize=_HELD)
def _held(store: ShardStore, shard: Shard) -> _Open:
    return store.fetched(shard)


def _age(place: Path) -> float:
    try:
        return time.time() - place.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def blocks(url: str) -> Iterator[bytes]:
    """Yields the bytes of a shard, unpacked, as they come.

    Raises:
        MissingError: There is no such shard.
        OutOfReachError: It is out of reach or was cut off.
    """
    from webdataset.gopen import gopen

    stream: Any = None
    try:
        if urlparse(url).scheme in ("http", "https") and not reachable(url):
            raise ConnectionError(_NETWORK)
        stream = gopen(url)
        source = gzip.GzipFile(fileobj=stream) if _packed(url) else stream
        while block := source.read(_BLOCK):
            yield block
        # Closing is what tells that a transfer was cut off.
        stream.close()
    # Each way of opening has errors of its own.
    except Exception as error:
        kind = MissingError if getattr(stream, "status", None) in _MISSING else OutOfReachError
        raise kind(
            f"shard {url} cannot be read ({_reason(url, error, stream)}); mend that and run the same command again"
        ) from error
    finally:
        if stream is not None:
            with contextlib.suppress(Exception):
                stream.close()


def _reason(url: str, error: Exception, stream: Any) -> str:
    status = getattr(stream, "status", None)
    if status:
        return _CURL.get(status, f"its transfer ended with exit code {status}")
    if isinstance(error, OSError) and error.strerror:
        # The program that opens addresses of that kind is what was not found.
        return error.strerror if is_local(url) else f"{error.filename}: {error.strerror}"
    return one_line(error, 120)
