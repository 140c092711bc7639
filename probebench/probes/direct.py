"""Newton's method for one small draw on the CPU, in NumPy.

Where coefficients are few, forming and factorising the Hessian costs less than anything else. Where they are some
hundreds, conjugate gradients are tried first, for no longer than the Hessian would take. The last of the K
classes is the reference: with rows z_i that end in a constant 1, w (K - 1, r + 1) and scores (w z_i, 0), the objective
of objective.py is

    f(w) = sum_i logloss(y_i, (w z_i, 0)) + lambda/2 tr(w' M w),        M = I - 11' / K, blind to the constants

as the coefficients V of least norm sum to zero over the classes: those of all classes but the last are M w. Its Hessian
has blocks Z' diag(p_a (1 - p_a)) Z + lambda M_aa on the diagonal and -Z' diag(p_a p_b) Z + lambda M_ab elsewhere. The
certificate is problem.py's.

Rows lie last in arrays of scores, (classes, N), as in direct_loss.py.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probebench.probes.direct_loss import Labels, Loss, Matrix, loss_of_many, loss_of_two
from probebench.probes.fits import FittedDraw
from probebench.probes.problem import Work, noise
from probebench.probes.regularization_path import Solution
from probebench.probes.sizes import whole_cost

Features = npt.NDArray[np.floating[Any]]

HALVINGS = 40
# A system is solved whole up to so many multiplications; beyond them conjugate gradients or torch's solver have it.
MOST_WHOLE = 2e9
# Conjugate gradients stop at this share of the gradient's norm, or at this share of what the certificate allows.
FORCING, MARGIN = 0.2, 0.1
# One of their steps takes as long as so many multiplications an entry of rows and classes, of two classes and of more,
# and so many for calls.
STEP_COSTS, CALLS = (6, 16), 2e5
# They are not tried where they have fewer steps than this; and of the first, without a preconditioner, so many, or
# twice as many where rows and unknowns are so few that calls cost more than arithmetic.
FEW, EASY, TINY = 4, 8, 5e4
# Conjugate gradients multiply more entries of rows than this in float32.
SINGLE = 1 << 18
# Where they do, so are scores and gradients, until the gap or what a step gains is below this share of the objective.
COARSE = 1e-3
# Products of all pairs of up to so many features are kept; Hessians are summed over blocks of so many weighted entries.
NARROW, CACHED = 12, 1 << 17


def _rms(features: Matrix) -> float:
    """Returns the root of the mean squared norm of rows (N, D), and one where all are zero."""
    square = float(np.einsum("nd,nd->", features, features)) / len(features)
    if 1e-200 < square < 1e200:
        return math.sqrt(square)
    # The square of 1e-200 is zero, and that of 1e200 no number: the largest entry first.
    peak = float(np.abs(features).max()) or 1.0
    return peak * math.sqrt(float(np.square(features / peak).sum()) / len(features)) or 1.0


class DirectPath:
    """One draw, solved at one strength after another.

    Args:
        features: (N, D).
        labels: Positions of the classes, (N,).
        classes: K.
        tol: Relative gap of the objective to certify.
        fit_intercept: Whether b is fitted.
        max_iter: Newton steps a strength.
    """

    def __init__(
        self, features: Features, labels: Labels, classes: int, tol: float, fit_intercept: bool, max_iter: int
    ) -> None:
        """Centres and scales the rows, and takes them into their own span where that is narrower."""
        count, width = features.shape
        self._classes, self._tol, self._max_iter, self._intercept = classes, tol, max_iter, fit_intercept
        self.work = Work()
        self.mean = features.mean(0, dtype=np.float64) if fit_intercept else np.zeros(width)
        # Each feature lies in one piece: products with one vector are then two to three times as fast.
        whole = np.empty((count, width + fit_intercept), order="F")
        whole[:, width:] = 1.0
        centred = np.subtract(features, self.mean, out=whole[:, :width])
        self.scale = _rms(centred)
        centred /= self.scale
        self.expand: Matrix | None = None
        if count < width:
            basis, upper = np.linalg.qr(centred.T)
            self.expand, whole = basis.T, np.hstack([upper.T, whole[:, width:]])
        self._rank = whole.shape[1] - fit_intercept
        self._rows: Matrix = whole.T
        self._loss: Callable[[Matrix], Loss]
        if classes == 2:
            self._loss = partial(loss_of_two, np.where(labels == 0, 1.0, -1.0)[None])
        else:
            self._loss = partial(loss_of_many, labels * count + np.arange(count))
        self._w = np.zeros((classes - 1, len(self._rows)))
        cost = whole_cost(count, self._w.size)
        self._affordable, self._easy = cost <= MOST_WHOLE, True
        self._factor: tuple[tuple[float, float], Matrix | None] = (0.0, 0.0), None
        self._patience = int(cost / (STEP_COSTS[classes > 2] * count * self._w.size + CALLS))
        if fit_intercept:
            logs = np.log(np.bincount(labels))
            self._w[:, -1] = logs[:-1] - logs[-1]
        self._scores = self._w @ self._rows

    def solve(self, C: float) -> Solution | None:
        """Solves one strength; call it with ascending strengths. None where rounding stops it short.

        Many rows are multiplied in float32 first. What float64 then finds is all that a solution holds.
        """
        penalty = (2.0 if self._classes == 2 else 1.0) / C / self.scale / self.scale
        w, scores, steps = self._w, self._scores, 0
        loss, value = self._at(w, scores, penalty)
        coarse, near = self._patience >= FEW and self._rows.size > SINGLE, False
        while True:
            if coarse and near:
                coarse, scores = False, self._times(w, self._rows)
                loss, value = self._at(w, scores, penalty)
            rows = self._steering if coarse else self._rows
            gradient = self._gradient(rows, loss, w, penalty)
            norm = math.sqrt(self._square(gradient))
            gap = self._gap(loss, gradient, penalty, self._tol * value)
            near = near or gap <= max(COARSE, self._tol) * value or steps == self._max_iter
            if coarse and near:
                continue
            if gap <= self._tol * (value - gap) or steps == self._max_iter:
                break
            goal = MARGIN * self._tol * value
            step = self._along_gradients(loss, gradient, penalty, goal) if self._patience >= FEW else None
            if step is None and self._affordable:
                # Steps to come, and weaker regularisation, would need more of them.
                self._patience = 0
                step = self._direction(loss, gradient, penalty)
            if step is None:
                return None
            along = self._times(step, rows)
            slope, length = float((gradient * step).sum()), 1.0
            for _ in range(HALVINGS):
                ahead, there = w + length * step, scores + length * along
                tried, lower = self._at(ahead, there, penalty)
                if lower <= value * (1 + noise(precise=not coarse)) + 1e-4 * length * slope:
                    break
                length *= 0.5
            else:
                if not coarse:
                    return None
                # Float32 leads no further down.
                near = True
                continue
            w, scores, loss, value = ahead, there, tried, lower
            near = -slope <= COARSE * value
            steps += 1
        self._w, self._scores = w, scores
        self.work.newton += steps
        return self._solution(C, value, gap, norm, steps)

    def fitted(self, classes: npt.NDArray[Any], solutions: Sequence[Solution]) -> FittedDraw:
        """Returns the draw with its solutions."""
        expand = None if self.expand is None else torch.from_numpy(self.expand)
        return FittedDraw(classes, list(solutions), expand, torch.from_numpy(self.mean), self.scale)

    def _solution(self, C: float, value: float, gap: float, norm: float, steps: int) -> Solution:
        whole = np.concatenate([self._w, np.zeros_like(self._w[:1])])
        whole -= whole.mean(0)
        intercept = whole[:, -1] if self._intercept else np.zeros(self._classes)
        return Solution(
            coef=torch.from_numpy(whole[:, : self._rank].copy()),
            intercept=torch.from_numpy(intercept.copy()),
            objective=torch.tensor(C * value, dtype=torch.float64),
            gap=torch.tensor(C * gap, dtype=torch.float64),
            gradient_norm=torch.tensor(C * norm, dtype=torch.float64),
            iterations=torch.tensor(steps),
        )

    def _times(self, one: Matrix, rows: Features) -> Matrix:
        """Multiplies in the precision of the rows, and counts it."""
        self.work.float32 += rows.dtype == np.float32
        self.work.float64 += rows.dtype == np.float64
        product: Matrix = (one.astype(rows.dtype, copy=False) @ rows).astype(np.float64, copy=False)
        return product

    def _at(self, w: Matrix, scores: Matrix, penalty: float) -> tuple[Loss, float]:
        """Returns the loss and the objective."""
        loss = self._loss(scores)
        return loss, loss.value + self._penalty(w, penalty)

    def _penalty(self, w: Matrix, penalty: float) -> float:
        inner = w[:, : self._rank]
        total = inner.sum(0)
        return 0.5 * penalty * float((inner * inner).sum() - (total * total).sum() / self._classes)

    def _gradient(self, rows: Features, loss: Loss, w: Matrix, penalty: float) -> Matrix:
        """Returns the gradient in w, (K - 1, r + 1); but for the constants, it is that in V of all classes but one."""
        gradient = self._times(loss.residual, rows.T)
        inner = w[:, : self._rank]
        gradient[:, : self._rank] += penalty * (inner - inner.sum(0) / self._classes)
        return gradient

    def _gap(self, loss: Loss, gradient: Matrix, penalty: float, enough: float) -> float:
        """Returns the certificate at a gradient; without the intercept's part where it is above ``enough`` anyway."""
        square = self._square(gradient)
        gap = square / (2 * penalty)
        if gap > enough or not self._intercept:
            return gap
        delta = self._left_in_intercept(loss, gradient[:, -1])
        return (math.sqrt(square) + math.sqrt(0.5 * self._rows.shape[1] * delta)) ** 2 / (2 * penalty) + delta

    def _square(self, gradient: Matrix) -> float:
        """Returns the squared norm of the gradient in V, whose last class has what makes the sum zero."""
        inner = gradient[:, : self._rank]
        last = np.add.reduce(inner)
        return float(np.einsum("kd,kd->", inner, inner) + last @ last)

    def _left_in_intercept(self, loss: Loss, slope: Matrix) -> float:
        """Returns g' B^-1 g for the gradient g in the constants and the curvature B there."""
        return max(float(slope @ loss.constants @ slope), 0.0)

    def _along_gradients(self, loss: Loss, gradient: Matrix, penalty: float, goal: float) -> Matrix | None:
        """Solves for the Newton step by conjugate gradients; None where that would take longer than the Hessian.

        Under strong regularisation few steps do; where they do not, all later ones are preconditioned. Many rows are
        multiplied in float32: directions only steer.
        """
        rows, spread = self._steering, loss.spread.astype(self._steering.dtype, copy=False)
        preconditioned = self._preconditioner(loss, penalty)
        if preconditioned is None:
            return None
        residual, step = -gradient, np.zeros_like(gradient)
        towards = preconditioned(residual)
        energy = float(np.vdot(residual, towards))
        near = FORCING**2 * float(np.vdot(gradient, gradient))
        easy = EASY if rows.shape[1] * step.size > TINY else 2 * EASY
        for _ in range(easy if self._easy else self._patience):
            weighted = towards.astype(rows.dtype, copy=False) @ rows
            weighted *= spread[: len(towards)]
            if self._classes > 2:
                weighted -= spread[:-1] * np.add.reduce(weighted)
            bent = (weighted @ rows.T).astype(np.float64, copy=False)
            ahead = towards[:, : self._rank]
            bent[:, : self._rank] += penalty * (ahead - np.add.reduce(ahead) / self._classes)
            along = float(np.vdot(towards, bent))
            if not along > 0:
                return None
            step += energy / along * towards
            residual -= energy / along * bent
            self.work.cg += 1
            self.work.float64 += 2 * (rows.dtype == np.float64)
            self.work.float32 += 2 * (rows.dtype == np.float32)
            if np.vdot(residual, residual) <= near or self._gap(loss, residual, penalty, goal) <= goal:
                return step
            ahead = preconditioned(residual)
            fresh = float(np.vdot(residual, ahead))
            towards = ahead + fresh / energy * towards
            energy = fresh
        if not self._easy:
            return None
        self._easy = False
        return self._along_gradients(loss, gradient, penalty, goal)

    def _preconditioner(self, loss: Loss, penalty: float) -> Callable[[Matrix], Matrix] | None:
        """Returns what nearly solves with the Hessian; None where rounding leaves it no factor.

        Were all probabilities alike, the Hessian would be M times (s Z'Z + lambda), of which one Cholesky factor serves
        all classes. s is the mean curvature of a class; the inverse of M is I + 11'. Where few steps do, the factor is
        left out.
        """
        from scipy.linalg.lapack import dpotrf, dpotrs

        if self._easy:
            return lambda residual: residual + np.add.reduce(residual)
        count, spread = self._rows.shape[1], loss.spread
        curved = 2 * float(spread.sum()) if self._classes == 2 else count - float(np.vdot(spread, spread))
        curvature = max(curved, 1e-300) / count / (self._classes - 1)
        before, factor = self._factor
        # As it changes little from step to step, and twice as much is as good.
        if factor is None or before[1] != penalty or not 0.5 <= curvature / before[0] <= 2.0:
            system = self._gram * curvature
            inner = np.arange(self._rank)
            system[inner, inner] += penalty
            factor, failed = dpotrf(system.T, lower=1, overwrite_a=1)
            if failed:
                return None
            self._factor = (curvature, penalty), factor

        def preconditioned(residual: Matrix) -> Matrix:
            solved: Matrix = dpotrs(factor, residual.T, lower=1)[0].T
            whole: Matrix = solved + np.add.reduce(solved)
            return whole

        return preconditioned

    @cached_property
    def _steering(self) -> Features:
        return self._rows.astype(np.float32) if self._rows.size > SINGLE else self._rows

    @cached_property
    def _gram(self) -> Matrix:
        return self._rows @ self._rows.T

    def _direction(self, loss: Loss, gradient: Matrix, penalty: float) -> Matrix | None:
        """Solves for the Newton step, (K - 1, r + 1); None where rounding makes the Hessian indefinite."""
        from scipy.linalg.lapack import dposv

        hessian = self._hessian(loss)
        free, size = len(gradient), len(self._rows)
        blocks = hessian.reshape(free, size, free, size)
        inner = np.arange(self._rank)
        blocks[:, inner, :, inner] += penalty * (np.eye(free) - 1 / self._classes)
        _, step, failed = dposv(hessian, -gradient.ravel(), lower=1)
        return None if failed else step.reshape(gradient.shape)

    def _hessian(self, loss: Loss) -> Matrix:
        """Returns that of the loss, ((K - 1)(r + 1), (K - 1)(r + 1)), from blocks of rows that stay in a cache."""
        size, free = len(self._rows), self._classes - 1
        hessian, own = np.zeros((free * size, free * size)), np.zeros((free, size, size))
        step = max(CACHED // len(hessian), 2 * len(hessian))
        for start in range(0, self._rows.shape[1], step):
            part = slice(start, start + step)
            rows, spread = self._rows[:, part], loss.spread[:, part]
            if free == 1:
                weighted = rows * np.sqrt(spread)
                hessian += weighted @ weighted.T
                continue
            spread = spread[:-1]
            weighted = (spread[:, None] * rows).reshape(len(hessian), -1)
            hessian -= weighted @ weighted.T
            # 1 - p where a probe is sure is what the residual says of the own class.
            residual = loss.residual[:, part]
            own += self._curved(spread * np.where(residual < 0, -residual, 1.0 - spread), part)
        for a in range(free if free > 1 else 0):
            place = slice(a * size, (a + 1) * size)
            hessian[place, place] = own[a]
        return hessian

    def _curved(self, curvature: Matrix, part: slice) -> Matrix:
        """Returns Z' diag(c) Z for each row c of ``curvature`` (K - 1, n), in one product where rows are narrow."""
        rows = self._rows[:, part]
        if len(rows) <= NARROW:
            return (curvature @ self._pairs[part]).reshape(-1, len(rows), len(rows))
        return np.array([one @ one.T for one in (rows * np.sqrt(own) for own in curvature)])

    @cached_property
    def _pairs(self) -> Matrix:
        pairs: Matrix = np.einsum("an,bn->nab", self._rows, self._rows)
        return pairs.reshape(len(pairs), -1)
