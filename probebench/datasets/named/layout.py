"""The folder of a set that has a name: what is missing from it, and the splits of the files in it."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from probebench.arrays import Labels, Positions
from probebench.datasets.base import SPLITS, Split, check_utf8
from probebench.datasets.drawn.package import where_packages_are
from probebench.datasets.named.listed import ListedImages
from probebench.errors import DatasetError, RegistryError, one_line
from probebench.registry.schema import DatasetSpec

SplitsByName = dict[str, Split]


class NotHereError(DatasetError):
    """Nothing of the data set is on this machine.

    Attributes:
        mend: How to get it.
    """

    def __init__(self, name: str, mend: str) -> None:
        """Takes the data set's id and the mend."""
        super().__init__(f"data set {name} is not on this machine: {mend}")
        self.mend = mend


class Layout:
    """The folder that holds one data set, below the folder of all data sets."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        """Takes the entry, and the folder that holds data sets (the home's ``datasets``)."""
        self.spec = spec
        self.place = root / (spec.folder or spec.id)
        self._digest_caches = root / "content"

    def missing(self) -> list[str]:
        """Returns those of the entry's files that are not there."""
        return [name for name in self.spec.files if not self._there(name)]

    def _there(self, name: str) -> bool:
        path = self.place / name
        return path.is_dir() if name.endswith("/") else path.is_file()

    def require(self) -> None:
        """Looks for the files and folders that the entry names.

        Raises:
            NotHereError: None is there.
            DatasetError: Some are there; the line names the first that is not.
        """
        missing = self.missing()
        if missing and len(missing) == len(self.spec.files):
            raise self.not_here()
        if missing:
            raise self.half(f"{self.place / missing[0]} is missing")

    def not_here(self) -> NotHereError:
        """Returns the error for a set of which nothing is there."""
        return NotHereError(self.spec.id, f"run probebench datasets prepare {self.spec.id}; {self.by_hand()}")

    def by_hand(self) -> str:
        """Says how to get the set without ``prepare``."""
        return self.spec.obtain.replace("PLACE", str(self.place))

    def half(self, fault: str) -> DatasetError:
        """Returns the error for a set of which something is missing or wrong."""
        if self.spec.drawn:
            packages = where_packages_are(self.spec.drawn, self.place.parent)
            return DatasetError(
                f"data set {self.spec.id}: {fault}; remove {self.place} and {packages}, which may be half unpacked, "
                f"and run probebench datasets prepare {self.spec.id}"
            )
        # A folder that several entries share holds more than this set.
        remove = "" if self.spec.folder else f"remove {self.place} and "
        again = f"unpack it again, or {remove}run probebench datasets prepare {self.spec.id}"
        return DatasetError(f"data set {self.spec.id}: {fault}; {again}")

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turns what a library says of damaged files into one line."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AssertionError) as error:
            reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else one_line(error, 160)
            raise self.half(f"its files in {self.place} cannot be read ({reason})") from error

    def check_classes(self, found: Sequence[str]) -> None:
        """Compares the class names of the files with the entry's.

        Raises:
            DatasetError: They differ; the line names the first that does.
        """
        known = self.spec.classes
        if tuple(found) == known:
            return
        for number, (here, expected) in enumerate(zip(found, known, strict=False)):
            if here != expected:
                fault = f"class {number} is {here!r} where the entry says {expected!r}"
                break
        else:
            fault = f"its files have {len(found)} classes where the entry says {len(known)}"
        raise self.half(fault + self.doubt("classes"))

    def option(self, name: str) -> str | int:
        """Returns what the entry tells its loader.

        Raises:
            RegistryError: The entry does not say it.
        """
        if name not in self.spec.options:
            raise RegistryError(f"data set {self.spec.id}: its entry lacks options.{name}; the loader needs it")
        return self.spec.options[name]

    def doubt(self, *keys: str) -> str:
        """Returns a remark where the entry itself says that these facts were not checked against the data."""
        doubted = any(name.split(".")[0] in keys for name in self.spec.unverified)
        return " (a fact that the entry marks as unverified)" if doubted else ""

    def split(self, base: Path, names: Sequence[str], labels: Iterable[int], name: str) -> Split:
        """Makes a split of files that a list names.

        Args:
            base: The folder that the names start from.
            names: Published names below it, with "/"; they become the ids.
            labels: Their class indices.
            name: What the list is called, for the error line.

        Raises:
            DatasetError: A file is missing, or a label is not one of a class.
        """
        numbers: Labels = np.fromiter(labels, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.spec.classes):
            raise self.half(f"{name} has labels outside 0 to {len(self.spec.classes) - 1}")
        check_utf8(self.spec.id, names)
        absent = _absent(base, names)
        if absent:
            raise self.half(f"{len(absent)} of the {len(names)} {name} images are missing, first {base / absent[0]}")
        return Split(tuple(names), numbers, ListedImages.of(base, names, self.digest_cache(base, name)))

    def cut(
        self, base: Path, names: Sequence[str], labels: Labels, positions: tuple[Positions, Positions]
    ) -> SplitsByName:
        """Makes a training and a test split of one list, of the positions that a rule chose for each."""
        return {
            name: self.split(base, [names[position] for position in chosen], labels[chosen], name)
            for name, chosen in zip(("train", "test"), positions, strict=True)
        }

    def digest_cache(self, base: Path, split: str) -> Path:
        """Returns the file that remembers the content of a split."""
        key = hashlib.sha256(os.fsencode(f"{base.resolve()}\n{self.spec.id}\n{split}")).hexdigest()[:16]
        return self._digest_caches / f"{key}.json"


def _absent(base: Path, names: Sequence[str]) -> list[str]:
    """Returns the names that no file has; looks into each folder once, which is faster than asking for each file."""
    folders: dict[str, frozenset[str]] = {}
    absent = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in folders:
            try:
                folders[folder] = frozenset(entry.name for entry in os.scandir(base / folder))
            except OSError:
                folders[folder] = frozenset()
        if file not in folders[folder]:
            absent.append(name)
    return absent


def below(base: Path, paths: Iterable[str | Path]) -> list[str]:
    """Returns paths as names below a folder, with "/"; they must lie in it."""
    prefix = len(os.fspath(base)) + 1
    return [os.fspath(path)[prefix:].replace(os.sep, "/") for path in paths]


def check_counts(layout: Layout, splits: Mapping[str, Split]) -> None:
    """Compares images in each split, and of each class where they are known, with the entry.

    Raises:
        DatasetError: They differ.
    """
    spec = layout.spec
    expected = {name: count for name in SPLITS if (count := getattr(spec.splits, name))}
    found = {name: len(split) for name, split in splits.items()}
    if found != expected:
        raise layout.half(f"found {found} images where the entry says {expected}{layout.doubt('splits')}")
    for name, split in splits.items():
        known = getattr(spec.class_counts, name)
        if known == "unknown":
            continue
        counts = np.bincount(split.labels, minlength=len(spec.classes))
        wrong = np.flatnonzero(counts != np.asarray(known))
        if len(wrong):
            first = int(wrong[0])
            say = known if isinstance(known, int) else known[first]
            raise layout.half(
                f"{name} has {counts[first]} images of {spec.classes[first]!r} where the entry says {say}"
                f"{layout.doubt('class_counts')}"
            )
