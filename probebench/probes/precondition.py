"""Preconditioners of the Newton system: what stands in for the curvature of the objective and is easily inverted.

There are two. The first takes probabilities and rows for independent: lambda + (B / N) x Z'Z, with B / N the mean
curvature between classes (as K-FAC does; Martens and Grosse, 2015). It costs next to nothing. Where they are far from
independent, as in weakly regularised fits of classes that do not separate, it needs hundreds of steps of conjugate
gradients; then each class's own block, lambda + Z' diag(p_k (1 - p_k)) Z, is formed and inverted.

On 16,000 x 1,280 rows of Fashion-MNIST (10 classes) at C = 1,000, the first took 369 steps to a thousandth of the
gradient and 993 to 3e-5 of it, the second 89 and 121. Leaving light rows out of the blocks saved nothing: what they
save in forming goes into more steps.
"""

from collections.abc import Callable

import torch

from probebench.probes.problem import Problem

# Forming the blocks takes as long as this share of r steps of conjugate gradients (measured: 0.1 to 0.2 on CPUs).
BLOCKS_COST = 0.15

Apply = Callable[[torch.Tensor], torch.Tensor]


class Preconditioner:
    """Chooses by what was spent: the blocks are formed, and formed anew, once as many steps went by as that costs."""

    def __init__(self, problem: Problem) -> None:
        """Starts without blocks."""
        self._problem = problem
        _, count, width = problem.rows.shape
        # The blocks may take as much memory as the rows. Of rows that are not turned, float32 blocks would be rounding.
        self._may_form = problem.classes * width <= count and problem.rows.basis is None
        self._inverses: torch.Tensor | None = None
        self._spent = 0

    def count(self, steps: int) -> None:
        """Notes steps of conjugate gradients."""
        self._spent += steps

    def at(self, penalty: torch.Tensor, dtype: torch.dtype) -> Apply:
        """Returns the inverse at the problem's last evaluation, for (R, K, r) of a dtype; penalty is lambda, (R,)."""
        if self._may_form and self._spent >= BLOCKS_COST * self._problem.rows.shape[2]:
            self._inverses = _inverted_blocks(self._problem, penalty)
            self._may_form = self._inverses is not None
            self._spent = 0
        if self._inverses is None:
            return _independent(self._problem, penalty, dtype)
        return _by_class(self._inverses.to(dtype))


def _independent(problem: Problem, penalty: torch.Tensor, dtype: torch.dtype) -> Apply:
    """Returns the inverse of lambda + (B / N) x Z'Z, in the eigenvectors of both factors.

    Classes that are taken for one another are coupled in B as in H.
    """
    weights, classes = torch.linalg.eigh(problem.curvature / problem.rows.shape[1])
    scale = 1 / (penalty[:, None, None] + weights.clamp(min=0.0)[:, :, None] * problem.rows.spectrum)
    scale, classes = scale.to(dtype), classes.to(dtype)
    if problem.rows.basis is None:
        return lambda value: classes @ ((classes.mT @ value) * scale)
    basis = problem.rows.basis.to(dtype)
    return lambda value: classes @ (((classes.mT @ value) @ basis) * scale) @ basis.mT


def _by_class(inverses: torch.Tensor) -> Apply:
    """Returns the product with each class's inverse block, (R, K, r, r); no step moves all classes alike."""

    def apply(value: torch.Tensor) -> torch.Tensor:
        step = (inverses @ value[..., None])[..., 0]
        return step - step.mean(1, keepdim=True)

    return apply


def _inverted_blocks(problem: Problem, penalty: torch.Tensor) -> torch.Tensor | None:
    """Returns (lambda + Z' diag(p_k (1 - p_k)) Z)^-1 of each class k, (R, K, r, r) float32.

    None where one is not positive definite after rounding.
    """
    draws, _, width = problem.rows.shape
    spread = problem.spread()
    blocks = torch.zeros(draws, problem.classes, width, width, dtype=torch.float32, device=penalty.device)
    for start, stop, rows in problem.rows.blocks(torch.float32):
        for k in range(problem.classes):
            blocks[:, k].baddbmm_((rows * spread[:, start:stop, k, None]).mT, rows)
    for k in range(problem.classes):
        block = blocks[:, k].double()
        block.diagonal(dim1=-2, dim2=-1).add_(penalty[:, None])
        factor, failed = torch.linalg.cholesky_ex(block)
        if failed.any():
            return None
        blocks[:, k] = torch.cholesky_inverse(factor).float()
    return blocks
