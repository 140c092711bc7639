"""The objective of the logistic probe, its residual and its curvature, with small residuals kept exact.

Over N rows z_i with labels y_i among K classes, coefficients V (K, r) and an intercept b (K,):

    f(V, b) = sum_i logloss(y_i, V z_i + b) + lambda/2 ||V||^2,        lambda = 1 / C

C f is scikit-learn's objective, C * sum_i logloss + 1/2 ||V||^2. With two classes scikit-learn's binomial one has a
single row w and scores (0, w z + b). It is this one at 2 lambda: there V = (-w/2, w/2) and ||V||^2 = ||w||^2 / 2.

With P = softmax(scores) and Y the one-hot labels, both (N, K), the residual is R = P - Y, the gradient in V is
R' Z + lambda V, and the curvature along a direction with scores T = Z D' + d is H(T) = P * (T - sum_c P_c T_c).

Where a probe is sure, 1 - P of the own class is far below the rounding of P itself (1e-16, or 6e-8 in float32), and
weakly regularised fits live there. So scores are taken relative to the own class's: the loss is log1p of the others'
sum, the own residual is minus the sum of the others', and the curvature needs no difference of near-equal numbers.

Tensors carry the R draws that are solved side by side in front: scores (R, N, K), own classes (R, N, 1).
"""

import torch


def residual_(scores: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns scores into the residual P - Y, in place.

    Args:
        scores: (R, N, K), overwritten.
        own: Position of each row's class, (R, N, 1).

    Returns:
        The summed log-loss of each draw, (R,) float64, and the own class's probability, (R, N, 1): 1 plus its residual
        would lose one that is small.
    """
    scores -= scores.gather(-1, own)
    top = scores.amax(-1, keepdim=True)
    scores.sub_(top).exp_()
    scores.scatter_(-1, own, 0.0)
    others = scores.sum(-1, keepdim=True)
    alone = torch.exp(-top)
    total = others + alone
    loss = torch.where(top == 0, torch.log1p(others), top + torch.log(total))
    scores /= total
    scores.scatter_(-1, own, -others / total)
    return loss.sum((-2, -1), dtype=torch.float64), alone / total


def intercept_pull(directions: torch.Tensor, probabilities: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Returns sum_i H(T)_i, (R, 1, K), for direction scores T (R, N, K): what they do to the intercept's gradient."""
    relative = directions - directions.gather(-1, own)
    weighted = relative.mul_(probabilities)
    mean = weighted.sum(-1, keepdim=True)
    return weighted.sum(1, keepdim=True) - mean.mT @ probabilities


def curvature_(directions: torch.Tensor, shift: torch.Tensor, probabilities: torch.Tensor, own: torch.Tensor) -> None:
    """Turns direction scores T (R, N, K) into H(T + d) in place, d (R, 1, K) being the intercept's direction.

    H does not change when a row of T is shifted, so T is taken relative to its own class's entry.
    """
    directions += shift
    directions -= directions.gather(-1, own)
    directions *= probabilities
    mean = directions.sum(-1, keepdim=True)
    directions.addcmul_(probabilities, mean, value=-1.0)


def intercept_curvature(probabilities: torch.Tensor) -> torch.Tensor:
    """Returns sum_i diag(p_i) - p_i p_i', (R, K, K) in float64: the curvature in the intercept.

    Its rows sum to zero, which gives the diagonal without the cancellation in p - p^2: it is what the others sum to.
    """
    matrix = -(probabilities.mT @ probabilities).double()
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    diagonal.zero_()
    diagonal -= matrix.sum(-1)
    return matrix
