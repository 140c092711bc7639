"""What the store's faults share: rows to be written, children that write them, and what must come of it.

A parent without threads forks light children: no torch, and a kill costs no new start. What a child was told is
committed it notes in memory that the parent shares, so that the parent knows what must still be there.
"""

import functools
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from probebench.cache.lock import lock_path
from probebench.cache.store import FeatureFile, committed_rows, feature_path
from probebench.cache.writer import FeatureWriter, Provenance, discard_leftovers, locked
from tests.cache.test_key import key


class Case:
    """Rows to be written in blocks, with or without images left out, and the bytes that an undisturbed run gives."""

    def __init__(self, place: Path, rows: int, block: int, skipping: bool, width: int = 9) -> None:
        generator = np.random.default_rng(rows)
        self.place, self.block = place, block
        self.rows = generator.normal(size=(rows, width)).astype(np.float32)
        self.ids = [f"image-{number}-ä" for number in range(rows)]
        self.labels = generator.integers(0, 5, rows)
        self.skipped = sorted(generator.choice(rows, max(1, rows // 5), replace=False).tolist()) if skipping else []
        self.name = "images left out" if skipping else "all images"
        self.told = mmap.mmap(-1, 8)
        self.whole = self._undisturbed()

    def path(self, name: str) -> Path:
        """Names a file in a home folder of its own."""
        path = feature_path(self.place / name, "net", "made", key())
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def fill(self, path: Path) -> None:
        """Writes a file from where it is to its end."""
        with locked(path), self.opened(path) as writer:
            while writer.committed < len(self.rows):
                self.append(writer)
                self.told[:] = writer.committed.to_bytes(8, "little")
            writer.finish()

    def opened(self, path: Path) -> FeatureWriter:
        """Opens the writer of a file."""
        provenance = Provenance(key(), "net", "made", ("train",), {"device": "cpu", "batch_size": self.block})
        return FeatureWriter(path, provenance, self.ids, self.labels, self.rows.shape[1])

    def append(self, writer: FeatureWriter) -> None:
        """Writes the next block."""
        start = writer.committed
        block = self.rows[start : start + self.block]
        writer.append(block, [row - start for row in self.skipped if start <= row < start + len(block)])

    def lost(self, path: Path) -> int:
        """Returns how many rows that were told to be committed are counted no more."""
        if path.exists():
            return 0
        return max(0, int.from_bytes(self.told[:], "little") - committed_rows(path))

    def go_on(self, paths: Sequence[Path]) -> list[str]:
        """Resumes files in a process that wrote none of them, and returns what is wrong then with each, or nothing."""
        code = ended(forked(functools.partial(self._go_on, paths)))
        return [self._fault(path) or (f"resuming ended with {code}" if code else "") for path in paths]

    def _go_on(self, paths: Sequence[Path]) -> None:
        # Nothing disturbs this process, and the disk is slow.
        with mock.patch.object(os, "fsync"):
            for path in paths:
                if path.exists():
                    with locked(path):
                        discard_leftovers(path)
                else:
                    self.fill(path)

    def _fault(self, path: Path) -> str:
        if not path.exists():
            return "no file after resuming"
        if beside := {other.name for other in path.parent.iterdir()} - {path.name, lock_path(path).name}:
            return f"{', '.join(sorted(beside))} was left"
        return "" if path.read_bytes() == self.whole else "other bytes after resuming"

    def _undisturbed(self) -> bytes:
        path = self.path("whole")
        self.fill(path)
        kept = np.setdiff1d(np.arange(len(self.rows)), self.skipped)
        with FeatureFile(path) as file:
            assert np.array_equal(file.read(), self.rows[kept]) and np.array_equal(file.labels, self.labels[kept])
            assert file.ids == tuple(self.ids[row] for row in kept)
            assert file.skipped.positions.tolist() == self.skipped
        return path.read_bytes()


def forked(action: Callable[[], object]) -> int:
    """Runs something in a child that ends without the parent's clean-up, and returns its process id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        except OSError as error:
            code = error.errno or 1
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """Waits for a child, and returns its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def verdict(faults: Sequence[str]) -> str:
    """Says how a part went."""
    return f"{len(faults)} faults" if faults else "no fault"
