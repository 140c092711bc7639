"""Arrays by what they hold."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Class indices, (N,).
Labels = npt.NDArray[np.int64]
# Places of images or rows in what they are taken from, (N,).
Positions = npt.NDArray[np.int64]
# Features as they are stored, (N, D) float16 or float32.
Features = npt.NDArray[np.floating[Any]]
