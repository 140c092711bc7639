"""Sampling noise of scores, and what is left of a spread when it is taken off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from probebench.study.answer import Estimate
from probebench.study.observations import Observation

Scale = Literal["points", "log"]
Array = npt.NDArray[np.float64]
_UPPER = 0.975
# Beyond it the noncentral chi-square is its normal limit; scipy's sum grows too long there.
_LARGE = 5e4
_Z = 1.959963984540054


def values(compared: Sequence[Observation], scale: Scale) -> Array:
    """Returns scores, or the logarithm of the error 1 - score.

    An error below half a test image counts as half an image: its logarithm must be finite.
    """
    scores = np.array([cell.score for cell in compared])
    return scores if scale == "points" else np.log(_errors(compared, scores))


def variances(compared: Sequence[Observation], scale: Scale) -> Array | None:
    """Returns the sampling variance of each score, on its scale; None where one is unknown.

    With one draw it is that of the result's own interval, or the binomial one. With several draws it is s^2 / R of the
    draws' scores plus the binomial share of the test images. Where all cells have the same draws, s^2 is the mean
    square of what is left of the (cells, draws) table after its rows and columns: what an easy draw gives to all of
    them moves no difference between them.
    """
    scores = np.array([cell.score for cell in compared])
    shared = _shared_draws(compared)
    found: Array = np.empty(len(compared))
    for place, cell in enumerate(compared):
        share = _image_variance(cell)
        if share is None:
            return None
        found[place] = share + (shared if shared is not None else _draw_variance(cell))
    return found if scale == "points" else np.divide(found, _errors(compared, scores) ** 2)


def _errors(compared: Sequence[Observation], scores: Array) -> Array:
    floor = np.array([0.5 / (cell.images or 1000) for cell in compared])
    errors: Array = np.maximum(1 - scores, floor)
    return errors


def _image_variance(cell: Observation) -> float | None:
    if len(cell.draws) <= 1 and cell.ci95 is not None:
        return float(((cell.ci95[1] - cell.ci95[0]) / (2 * _Z)) ** 2)
    if not cell.images:
        return None
    # Agresti and Coull's rate: a score of 0 or 1 on few images is not without noise.
    rate = (cell.score * cell.images + 2) / (cell.images + 4)
    return float(rate * (1 - rate) / cell.images)


def _draw_variance(cell: Observation) -> float:
    scores = [score for _, score in cell.draws]
    return float(np.var(scores, ddof=1) / len(scores)) if len(scores) > 1 else 0.0


def _shared_draws(compared: Sequence[Observation]) -> float | None:
    digests = {tuple(digest for digest, _ in cell.draws) for cell in compared}
    if len(digests) != 1 or len(compared) < 2 or len(compared[0].draws) < 2:
        return None
    table = np.array([[score for _, score in cell.draws] for cell in compared])
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    rows, columns = table.shape
    return float((rest**2).sum() / ((rows - 1) * (columns - 1) * columns))


@dataclass(frozen=True)
class Spread:
    """A noise-corrected standard deviation and the p-value of there being none."""

    deviation: Estimate
    p_value: float


def spread(blocks: Sequence[tuple[Array, Array]], weights: Sequence[float] | None = None) -> Spread:
    """Returns how far the true values within a block lie apart, over one block or the weighted mean of several.

    A block is values x_1..x_S with sampling variances v_1..v_S. Its sample variance S^2 overstates the variance of the
    true values by the mean of v (DerSimonian and Laird's moment estimate, unweighted). The mean of S^2 over blocks
    follows c times a noncentral chi-square, c and its degrees of freedom after Satterthwaite (1946) from the traces of
    the centred noise; the interval inverts it for its noncentrality, which is the true variance over c. The sources
    at hand are the ones asked about, so the interval covers noise of draws and test images, not a draw of sources. The
    upper end is never taken from less than the expected noise.
    """
    share = np.ones(len(blocks)) if weights is None else np.array(weights)
    share = share / share.sum()
    total = float(share @ [np.var(x, ddof=1) for x, _ in blocks])
    noise = float(share @ [v.mean() for _, v in blocks])
    if noise <= 0:
        root = float(np.sqrt(total))
        return Spread(Estimate(root, root, root), 0.0 if root > 0 else 1.0)
    variance = float(share**2 @ [_variance_of_variance(v) for _, v in blocks])
    scale, freedom = variance / (2 * noise), 2 * noise**2 / variance
    from scipy.special import chdtrc

    low = _noncentrality(total / scale, freedom, _UPPER)
    high = _noncentrality(max(total, noise) / scale, freedom, 1 - _UPPER)
    value = float(np.sqrt(max(total - noise, 0.0)))
    bounds = min(value, float(np.sqrt(scale * low))), max(value, float(np.sqrt(scale * high)))
    return Spread(Estimate(value, *bounds), float(chdtrc(freedom, total / scale)))


def _variance_of_variance(noise: Array) -> float:
    """Returns the variance of a block's sample variance when its true values are equal: 2 tr((M V)^2) / (S - 1)^2."""
    count = len(noise)
    trace = (noise**2).sum() * (1 - 2 / count) + (noise.sum() / count) ** 2
    return float(2 * trace / (count - 1) ** 2)


def _noncentrality(statistic: float, freedom: float, level: float) -> float:
    """Returns the noncentrality under which a chi-square is below ``statistic`` with probability ``level``, or 0."""
    from scipy.special import chndtr, chndtrinc

    if chndtr(statistic, freedom, 0.0) <= level:
        return 0.0
    if statistic > _LARGE:
        z = _Z if level > 0.5 else -_Z
        return max(0.0, statistic - freedom - z * 2 * float(np.sqrt(statistic)))
    return float(chndtrinc(statistic, freedom, level))


def trend(levels: Sequence[Estimate]) -> Estimate:
    """Returns the change from the first level to the last by a straight line over equal steps, with its interval.

    The interval joins those of the levels by Zou and Donner's (2008) rule (MOVER), which keeps their asymmetry near 0.
    """
    steps = np.arange(len(levels)) - (len(levels) - 1) / 2
    weights = steps / (steps**2).sum() * (len(levels) - 1)
    value = np.array([level.value for level in levels], dtype=float)
    below = value - np.array([level.low for level in levels], dtype=float)
    above = np.array([level.high for level in levels], dtype=float) - value
    change = float(weights @ value)
    down = np.where(weights > 0, below, above)
    up = np.where(weights > 0, above, below)
    return Estimate(
        change,
        change - float(np.sqrt(((weights * down) ** 2).sum())),
        change + float(np.sqrt(((weights * up) ** 2).sum())),
    )
