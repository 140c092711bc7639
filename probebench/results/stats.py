"""Means and 95% intervals over draws and test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.results.metrics import mean_score

LEVEL = 0.95


def interval(correct: npt.NDArray[Any]) -> tuple[float, float]:
    """Returns the 95% interval of the mean score over draws and test images together.

    With one draw only the test images vary, and the interval is Wilson's. With several draws on the same images it is
    that of a crossed random-effects design: draws i = 1..R and images j = 1..N give a_ij = draw_i + image_j + rest_ij,
    and the variance of the grand mean, (MS_draw + MS_image - MS_rest) / (R N), takes its degrees of freedom from
    Satterthwaite (1946), as in the analysis of several readers on the same cases (Obuchowski and Rockette, 1995;
    Hillis, 2007). The variance is never taken below either factor's own share.

    Args:
        correct: (R, N); 1 where draw i's probe is right on test image j, else 0; or other scores whose mean over images
            is a rate (``image_scores``).

    Raises:
        ValueError: There is no draw, no image, or a value is not finite.
    """
    scores = _checked(correct)
    draws, images = scores.shape
    mean = mean_score(scores)
    if draws == 1 or images == 1:
        return wilson(mean, _independent(scores[0], mean))
    error, freedom = _crossed(scores)
    if error <= 0:
        return wilson(mean, images)
    half = _t_quantile(freedom) * error
    return max(0.0, mean - half), min(1.0, mean + half)


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two checkpoints.

    Attributes:
        difference: Mean score of the first less that of the second.
        ci95: Its 95% interval.
        p_value: Two-sided; that a difference at least as large comes from draws and images alone.
        error: Standard error of the difference; 0 where nothing varies.
        freedom: Its degrees of freedom.
    """

    difference: float
    ci95: tuple[float, float]
    p_value: float
    error: float
    freedom: float


def paired(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Comparison:
    """Compares two checkpoints on the same draws and the same test images.

    The differences d_ij of draw i and image j are a crossed random-effects design of their own, as in ``interval``;
    what both checkpoints share, an easy draw or a hard image, cancels. With one draw only the images vary, and this is
    the paired t-test over them. There is nothing random in it, and so no seed.

    Args:
        first: (R, N); 1 where the first checkpoint's probe of draw i is right on test image j, else 0; or other scores
            of the images (``image_scores``).
        second: The same for the second.

    Raises:
        ValueError: Shapes differ or are empty, or a value is not finite.
    """
    one, other = _checked(first), _checked(second)
    if one.shape != other.shape:
        raise ValueError(f"both need the same draws and images; got {one.shape} and {other.shape}")
    scores = one - other
    draws, images = scores.shape
    mean = float(scores.mean())
    if draws > 1 and images > 1:
        error, freedom = _crossed(scores)
    else:
        single = scores.ravel()
        freedom = max(len(single) - 1.0, 1.0)
        error = float(single.std(ddof=1) / np.sqrt(len(single))) if len(single) > 1 else 0.0
    return _comparison(mean, error, freedom)


def mean_comparison(comparisons: Sequence[Comparison]) -> Comparison:
    """Combines the comparisons of two checkpoints on several data sets into that of their mean scores.

    The data sets are fixed and independent of one another, so the variance of the mean difference over D of them is the
    sum of theirs over D squared; its degrees of freedom are Welch's (1947).

    Raises:
        ValueError: There is none.
    """
    if not comparisons:
        raise ValueError("a mean needs at least one comparison")
    difference = float(np.mean([one.difference for one in comparisons]))
    variances = np.array([one.error**2 for one in comparisons])
    total = float(variances.sum())
    freedom = total**2 / sum(one.error**4 / one.freedom for one in comparisons) if total > 0 else np.inf
    return _comparison(difference, float(np.sqrt(total)) / len(comparisons), float(freedom))


def _comparison(difference: float, error: float, freedom: float) -> Comparison:
    if error <= 0:
        return Comparison(difference, (difference, difference), 1.0 if difference == 0 else 0.0, 0.0, np.inf)
    from scipy.special import stdtr

    half = _t_quantile(freedom) * error
    p_value = float(2 * stdtr(freedom, -abs(difference) / error))
    return Comparison(difference, (difference - half, difference + half), p_value, error, freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's (1979) adjusted p-values, in the same order: they hold for all comparisons at once."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    running = 0.0
    for place, number in enumerate(order):
        running = max(running, (len(order) - place) * p_values[number])
        adjusted[number] = min(running, 1.0)
    return [float(value) for value in adjusted]


def _independent(scores: npt.NDArray[np.float64], mean: float) -> float:
    """Returns how many independent images have a rate's variance as these scores have; N for scores of 0 and 1."""
    images = len(scores)
    if np.isin(scores, (0.0, 1.0)).all() or not (variance := float(scores.var())):
        return images
    return images * mean * (1 - mean) / variance if 0 < mean < 1 else images


def _checked(correct: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    scores = np.asarray(correct, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite and of shape (draws, images), each at least 1; got {scores.shape}")
    return scores


def _crossed(scores: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Returns the standard error of the grand mean of (R, N), R and N at least 2, and its degrees of freedom."""
    draws, images = scores.shape
    by_draw, by_image = scores.mean(axis=1), scores.mean(axis=0)
    ms_draw = images * by_draw.var(ddof=1)
    ms_image = draws * by_image.var(ddof=1)
    rest = scores - by_draw[:, None] - by_image[None, :] + scores.mean()
    ms_rest = (rest**2).sum() / ((draws - 1) * (images - 1))
    total = max(ms_draw + ms_image - ms_rest, ms_draw, ms_image)
    if total <= 0:
        return 0.0, np.inf
    freedom = total**2 / (
        ms_draw**2 / (draws - 1) + ms_image**2 / (images - 1) + ms_rest**2 / ((draws - 1) * (images - 1))
    )
    return float(np.sqrt(total / (draws * images))), float(freedom)


def wilson(rate: float, count: float) -> tuple[float, float]:
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
