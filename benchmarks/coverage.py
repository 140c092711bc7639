"""Coverage of the 95% intervals by simulation: of one checkpoint's mean, and of the difference between two.

Run: .venv/bin/python benchmarks/coverage.py

Draws and test images both vary: logit p_ij = 1 + draw_i + image_j, image_j ~ N(0, 1.5^2), draw_i ~ N(0, s^2). The
truth is the mean over both populations. Two checkpoints share the images' difficulty and the draws' luck, and each has
some of its own besides, 0.5 and 0.7 times as large; they are equally good, so the truth is no difference.
"""

import numpy as np

from probebench.results.stats import interval, paired

ROUNDS = 2000
SPREAD = 1.5


def coverage(draws: int, images: int, between: float, generator: np.random.Generator) -> float:
    """Returns the share of simulated intervals that hold the truth."""
    logits = 1 + np.hypot(between, SPREAD) * generator.normal(size=4_000_000)
    truth = (1 / (1 + np.exp(-logits))).mean()
    hits = 0
    for _ in range(ROUNDS):
        scores = 1 + between * generator.normal(size=(draws, 1)) + SPREAD * generator.normal(size=(1, images))
        low, high = interval(generator.random((draws, images)) < 1 / (1 + np.exp(-scores)))
        hits += low <= truth <= high
    return hits / ROUNDS


def paired_coverage(draws: int, images: int, between: float, generator: np.random.Generator) -> float:
    """Returns the share of simulated intervals of a difference that hold zero."""
    hits = 0
    for _ in range(ROUNDS):

        def part(scale_draw: float, scale_image: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
            return scale_draw * between * generator.normal(size=(draws, 1)) + scale_image * SPREAD * generator.normal(
                size=(1, images)
            )

        shared = 1 + part(1.0, 1.0)
        one, other = (
            generator.random((draws, images)) < 1 / (1 + np.exp(-(shared + part(0.7, 0.5)))) for _ in range(2)
        )
        low, high = paired(one, other).ci95
        hits += low <= 0 <= high
    return hits / ROUNDS


def main() -> None:
    """Prints one line a setting."""
    generator = np.random.default_rng(7)
    for draws in (3, 5, 10):
        for images in (300, 900):
            for between in (0.0, 0.05, 0.15, 0.3, 0.5):
                share = coverage(draws, images, between, generator)
                both = paired_coverage(draws, images, between, generator)
                print(
                    f"{draws:2d} draws, {images:3d} images, s = {between:4.2f}: mean {100 * share:.1f}, "
                    f"difference {100 * both:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
