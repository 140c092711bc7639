"""Remembers what files hold, so that a second look reads no image again."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.datasets.base import unreadable
from probebench.files import replacing, stamp
from probebench.progress import heard

# One row a file: arrays, because a million of Python's own objects would take a gigabyte.
Names = npt.NDArray[np.bytes_]
Numbers = npt.NDArray[np.uint64]
Arrays = dict[str, npt.NDArray[Any]]


def read_arrays(path: Path, kinds: Mapping[str, str]) -> Arrays | None:
    """Returns the arrays of a digest cache; None where there is none, or one that is damaged or of another make.

    Args:
        path: The .npz file.
        kinds: The kind of each array (NumPy's letter), by name; all are of one length, but for ``stamp``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in kinds}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = len({len(array) if array.ndim else -1 for name, array in arrays.items() if name != "stamp"}) == 1
    return arrays if fits and all(arrays[name].dtype.kind == kind for name, kind in kinds.items()) else None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Keeps arrays in a file; a home that cannot be written only costs time."""
    with contextlib.suppress(OSError), replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def files_stamp(files: Iterable[str | bytes]) -> str:
    """Returns the sha256 over names and stamps of image files: another where any of them may have changed.

    Raises:
        DatasetError: One is not there; the line names it.
    """
    digest = hashlib.sha256()
    for file in map(os.fsencode, files):
        try:
            # Path would keep every name in a table of its own.
            status = os.stat(file)  # noqa: PTH116
        except OSError as error:
            raise unreadable(file, error) from error
        digest.update(repr((file, *stamp(status))).encode())
    return digest.hexdigest()


class DigestCache:
    """Remembers files' sha256 by name, inode, size and times."""

    _KINDS = {"names": "S", "stamps": "u", "digests": "S"}

    def __init__(self, folder: Path, top: Path) -> None:
        """Takes the folder that keeps digest caches, and the one that the files' names start from."""
        place = hashlib.sha256(os.fsencode(top.resolve())).hexdigest()[:16]
        self._path = folder / f"{place}.npz"
        self._before = read_arrays(self._path, self._KINDS)
        self._now: list[Arrays] = []

    def digests(self, names: Names, stamps: Numbers, read: Callable[[bytes], str]) -> Names:
        """Returns the sha256 of files' bytes, in hexadecimal.

        Args:
            names: (N,) names of files.
            stamps: (N, 4) inode, size and times of each, which change whenever its content does.
            read: Computes the sha256 of a file that is not known.
        """
        digests: Names = np.zeros(len(names), dtype="S64")
        unknown = np.ones(len(names), dtype=bool)
        if self._before is not None and len(self._before["names"]):
            known = self._before
            order = np.argsort(known["names"])
            places = order[np.searchsorted(known["names"], names, sorter=order).clip(max=len(order) - 1)]
            same = (known["names"][places] == names) & (known["stamps"][places] == stamps).all(axis=1)
            digests[same], unknown = known["digests"][places[same]], ~same
        progress, waiting = heard(), np.flatnonzero(unknown)
        progress.start("reading files", len(names), len(names) - len(waiting))
        for position in waiting:
            digests[position] = read(names[position])
            progress.advance(1)
        progress.finish()
        self._now.append({"names": names, "stamps": stamps, "digests": digests})
        return digests

    def save(self) -> None:
        """Keeps what was learnt, in place of what was known before."""
        self._before = None
        write_arrays(self._path, {name: np.concatenate([batch[name] for batch in self._now]) for name in self._KINDS})
