"""Where things live; files that are there whole or not at all, and what tells that one has changed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from probebench.errors import UsageError

# The environment's word for the largest image that is read: processes that decode inherit it. Set by --max-pixels.
MAX_PIXELS = "PROBEBENCH_MAX_PIXELS"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name of a file to write beside ``path``; it takes its place when the block ends without an error.

    Folders on the way are made. A reader sees the file before or the file after, never a part of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Gives the name of a folder to make; it takes the place of ``path`` when the block ends without an error.

    One process at a time makes it, and what killed ones left half made is removed.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        for left in path.parent.glob(f".{path.name}~*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}~", dir=path.parent) as scratch:
            # A folder in it: nobody but its maker may look into the scratch folder itself.
            partial = Path(scratch) / path.name
            yield partial
            if path.exists():
                shutil.rmtree(path)
            partial.replace(path)


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all; text as UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def bytes_text(count: int) -> str:
    """Returns a number of bytes in the largest unit of which there is one, such as "4.1 MB"; never as none of any."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        # What would be 1000.0 of a unit is one of the next.
        if round(count / size, 1) >= 1:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Returns what changes whenever a file's content does: inode, size, mtime and ctime in nanoseconds.

    ctime cannot be set back, as ``cp -p`` and ``rsync -t`` set mtime back.
    """
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def home() -> Path:
    """Returns the folder that holds features/, weights/ and datasets/: $PROBEBENCH_HOME, or the user's cache folder.

    Raises:
        UsageError: $PROBEBENCH_HOME is a file.
    """
    if named := os.environ.get("PROBEBENCH_HOME"):
        path = Path(named).expanduser()
    else:
        import platformdirs

        path = Path(platformdirs.user_cache_dir("probebench"))
    if path.exists() and not path.is_dir():
        raise UsageError(f"PROBEBENCH_HOME {path} is a file; name a folder")
    return path.absolute()


def free_space(folder: Path) -> int:
    """Returns the bytes that are free where a folder is, or is to be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
