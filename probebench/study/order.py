"""The order of sources or checkpoints: who leads beyond noise, whether data sets agree, and scores of equal tuning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from probebench.study.engine import LEVEL, Array, Interval, filled, welch_freedom

# Degrees of freedom up to which the quantile is exact, and the step by which larger ones are rounded down.
_EXACT, _STEP = 30, 1.1


def tukey(count: int, freedom: int) -> float:
    """Returns the 95% quantile of Tukey's studentised range.

    It takes a tenth of a second, and hardly moves with many degrees of freedom: these are rounded down to a few, which
    makes it larger by 1% at most.
    """
    if freedom > _EXACT:
        freedom = int(_EXACT * _STEP ** math.floor(math.log(freedom / _EXACT, _STEP)))
    return _tukey(count, max(freedom, 1))


@lru_cache(maxsize=4096)
def _tukey(count: int, freedom: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(LEVEL, count, freedom))


def with_best(count: int, freedom: int) -> float:
    """Returns how many standard errors of a difference the best must lie ahead to be the best beyond noise.

    Hsu's (1981) multiple comparisons with the best: the one-sided quantile of Dunnett's many-to-one t, which is less
    than Tukey's for all pairs. Its level is 97.5%, so that what it says of the best and of the worst holds together.

    Args:
        count: How many are compared.
        freedom: Degrees of freedom of the standard error.
    """
    if freedom > _EXACT:
        freedom = int(_EXACT * _STEP ** math.floor(math.log(freedom / _EXACT, _STEP)))
    return _with_best(count, max(freedom, 1))


@lru_cache(maxsize=4096)
def _with_best(count: int, freedom: int) -> float:
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr

    # T_i = (Z_i - Z_0) / (sqrt(2) s), s^2 of chi-square over its degrees of freedom: P(all T_i <= q) is the mean over z
    # and s of Phi(sqrt(2) s q + z)^(count - 1).
    z, weight = np.polynomial.hermite_e.hermegauss(64)
    shares = (np.arange(400) + 0.5) / 400
    scale = np.sqrt(chdtri(freedom, shares) / freedom)[:, None]

    def below(quantile: float) -> float:
        inside = ndtr(math.sqrt(2) * scale * quantile + z) ** (count - 1)
        return float((inside @ weight).mean() / weight.sum())

    return float(brentq(lambda quantile: below(quantile) - (1 + LEVEL) / 2, 0.0, 1e3))


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of sources, or of checkpoints.

    Attributes:
        means: [S].
        apart: How far the first must lie ahead, or the last behind, to be so beyond noise.
        p_agree: That data sets agree on the order no more than by chance.
        first: P(first) of each, for display only.
        last: P(last).
        ranks: Mean rank over data sets, 1 is best.
        undone_lead: Run-to-run SD beyond which the lead of the first would be noise.
        undone_agree: The same of the agreement.
    """

    means: Array
    apart: float
    p_agree: float
    first: Array
    last: Array
    ranks: Array
    undone_lead: float
    undone_agree: float

    @property
    def lead(self) -> Interval:
        """The first mean less the second."""
        best = np.sort(self.means)[::-1]
        gap = float(best[0] - best[1])
        return Interval(gap, gap - self.apart, gap + self.apart)

    @property
    def trail(self) -> Interval:
        """The last but one less the last."""
        worst = np.sort(self.means)
        gap = float(worst[1] - worst[0])
        return Interval(gap, gap - self.apart, gap + self.apart)


def order(table: Array, *, run: tuple[float, float] = (0.0, 0.0), seed: int) -> Order:
    """Orders rows by their mean over data sets; the noise is what data sets disagree on, and that of runs.

    Args:
        table: [row, data set], at least 2 x 2.
        run: Variance by runs of a row's mean over data sets, and its degrees of freedom; none for checkpoints.
        seed: Of P(first) and P(last).
    """
    from scipy.special import fdtrc, fdtri
    from scipy.stats import rankdata

    whole = filled(table)
    rows, datasets = whole.shape
    means = whole.mean(axis=1)
    rest = whole - means[:, None] - whole.mean(axis=0) + whole.mean()
    free = (rows - 1) * (datasets - 1)
    share = float((rest**2).sum()) / free / datasets
    variance = share + run[0]
    freedom = welch_freedom((share, free), (run[0], run[1] or 1.0)) if variance > 0 else float(free)
    ahead = with_best(rows, int(freedom)) * math.sqrt(2)
    generator = np.random.default_rng(seed)
    scale = np.sqrt(generator.chisquare(freedom, 2000) / freedom)
    drawn = means + math.sqrt(variance) * generator.standard_normal((2000, rows)) / scale[:, None]
    spread = float(means.var(ddof=1))
    gap = float(np.diff(np.sort(means))[-1])
    return Order(
        means=means,
        apart=ahead * math.sqrt(variance),
        p_agree=float(fdtrc(rows - 1, freedom, spread / variance)) if variance > 0 else float(spread == 0),
        first=np.bincount(drawn.argmax(axis=1), minlength=rows) / 2000,
        last=np.bincount(drawn.argmin(axis=1), minlength=rows) / 2000,
        ranks=rankdata(-whole, axis=0).mean(axis=1),
        undone_lead=math.sqrt(max(0.0, (gap / ahead) ** 2 - variance)),
        undone_agree=math.sqrt(max(0.0, spread / float(fdtri(rows - 1, freedom, LEVEL)) - variance)),
    )


def best_of(scores: Sequence[float], count: int) -> float:
    """Returns the expected best of ``count`` of the settings that were tried, drawn without replacement.

    After Dodge et al. (2019, arXiv:1909.03004), in the form without replacement, which has no bias.
    """
    ranked = sorted(scores)
    tried = len(ranked)
    chosen = sum(ranked[place] * math.comb(place, count - 1) for place in range(count - 1, tried))
    return float(chosen / math.comb(tried, count))


def concordance(scores: Array) -> Interval:
    """Returns the mean Spearman correlation between rows with its interval; rows and columns are both samples.

    It is the intraclass correlation of the ranks (one rank, consistency, two-way), with McGraw and Wong's (1996)
    interval from the F distribution. Near 1, where ranks are far from normal, that is too short; so it is widened to
    hold the interval of the scores' own intraclass correlation, each row scaled to variance 1, carried over by Moran's
    (1948) expectation of Spearman's correlation of S normal pairs.

    Args:
        scores: (D, S) scores of sources on data sets, D at least 2 and S at least 3.
    """
    from scipy.stats import rankdata

    ranks: Array = rankdata(scores, axis=1)
    rho = _intraclass(ranks)
    if rho is None:
        return Interval(0.0, -1.0, 1.0)
    spread = scores.std(axis=1, keepdims=True)
    own = _intraclass(scores / np.where(spread > 0, spread, 1.0))
    carried = [_expected_spearman(end, ranks.shape[1]) for end in (own.low, own.high)] if own else []
    return Interval(rho.value, max(-1.0, min([rho.low, *carried])), min(1.0, max([rho.high, *carried])))


def _intraclass(table: Array) -> Interval | None:
    """Returns the two-way consistency intraclass correlation of (D, S) and its interval; None of a flat table."""
    from scipy.special import fdtri

    rows, columns = table.shape
    freedom = columns - 1, (rows - 1) * (columns - 1)
    between = float(rows * table.mean(axis=0).var(ddof=1))
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    within = float((rest**2).sum() / freedom[1])
    if between + within <= 1e-12:
        return None
    ratio = between / max(within, 1e-9)
    upper = (1 + LEVEL) / 2

    def correlation(value: float) -> float:
        return float((value - 1) / (value + rows - 1))

    low = correlation(ratio / float(fdtri(*freedom, upper)))
    return Interval(correlation(ratio), low, correlation(ratio * float(fdtri(*freedom[::-1], upper))))


def _expected_spearman(correlation: float, count: int) -> float:
    inner = np.arcsin(correlation) + (count - 2) * np.arcsin(correlation / 2)
    return float(6 / (np.pi * (count + 1)) * inner)
