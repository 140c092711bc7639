"""Images that occur twice: in two splits, where they spoil an evaluation, or in one split under two labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from probebench.arrays import Positions
from probebench.datasets.base import SPLITS, Dataset
from probebench.datasets.duplicates.image_hash import Floats, ImageHashes, hash_images
from probebench.datasets.duplicates.near_duplicates import Mask, near_duplicates, threshold
from probebench.progress import Progress, Silent

# Pairs that are listed, the nearest first; all are counted.
LISTED = 1000
# Images of a split between two signs of progress.
_ROWS = 1024
# Splits with more images are not searched for near duplicates under two labels: the work grows with the square.
_LARGEST = 200_000


@dataclass(frozen=True)
class ImagePlace:
    """One image: its split, its id and the name of its class."""

    split: str
    id: str
    label: str


@dataclass(frozen=True)
class ImagePair:
    """Two images that are the same, and how far apart they look (0 for equal pixels)."""

    first: ImagePlace
    second: ImagePlace
    distance: float


@dataclass(frozen=True)
class Found:
    """Images that occur twice.

    Attributes:
        between: Images of the split named first that occur in the other, by "test in train".
        within: Images of a split that occur in it under another label too, by split.
        pairs: Some of the pairs, the nearest first; not every pair of an image that occurs often.
    """

    between: Mapping[str, int]
    within: Mapping[str, int]
    pairs: tuple[ImagePair, ...]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What was found in a data set; all of it is plain, so that ``dataclasses.asdict`` gives JSON.

    Attributes:
        images: Images of each split.
        exact: Images with the same decoded pixels.
        near: Images that look alike, those with the same pixels left out: re-encoded, resized, a little brighter or
            cropped.
        threshold: The distance up to which images of this data set were taken to look alike.
        flat: Images that are all but one colour, which were compared for equal pixels only.
        unsearched: Splits too large to be searched for near duplicates under two labels.
        unreadable: A line for each image that could not be decoded.
    """

    images: Mapping[str, int]
    exact: Found
    near: Found
    threshold: float
    flat: int
    unsearched: tuple[str, ...]
    unreadable: tuple[str, ...]


def find_duplicates(dataset: Dataset, progress: Progress | None = None) -> Duplicates:
    """Decodes all images of a data set and returns which of them occur in two splits, or under two labels in one.

    Images that cannot be decoded are listed and left out. What is kept of an image takes some tens of bytes of memory.
    """
    progress = progress or Silent()
    catalogue = _Catalogue(dataset)
    total = len(catalogue.labels)
    progress.start("decoding", total, 0)
    hashed = hash_images([dataset.splits[name] for name in catalogue.names], progress.advance)
    progress.finish()
    exact, near = _Tally(catalogue), _Tally(catalogue)
    for first, second in _equal(hashed, catalogue):
        exact.add(first, second, np.zeros(len(first), np.float32))
    limit = threshold(hashed)
    unsearched = _search(hashed, catalogue, limit, near, progress)
    return Duplicates(
        images={name: len(dataset.splits[name]) for name in catalogue.names},
        exact=exact.found(),
        near=near.found(),
        threshold=round(limit, 4),
        flat=int((hashed.readable & ~hashed.distinct).sum()),
        unsearched=unsearched,
        unreadable=hashed.errors,
    )


class _Catalogue:
    """All images of a data set one after another, by their positions in all splits together."""

    def __init__(self, dataset: Dataset) -> None:
        self.names = [name for name in SPLITS if name in dataset.splits]
        splits = [dataset.splits[name] for name in self.names]
        self.split = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
        self.labels = np.concatenate([split.labels for split in splits])
        self._begins = np.concatenate([[0], np.cumsum([len(split) for split in splits])])
        self._dataset = dataset

    def of(self, number: int) -> Positions:
        """Returns the positions of one split's images."""
        return np.arange(self._begins[number], self._begins[number + 1])

    def place(self, position: int) -> ImagePlace:
        """Returns what there is to say of one image."""
        name = self.names[self.split[position]]
        split, inside = self._dataset.splits[name], position - self._begins[self.split[position]]
        return ImagePlace(name, split.ids[inside], self._dataset.class_names[split.labels[inside]])


class _Tally:
    """Counts images that occur twice, and keeps the nearest pairs."""

    def __init__(self, catalogue: _Catalogue) -> None:
        self._catalogue = catalogue
        numbers = range(len(catalogue.names))
        # The split whose images count comes second.
        pairs = [*combinations(numbers, 2), *((number, number) for number in numbers)]
        self._hit = {pair: np.zeros(len(catalogue.labels), bool) for pair in pairs}
        self._pairs = np.zeros((0, 2), np.int64)
        self._apart: Floats = np.zeros(0, np.float32)

    def add(self, first: Positions, second: Positions, apart: Floats) -> None:
        """Takes pairs of positions, those of an earlier split first."""
        of = self._catalogue.split
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
        names, place = self._catalogue.names, self._catalogue.place
        counts = {pair: int(hit.sum()) for pair, hit in self._hit.items()}
        pairs = zip(self._pairs.tolist(), self._apart.tolist(), strict=True)
        return Found(
            {f"{names[late]} in {names[early]}": counts[early, late] for early, late in counts if early != late},
            {names[early]: counts[early, late] for early, late in counts if early == late},
            tuple(ImagePair(place(first), place(second), round(apart, 4)) for (first, second), apart in pairs),
        )


def _equal(hashed: ImageHashes, catalogue: _Catalogue) -> Iterator[tuple[Positions, Positions]]:
    """Yields pairs of equal images: each with the first in every earlier split, and with the first of another label."""
    positions = np.flatnonzero(hashed.readable)
    order = positions[np.lexsort(hashed.keys[positions].T)]
    new = np.ones(len(order) + 1, bool)
    new[1:-1] = (hashed.keys[order][1:] != hashed.keys[order][:-1]).any(axis=1)
    begins = np.flatnonzero(new)
    for place in np.flatnonzero(np.diff(begins) > 1):
        group = order[begins[place] : begins[place + 1]]
        members = [group[catalogue.split[group] == number] for number in np.unique(catalogue.split[group])]
        for early, late in combinations(members, 2):
            yield np.repeat(early[:1], len(late)), late
        for same in members:
            labels = catalogue.labels[same]
            others = np.flatnonzero(labels != labels[0])
            if len(others):
                partner = np.where(labels == labels[0], same[others[0]], same[0])
                pairs = np.unique(np.sort(np.stack([same, partner], axis=1), axis=1), axis=0)
                yield pairs[:, 0], pairs[:, 1]


def _search(
    hashed: ImageHashes, catalogue: _Catalogue, limit: float, tally: _Tally, progress: Progress
) -> tuple[str, ...]:
    """Finds near duplicates; returns the splits that are too large to be searched within."""
    numbers = range(len(catalogue.names))
    members = [positions[hashed.distinct[positions]] for positions in map(catalogue.of, numbers)]
    small = [number for number in numbers if len(members[number]) <= _LARGEST]

    def between(first: Positions, second: Positions) -> Mask:
        different: Mask = (hashed.keys[first] != hashed.keys[second]).any(axis=1)
        return different

    def within(first: Positions, second: Positions) -> Mask:
        relabelled: Mask = (first < second) & (catalogue.labels[first] != catalogue.labels[second])
        return relabelled & between(first, second)

    pairs = [*combinations(numbers, 2), *((number, number) for number in small)]
    progress.start("comparing", sum(len(members[late]) for _, late in pairs), 0)
    for early, late in pairs:
        wanted = within if early == late else between
        for start in range(0, len(members[late]), _ROWS):
            rows = members[late][start : start + _ROWS]
            for second, first, apart in near_duplicates(hashed, rows, members[early], limit, wanted):
                tally.add(np.minimum(first, second), np.maximum(first, second), apart)
            progress.advance(len(rows))
    progress.finish()
    return tuple(catalogue.names[number] for number in numbers if number not in small)
