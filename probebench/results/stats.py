"""Means and 95% intervals over draws and test images."""

from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.95


def interval(correct: npt.NDArray[Any]) -> tuple[float, float]:
    """Returns the 95% interval of the mean score over draws and test images together.

    With one draw only the test images vary, and the interval is Wilson's. With several draws on the same images it is
    that of a crossed random-effects design: draws i = 1..R and images j = 1..N give a_ij = draw_i + image_j + rest_ij,
    and the variance of the grand mean, (MS_draw + MS_image - MS_rest) / (R N), takes its degrees of freedom from
    Satterthwaite (1946), as in the analysis of several readers on the same cases (Obuchowski and Rockette, 1995;
    Hillis, 2007). The variance is never taken below either factor's own share.

    Args:
        correct: (R, N); 1 where draw i's probe is right on test image j, else 0.

    Raises:
        ValueError: There is no draw, no image, or a value is not finite.
    """
    scores = np.asarray(correct, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite and of shape (draws, images), each at least 1; got {scores.shape}")
    draws, images = scores.shape
    mean = float(scores.mean())
    if draws == 1 or images == 1:
        return wilson(mean, images)
    by_draw, by_image = scores.mean(axis=1), scores.mean(axis=0)
    ms_draw = images * by_draw.var(ddof=1)
    ms_image = draws * by_image.var(ddof=1)
    rest = scores - by_draw[:, None] - by_image[None, :] + mean
    ms_rest = (rest**2).sum() / ((draws - 1) * (images - 1))
    total = max(ms_draw + ms_image - ms_rest, ms_draw, ms_image)
    if total <= 0:
        return wilson(mean, images)
    freedom = total**2 / (
        ms_draw**2 / (draws - 1) + ms_image**2 / (images - 1) + ms_rest**2 / ((draws - 1) * (images - 1))
    )
    half = _t_quantile(freedom) * float(np.sqrt(total / (draws * images)))
    return max(0.0, mean - half), min(1.0, mean + half)


def wilson(rate: float, count: int) -> tuple[float, float]:
    """Returns Wilson's (1927) 95% interval of a rate over ``count`` independent images."""
    z = _t_quantile(np.inf)
    shrink = 1 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / shrink
    half = z / shrink * float(np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2)))
    # At 0 and 1 the limits are exact; rounding must not put the rate outside.
    return min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half))


def _t_quantile(freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    upper = (1 + LEVEL) / 2
    return float(ndtri(upper) if np.isinf(freedom) else stdtrit(freedom, upper))
