"""One Newton step on h(V) = min_b f(V, b), its system solved by conjugate gradients.

Eliminating the intercept instead of solving for it beside V halved the steps on 20,000 x 768 rows, and float32
directions stall without it at weak regularisation.
"""

import contextlib
from dataclasses import dataclass

import torch

from probebench.device import tf32_products
from probebench.probes.precondition import Preconditioner
from probebench.probes.problem import Point, Problem, dot, noise, square

# Conjugate gradients stop where the certificate would hold by this margin.
MARGIN = 0.1
CG_STEPS = 500
HALVINGS = 40


@dataclass(frozen=True)
class How:
    """How a step is computed.

    Attributes:
        forcing: Conjugate gradients stop at this share of the gradient's norm.
        dtype: Of the direction.
        precise: Whether evaluations run in float64.
    """

    forcing: float
    dtype: torch.dtype
    precise: bool


def newton_step(
    problem: Problem,
    point: Point,
    penalty: torch.Tensor,
    open_: torch.Tensor,
    how: How,
    preconditioner: Preconditioner,
) -> Point | None:
    """Takes a step for the draws that are open, (R,) bool; None where no step lowers the objective.

    Where the step should settle all of them, it is evaluated in float64 at once, which has to certify it anyway.
    """
    step, shift, last = _direction(problem, point, penalty, open_, how, preconditioner)
    precise = how.precise or last
    slope = (point.gradient * step).sum((1, 2))
    length = open_.double()
    for _ in range(HALVINGS):
        moved = problem.evaluate(
            point.coef + length[:, None, None] * step,
            point.intercept + length[:, None, None] * shift,
            penalty,
            precise,
        )
        enough = point.objective * (1 + noise(how.precise)) + 1e-4 * length * slope
        short = open_ & ~(moved.objective <= enough)
        if not short.any():
            return moved
        length = torch.where(short, 0.5 * length, length)
    return None


def _direction(
    problem: Problem,
    point: Point,
    penalty: torch.Tensor,
    open_: torch.Tensor,
    how: How,
    preconditioner: Preconditioner,
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Solves for the Newton direction of h by conjugate gradients.

    Returns steps of coefficients and intercept, and whether they should settle all draws, as they do where the gradient
    was already near what is wanted. Draws that are settled, or whose system is solved, stay where they are.
    """
    dtype = how.dtype
    size = square(point.gradient).sqrt()
    unit = torch.where(size > 0, size, 1.0)[:, None, None]
    wanted = MARGIN * 2 * penalty * problem.tol * point.objective / unit[:, 0, 0].square()
    goal = wanted.clamp(min=how.forcing**2).to(dtype)
    weight = penalty.to(dtype)[:, None, None]
    precondition = preconditioner.at(penalty, dtype)
    curved = problem.curvature_along(weight, dtype)
    # Where rows are many these products are nearly all of the time. Of turned rows rounding is relative to each
    # coordinate: TF32 takes as many steps (tests/probes/test_newton.py), bf16 took up to five times as many.
    turned = not problem.rows.cheap and problem.rows.basis is None
    residual = (-point.gradient / unit).to(dtype)
    step, shift = torch.zeros_like(residual), torch.zeros_like(point.intercept, dtype=dtype)
    towards = precondition(residual)
    energy = dot(residual, towards)
    active = open_ & (size > 0)
    steps = 0
    while steps < CG_STEPS:
        with tf32_products() if turned else contextlib.nullcontext():
            bent, towards_b = curved(towards)
        steps += 1
        along = dot(towards, bent)
        active = active & (along > 0) & torch.isfinite(along)
        length = torch.where(active, energy / along, 0.0)[:, None, None]
        step.addcmul_(length, towards)
        shift.addcmul_(length, towards_b)
        residual.addcmul_(length, bent, value=-1.0)
        active = active & (square(residual) > goal)
        if not active.any():
            break
        ahead = precondition(residual)
        fresh = dot(residual, ahead)
        # Both factors are positive definite but for rounding, which has taken over where this is not positive.
        active = active & (fresh > 0) & torch.isfinite(fresh)
        if not active.any():
            break
        kept = active[:, None, None]
        # Zeros, for 0 times what is not finite would be none.
        towards = torch.where(kept, ahead, 0.0).addcmul_(
            torch.where(active, fresh / energy, 0.0)[:, None, None], towards
        )
        energy = torch.where(active, fresh, 1.0)
    preconditioner.count(steps)
    problem.work.cg += steps
    return step.double() * unit, shift.double() * unit, bool((wanted[open_] >= how.forcing**2).all())
