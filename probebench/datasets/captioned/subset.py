"""Which images a size of a source is: nested subsets, in which images that look alike count once."""

import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probebench.arrays import Positions
from probebench.datasets.base import Split
from probebench.datasets.captioned.captioned import Captioned
from probebench.datasets.digest_cache import read_arrays, write_arrays
from probebench.datasets.duplicates.image_hash import ImageHashes, hash_images
from probebench.datasets.duplicates.near_duplicates import near_duplicates, threshold
from probebench.datasets.opened import Digested
from probebench.datasets.splits import hash_order
from probebench.errors import DatasetError, ProbebenchWarning, UsageError
from probebench.progress import heard

# Sources with more images are searched for equal files only: the work grows with the square.
_LARGEST = 200_000
_NO_ROW: Positions = np.zeros(0, dtype=np.int64)


def distinct(source: Captioned, root: Path) -> Positions:
    """Returns the images of a source that no earlier one looks like, in the order of sha256(fingerprint, id).

    The first N are the subset of size N, so that every subset holds the smaller ones.

    Args:
        source: The source.
        root: The folder that holds data sets; the order is remembered below.

    Raises:
        DatasetError: Images cannot be read.
    """
    remembered = root / "content" / f"{source.fingerprint[:32]}.distinct.npz"
    known = read_arrays(remembered, {"order": "i"})
    if known is not None:
        return known["order"].astype(np.int64)
    order = hash_order(source.ids, source.fingerprint)
    alike = _alike(source)
    kept = np.zeros(len(source), dtype=bool)
    for position in order:
        kept[position] = not any(kept[other] for other in alike.get(position, ()))
    chosen = np.array([position for position in order if kept[position]], dtype=np.int64)
    write_arrays(remembered, {"order": chosen})
    return chosen


def subset(source: Captioned, samples: int, root: Path) -> Captioned:
    """Returns ``samples`` images of a source; a smaller subset lies in every larger one.

    Raises:
        UsageError: There are not so many that differ.
        DatasetError: Images cannot be read.
    """
    order = distinct(source, root)
    if samples > len(order):
        alike = len(source) - len(order)
        more = f", as {alike} of its {len(source):,} look like others" if alike else ""
        raise UsageError(f"source {source.id} has {len(order):,} images{more}; ask for at most so many")
    return source.take(order[:samples])


def _alike(source: Captioned) -> dict[int, set[int]]:
    """Returns, by position, the images that look like another."""
    found: dict[int, set[int]] = defaultdict(set)
    if len(source) > _LARGEST:
        warnings.warn(
            f"source {source.id} has more than {_LARGEST:,} images, so that only equal files count once",
            ProbebenchWarning,
            stacklevel=3,
        )
        digests = np.asarray(source.images.digests) if isinstance(source.images, Digested) else _NO_ROW
        _add_equal(found, digests)
        return found
    progress = heard()
    progress.start("looking for images that are alike", len(source), 0)
    hashed = hash_images([Split(source.ids, np.zeros(len(source), np.int64), source.images)], progress.advance)
    progress.finish()
    if hashed.errors:
        more = f" (and {len(hashed.errors) - 1} more images)" if hashed.errors[1:] else ""
        raise DatasetError(f"source {source.id}: {hashed.errors[0]}{more}")
    _add_equal(found, np.ascontiguousarray(hashed.keys).view("S16").reshape(-1))
    _add_near(found, hashed)
    return found


def _add_equal(found: dict[int, set[int]], digests: npt.NDArray[np.generic]) -> None:
    _, first, place = np.unique(digests, return_index=True, return_inverse=True)
    groups: dict[int, list[int]] = defaultdict(list)
    place = place.reshape(-1)
    for position in np.flatnonzero(np.bincount(place, minlength=len(first))[place] > 1).tolist():
        groups[int(place[position])].append(position)
    for group in groups.values():
        for position in group:
            found[position] |= {*group} - {position}


def _add_near(found: dict[int, set[int]], hashed: ImageHashes) -> None:
    positions = np.flatnonzero(hashed.distinct)
    pairs = near_duplicates(hashed, positions, positions, threshold(hashed), lambda first, second: first < second)
    for first, second, _ in pairs:
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            found[one].add(other)
            found[other].add(one)
