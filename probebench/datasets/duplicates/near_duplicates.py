"""Pairs of images that look alike: found by their hashes, confirmed by their thumbnails.

Measured with 484 different photos: of copies re-encoded at JPEG quality 30 to 75, resized, or brighter by 5%, all are
found; of those cropped by 3 pixels on each side 98%, by 2.5% of it 84%, by 5% of it 18%; of different photos no pair.
Of Fashion-MNIST's 10,000 test images, 24 look like a training image; of the digits, none.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from probebench.arrays import Positions
from probebench.datasets.duplicates.image_hash import SIDE, Floats, ImageHashes

# Bits of 64 in which hashes of near duplicates may differ.
_BITS = 10
# Root mean square differences of standardised thumbnails: what near duplicates have at most, and what is always one.
_LOOSE, _STRICT = 0.3, 0.05
# Near duplicates are nearer than this share of what lies between an image and its tenth-nearest, in the 5% of the
# images that have the nearest neighbours: where all images resemble one another, resemblance says little.
_SHARE, _NEIGHBOUR, _DENSEST, _SAMPLE = 0.4, 10, 5, 256
# A pair that is this many times too far apart is too far for a shift or a stretch to mend.
_MENDED = 3.0
# Hashes that are compared at once, so that they stay in the processor's cache.
_ROWS, _COLUMNS = 16, 1 << 16
# Pairs of an image that are looked at, where more have hashes like its own.
_CANDIDATES = 100
# Pairs and thumbnails that are looked at in one go.
_PAIRS, _BLOCK = 512, 8192

Mask = npt.NDArray[np.bool_]


def threshold(hashed: ImageHashes) -> float:
    """Returns the largest difference of thumbnails at which images of this kind are near duplicates."""
    positions = np.flatnonzero(hashed.distinct)
    if len(positions) <= 2 * _NEIGHBOUR:
        return _LOOSE
    some = np.random.default_rng(0).choice(positions, min(_SAMPLE, len(positions)), replace=False)
    asked = hashed.standard(some).reshape(len(some), -1)
    nearest = np.full((len(some), _NEIGHBOUR + 1), np.inf, np.float32)
    for start in range(0, len(positions), _BLOCK):
        block = hashed.standard(positions[start : start + _BLOCK]).reshape(-1, SIDE * SIDE)
        # |a - b|^2 of vectors of one length.
        squares = 2 - 2 * (asked @ block.T) / SIDE**2
        nearest = np.partition(np.hstack([nearest, squares]), _NEIGHBOUR, axis=1)[:, : _NEIGHBOUR + 1]
    # The nearest of all is the image itself.
    tenth = np.sqrt(np.maximum(nearest.max(axis=1), 0))
    return float(np.clip(_SHARE * np.percentile(tenth, _DENSEST), _STRICT, _LOOSE))


def near_duplicates(
    hashed: ImageHashes,
    rows: Positions,
    columns: Positions,
    limit: float,
    wanted: Callable[[Positions, Positions], Mask],
) -> Iterator[tuple[Positions, Positions, Floats]]:
    """Compares every image of ``rows`` with every one of ``columns``.

    Args:
        hashed: All images.
        rows: Positions of some.
        columns: Positions of others.
        limit: The threshold.
        wanted: Says which pairs of positions are of interest.

    Yields:
        Some pairs that look alike, by the positions of both, and how far apart they are.
    """
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        found = [_close(hashed, some, columns[place : place + _COLUMNS]) for place in range(0, len(columns), _COLUMNS)]
        first, second, bits = (np.concatenate(each) for each in zip(*found, strict=True))
        asked = np.flatnonzero(wanted(first, second))
        asked = asked[_nearest(first[asked], bits[asked])]
        for place in range(0, len(asked), _PAIRS):
            some_pairs = asked[place : place + _PAIRS]
            yield _confirmed(hashed, first[some_pairs], second[some_pairs], limit)


def _close(
    hashed: ImageHashes, rows: Positions, columns: Positions
) -> tuple[Positions, Positions, npt.NDArray[np.uint8]]:
    apart = np.bitwise_count(hashed.hashes[rows, None] ^ hashed.hashes[None, columns]).reshape(-1)
    places = np.flatnonzero(apart <= _BITS)
    return rows[places // len(columns)], columns[places % len(columns)], apart[places]


def _nearest(first: Positions, bits: npt.NDArray[np.uint8]) -> Positions:
    """Returns which pairs to look at: of each image's, those whose hashes are nearest."""
    order = np.lexsort((bits, first))
    begins = np.searchsorted(first[order], first[order])
    return order[np.arange(len(order)) - begins < _CANDIDATES]


def _confirmed(
    hashed: ImageHashes, first: Positions, second: Positions, limit: float
) -> tuple[Positions, Positions, Floats]:
    one, other = hashed.standard(first), hashed.standard(second)
    apart = np.sqrt(((one - other) ** 2).mean(axis=(1, 2)))
    if len(near := np.flatnonzero(apart <= _MENDED * limit)):
        apart[near] = np.minimum(apart[near], _aligned(one[near], other[near]))
    sure = apart <= limit
    return first[sure], second[sure], apart[sure]


def _aligned(one: Floats, other: Floats) -> Floats:
    """Returns how far apart thumbnails are after the small shift, stretch and change of contrast that mend most.

    One step of Lucas and Kanade (1981): a small move changes an image by its gradient, so that the best move is the
    solution of a linear least-squares problem in six numbers.
    """
    middle = (one + other) / 2
    down, across = np.gradient(middle, axis=(1, 2))
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    moves = np.stack([across, down, across * x, down * y, middle, np.ones_like(middle)], axis=-1)
    # At the border, what a move would bring in is not known.
    moves = moves[:, 1:-1, 1:-1].reshape(len(one), -1, 6)
    rest = (other - one)[:, 1:-1, 1:-1].reshape(len(one), -1, 1)
    turned = moves.transpose(0, 2, 1)
    # The identity keeps images without any gradient soluble.
    best = np.linalg.solve(turned @ moves + np.eye(6, dtype=np.float32), turned @ rest)
    apart: Floats = np.sqrt(((rest - moves @ best) ** 2).mean(axis=(1, 2)))
    return apart
