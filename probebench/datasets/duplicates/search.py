"""Images that occur twice: in two parts, where they spoil an evaluation, or in one part under two labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from probebench.datasets.base import SPLITS, Dataset
from probebench.datasets.duplicates.image_hash import Floats, Integers, Looks, look_at
from probebench.datasets.duplicates.near_duplicates import Mask, lookalikes, threshold

# Pairs that are listed, the nearest first; all are counted.
LISTED = 1000
# Images of a part between two signs of progress.
_ROWS = 1024
# Parts with more images are not searched for look-alikes under two labels: the work grows with the square.
_LARGEST = 200_000


class Progress(Protocol):
    """Hears how far the search is."""

    def start(self, what: str, total: int, done: int) -> None:
        """A stage begins, ``done`` of its ``total`` images being done already."""

    def advance(self, count: int) -> None:
        """``count`` more images are done."""

    def finish(self) -> None:
        """The stage is complete."""


@dataclass(frozen=True)
class Place:
    """One image: its part, its id and the name of its class."""

    part: str
    id: str
    label: str


@dataclass(frozen=True)
class Pair:
    """Two images that are the same, and how far apart they look (0 for equal pixels)."""

    first: Place
    second: Place
    distance: float


@dataclass(frozen=True)
class Found:
    """Images that occur twice.

    Attributes:
        between: Images of the part named first that occur in the other, by "test in train".
        within: Images of a part that occur in it under another label too, by part.
        pairs: Some of the pairs, the nearest first; not every pair of an image that occurs often.
    """

    between: Mapping[str, int]
    within: Mapping[str, int]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Duplicates:
    """What was found in a data set; all of it is plain, so that ``dataclasses.asdict`` gives JSON.

    Attributes:
        images: Images of each part.
        exact: Images with the same decoded pixels.
        near: Images that look alike, those with the same pixels left out: re-encoded, resized, a little brighter or
            cropped.
        threshold: The distance up to which images of this data set were taken to look alike.
        flat: Images that are all but one colour, which were not compared for looks.
        unsearched: Parts too large to be searched for look-alikes under two labels.
        unreadable: A line for each image that could not be decoded.
    """

    images: Mapping[str, int]
    exact: Found
    near: Found
    threshold: float
    flat: int
    unsearched: tuple[str, ...]
    unreadable: tuple[str, ...]


class _Silent:
    """Progress that nobody watches."""

    def start(self, what: str, total: int, done: int) -> None:
        """Says nothing."""

    def advance(self, count: int) -> None:
        """Says nothing."""

    def finish(self) -> None:
        """Says nothing."""


def find_duplicates(dataset: Dataset, progress: Progress | None = None) -> Duplicates:
    """Decodes all images of a data set and returns which of them occur in two parts, or under two labels in one.

    Images that cannot be decoded are listed and left out. What is kept of an image takes some tens of bytes of memory.
    """
    progress = progress or _Silent()
    catalogue = _Catalogue(dataset)
    total = len(catalogue.labels)
    progress.start("decoding", total, 0)
    splits = [dataset.splits[part] for part in catalogue.parts]
    looks = look_at([(split.images, len(split)) for split in splits], progress.advance)
    progress.finish()
    exact, near = _Tally(catalogue), _Tally(catalogue)
    for first, second in _equal(looks, catalogue):
        exact.add(first, second, np.zeros(len(first), np.float32))
    limit = threshold(looks)
    unsearched = _search(looks, catalogue, limit, near, progress)
    return Duplicates(
        images={part: len(dataset.splits[part]) for part in catalogue.parts},
        exact=exact.found(),
        near=near.found(),
        threshold=round(limit, 4),
        flat=int((looks.readable & ~looks.distinct).sum()),
        unsearched=unsearched,
        unreadable=looks.errors,
    )


class _Catalogue:
    """All images of a data set one after another, by their positions in all parts together."""

    def __init__(self, dataset: Dataset) -> None:
        self.parts = [part for part in SPLITS if part in dataset.splits]
        splits = [dataset.splits[part] for part in self.parts]
        self.part = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
        self.labels = np.concatenate([split.labels for split in splits])
        self._begins = np.concatenate([[0], np.cumsum([len(split) for split in splits])])
        self._dataset = dataset

    def of(self, part: int) -> Integers:
        """Returns the positions of one part's images."""
        return np.arange(self._begins[part], self._begins[part + 1])

    def place(self, position: int) -> Place:
        """Returns what there is to say of one image."""
        part = self.parts[self.part[position]]
        split, inside = self._dataset.splits[part], position - self._begins[self.part[position]]
        return Place(part, split.ids[inside], self._dataset.class_names[split.labels[inside]])


class _Tally:
    """Counts images that occur twice, and keeps the nearest pairs."""

    def __init__(self, catalogue: _Catalogue) -> None:
        self._catalogue = catalogue
        numbers = range(len(catalogue.parts))
        # The part whose images count comes second.
        pairs = [*combinations(numbers, 2), *((part, part) for part in numbers)]
        self._hit = {pair: np.zeros(len(catalogue.labels), bool) for pair in pairs}
        self._pairs = np.zeros((0, 2), np.int64)
        self._apart: Floats = np.zeros(0, np.float32)

    def add(self, first: Integers, second: Integers, apart: Floats) -> None:
        """Takes pairs of positions, those of an earlier part first."""
        of = self._catalogue.part
        for (early, late), hit in self._hit.items():
            chosen = (of[first] == early) & (of[second] == late)
            hit[second[chosen]] = True
            if early == late:
                hit[first[chosen]] = True
        self._pairs = np.concatenate([self._pairs, np.stack([first, second], axis=1)])
        self._apart = np.concatenate([self._apart, apart])
        if len(self._apart) > 8 * LISTED:
            self._keep_nearest()

    def _keep_nearest(self) -> None:
        order = np.argsort(self._apart, kind="stable")[:LISTED]
        self._pairs, self._apart = self._pairs[order], self._apart[order]

    def found(self) -> Found:
        """Returns what was found."""
        self._keep_nearest()
        names, place = self._catalogue.parts, self._catalogue.place
        counts = {pair: int(hit.sum()) for pair, hit in self._hit.items()}
        pairs = zip(self._pairs.tolist(), self._apart.tolist(), strict=True)
        return Found(
            {f"{names[late]} in {names[early]}": counts[early, late] for early, late in counts if early != late},
            {names[early]: counts[early, late] for early, late in counts if early == late},
            tuple(Pair(place(first), place(second), round(apart, 4)) for (first, second), apart in pairs),
        )


def _equal(looks: Looks, catalogue: _Catalogue) -> Iterator[tuple[Integers, Integers]]:
    """Yields pairs of equal images: each with the first in every earlier part, and with the first of another label."""
    positions = np.flatnonzero(looks.readable)
    order = positions[np.lexsort(looks.keys[positions].T)]
    new = np.ones(len(order) + 1, bool)
    new[1:-1] = (looks.keys[order][1:] != looks.keys[order][:-1]).any(axis=1)
    begins = np.flatnonzero(new)
    for number in np.flatnonzero(np.diff(begins) > 1):
        group = order[begins[number] : begins[number + 1]]
        members = [group[catalogue.part[group] == part] for part in np.unique(catalogue.part[group])]
        for early, late in combinations(members, 2):
            yield np.repeat(early[:1], len(late)), late
        for same in members:
            labels = catalogue.labels[same]
            others = np.flatnonzero(labels != labels[0])
            if len(others):
                partner = np.where(labels == labels[0], same[others[0]], same[0])
                pairs = np.unique(np.sort(np.stack([same, partner], axis=1), axis=1), axis=0)
                yield pairs[:, 0], pairs[:, 1]


def _search(looks: Looks, catalogue: _Catalogue, limit: float, tally: _Tally, progress: Progress) -> tuple[str, ...]:
    """Finds look-alikes; returns the parts that are too large to be searched within."""
    numbers = range(len(catalogue.parts))
    members = [positions[looks.distinct[positions]] for positions in map(catalogue.of, numbers)]
    small = [part for part in numbers if len(members[part]) <= _LARGEST]

    def between(first: Integers, second: Integers) -> Mask:
        different: Mask = (looks.keys[first] != looks.keys[second]).any(axis=1)
        return different

    def within(first: Integers, second: Integers) -> Mask:
        relabelled: Mask = (first < second) & (catalogue.labels[first] != catalogue.labels[second])
        return relabelled & between(first, second)

    pairs = [*combinations(numbers, 2), *((part, part) for part in small)]
    progress.start("comparing", sum(len(members[late]) for _, late in pairs), 0)
    for early, late in pairs:
        wanted = within if early == late else between
        for start in range(0, len(members[late]), _ROWS):
            rows = members[late][start : start + _ROWS]
            for second, first, apart in lookalikes(looks, rows, members[early], limit, wanted):
                tally.add(np.minimum(first, second), np.maximum(first, second), apart)
            progress.advance(len(rows))
    progress.finish()
    return tuple(catalogue.parts[part] for part in numbers if part not in small)
