"""Features for the benchmarks: correlated like a network's, with classes that overlap.

Coordinate k of D has standard deviation (1 + k)^-0.6 within a class and half of that between class centres; a random
rotation mixes the coordinates, and a non-negative mean as long as a typical row is added, as after a ReLU. "unscaled"
rows have a root mean squared centred norm of 30, as ResNet-50's pooled features do; "default" ones are divided by it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DECAY = 0.6
SEPARATION = 0.5
NORM = 30.0

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Made:
    """Training and test rows with their labels."""

    train: Rows
    labels: Labels
    test: Rows
    test_labels: Labels


def make(classes: int, each: int, width: int, kind: str, seed: int = 0, test_each: int = 20) -> Made:
    """Makes ``each`` training rows a class, and ``test_each`` for testing.

    Args:
        classes: K.
        each: Training rows a class.
        width: D.
        kind: "unscaled" or "default".
        seed: Of all that is random.
        test_each: Test rows a class.
    """
    generator = np.random.default_rng(seed)
    scale = (1.0 + np.arange(width)) ** -DECAY
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0]
    centres = generator.normal(size=(classes, width)) * scale * SEPARATION
    mean = np.abs(generator.normal(size=width))
    mean *= NORM / np.linalg.norm(mean)
    # The expected squared norm about the grand mean.
    unit = np.sqrt((scale**2).sum() * (1 + SEPARATION**2))
    divisor = NORM if kind == "default" else 1.0

    def draw(count: int) -> tuple[Rows, Labels]:
        labels = np.repeat(np.arange(classes), count)
        rows = np.empty((len(labels), width), dtype=np.float32)
        for start in range(0, len(labels), 4096):
            part = labels[start : start + 4096]
            block = (centres[part] + generator.normal(size=(len(part), width)) * scale) @ rotation
            rows[start : start + 4096] = (block * (NORM / unit) + mean) / divisor
        return rows, labels

    train, labels = draw(each)
    test, test_labels = draw(test_each)
    return Made(train, labels, test, test_labels)
