"""Walks the strengths from strong to weak regularisation, each from an extrapolation of the last ones.

Directions are found in float32, where they only steer; objective, gradient and certificate are evaluated in float64.
"""

import bisect
import math
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch

from probebench.probes.newton import How, newton_step
from probebench.probes.precondition import Preconditioner
from probebench.probes.problem import LONGEST, Point, Problem, square

# Conjugate gradients stop at this share of the gradient's norm, unless a step has led nowhere.
FORCING = 0.03
# Strengths that are nearer than this in ln C are interpolated.
APART = 0.5


def walk(strengths: npt.NDArray[np.float64]) -> list[int]:
    """Returns positions in the order in which strengths are solved best.

    First some that lie apart, ascending, each from an extrapolation; then those between them, from interpolations.
    """
    ascending: list[int] = np.argsort(strengths, kind="stable").tolist()
    first = ascending[:1]
    for position in ascending[1:]:
        ahead = math.log(strengths[position]) - math.log(strengths[first[-1]])
        if ahead >= APART or (position == ascending[-1] and ahead > 0):
            first.append(position)
    return first + [position for position in ascending if position not in set(first)]


@dataclass(kw_only=True)
class Solution:
    """One strength of R draws: coefficients (R, K, r) and intercepts (R, K) in the rows' coordinates, and (R,) facts.

    Objective, gap and gradient are those of C f.
    """

    coef: torch.Tensor
    intercept: torch.Tensor
    objective: torch.Tensor
    gap: torch.Tensor
    gradient_norm: torch.Tensor
    iterations: torch.Tensor

    def part(self, place: int) -> "Solution":
        """Returns one draw's part, on the CPU."""
        return Solution(**{one.name: getattr(self, one.name)[place].cpu() for one in fields(self)})


class RegularizationPath:
    """Solves a problem at one strength after another."""

    def __init__(self, problem: Problem, max_iter: int) -> None:
        """Starts at C = 0, with ``max_iter`` Newton steps for each strength."""
        self.problem, self._max_iter = problem, max_iter
        self._preconditioner = Preconditioner(problem)
        # Increments of coefficients and intercept an ln C, newest last, each with its ln C.
        self._increments: list[tuple[float, torch.Tensor, torch.Tensor]] = []
        self._last: tuple[float, Point] | None = None
        # Coefficients and intercepts of the strengths that were solved on the way up, each with its ln C.
        self._solved: list[tuple[float, torch.Tensor, torch.Tensor]] = []
        self._always_precise = problem.rows.cheap
        # Whether the last strength was settled where it started; on a dense grid the next one will be too, and is
        # certified at once.
        self._settled_at_once = False

    def solve(self, C: float) -> Solution:
        """Solves one strength; call it in the order of ``walk``."""
        problem = self.problem
        penalty = problem.penalty(C)
        point = self._start(math.log(C), penalty)
        how = How(FORCING, torch.float32, self._always_precise)
        self._settled_at_once = bool(problem.settled(point).all())
        steps = 0
        while True:
            open_ = ~problem.settled(point)
            if not open_.any():
                if point.precise:
                    break
                how = replace(how, precise=True)
                point = problem.evaluate(point.coef, point.intercept, penalty, how.precise)
                # Where float32 evaluations promised what float64 does not hold, they are of no use from here on.
                self._always_precise |= bool((~problem.settled(point)).any())
                continue
            if steps == self._max_iter:
                break
            steps += 1
            moved = newton_step(problem, point, penalty, open_, how, self._preconditioner)
            if moved is None:
                if how.forcing < FORCING and how.precise:
                    break
                how = How(FORCING**3, torch.float64, True)
                point = problem.evaluate(point.coef, point.intercept, penalty, how.precise)
                continue
            precise = how.precise or moved.precise
            if (open_ & (moved.gap > 0.5 * point.gap)).any():
                if how.precise:
                    # An ill-conditioned problem: a direction that is right to 3% in the gradient may lead nowhere.
                    how = replace(how, forcing=max(how.forcing * FORCING, FORCING**5), dtype=torch.float64)
                # Where float64 directions are dear, exact evaluations come first.
                precise = True
            how = replace(how, precise=precise)
            point = moved
        if self._last is None or math.log(C) > self._last[0]:
            self._remember(math.log(C), point)
        problem.work.newton += steps
        return Solution(
            coef=point.coef,
            intercept=point.intercept[:, 0],
            objective=C * point.objective,
            gap=C * point.gap,
            gradient_norm=C * square(point.gradient).sqrt(),
            iterations=torch.full_like(point.gap, steps),
        )

    def _start(self, log_C: float, penalty: torch.Tensor) -> Point:
        """Evaluates the extrapolation of the last solutions, or the last one itself where that is lower."""
        precise = self._always_precise or self._settled_at_once
        if self._last is None:
            return self.problem.evaluate(*self.problem.origin(), penalty, precise)
        when, last = self._last
        if log_C <= when:
            return self.problem.evaluate(*self._interpolate(log_C), penalty, precise=True)
        coef, intercept = self._extrapolate(log_C, when, last)
        point = self.problem.evaluate(coef, intercept, penalty, precise)
        stay = last.loss + 0.5 * penalty * square(last.coef)
        worse = ~(point.objective <= stay)
        if worse.any():
            keep = worse[:, None, None]
            coef, intercept = torch.where(keep, last.coef, coef), torch.where(keep, last.intercept, intercept)
            point = self.problem.evaluate(coef, intercept, penalty, precise)
        return point

    def _interpolate(self, log_C: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the polynomial in ln C through the two solutions on either side, as far as there are."""
        above = bisect.bisect_left(self._solved, log_C, key=lambda one: one[0])
        nodes = self._solved[max(above - 2, 0) : above + 2]
        coef, intercept = torch.zeros_like(nodes[0][1]), torch.zeros_like(nodes[0][2])
        for at, V, b in nodes:
            weight = math.prod((log_C - other) / (at - other) for other, _, _ in nodes if other != at)
            coef, intercept = coef + weight * V, intercept + weight * b
        return coef, intercept

    def _extrapolate(self, log_C: float, when: float, last: Point) -> tuple[torch.Tensor, torch.Tensor]:
        """Lets the last increment an ln C grow or shrink as it did before.

        Under strong regularisation V is proportional to C, so increments grow e-fold; where the classes separate, V
        grows with ln C, and increments stay; in between the rate is read off the last two.
        """
        if not self._increments or log_C - when > LONGEST:
            return last.coef, last.intercept
        at, coef_rate, intercept_rate = self._increments[-1]
        growth = torch.zeros_like(last.loss)
        if len(self._increments) == 2:
            at_before, before, _ = self._increments[0]
            ratio = (coef_rate * before).sum((1, 2)) / square(before).clamp(min=torch.finfo(torch.float64).tiny)
            growth = ratio.clamp(min=1e-3).log() / (at - at_before)
        step = log_C - when
        factor = step * torch.exp(growth.clamp(-0.5, 1.0) * (when + step / 2 - at))[:, None, None]
        return last.coef + factor * coef_rate, last.intercept + factor * intercept_rate

    def _remember(self, log_C: float, point: Point) -> None:
        if self._last is not None:
            when, last = self._last
            step = max(log_C - when, 1e-12)
            rates = (point.coef - last.coef) / step, (point.intercept - last.intercept) / step
            self._increments = [*self._increments[-1:], (when + step / 2, *rates)]
        self._last = log_C, point
        self._solved.append((log_C, point.coef, point.intercept))
