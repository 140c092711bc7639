"""Label noise: labels or captions of a share of images, permuted among these."""

import numpy as np

from probebench.arrays import Positions
from probebench.errors import UsageError


def permuted(images: int, share: float, seed: int) -> Positions:
    """Returns, for each image, the one whose label or caption it has.

    The images of a smaller share are among those of a larger one. They stand in a ring, in random order, and each has
    what belongs to the next: none keeps its own, though two labels may be the same.

    Args:
        images: How many there are.
        share: Of them, in [0, 1], rounded to whole images.
        seed: Of the order.

    Raises:
        UsageError: The share is of one image, which has nothing to change with.
    """
    whose = np.arange(images)
    count = round(share * images)
    if count == 1:
        raise UsageError(f"label noise {share:g} of {images} images is one image, which has none to change with")
    chosen = np.random.default_rng(seed).permutation(images)[:count]
    whose[chosen] = np.roll(chosen, 1)
    return whose
