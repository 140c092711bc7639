"""What a sweep gives: the fits of all draws at all strengths, kept in the coordinates that they were solved in."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probebench.probes.base import as_source, blocks
from probebench.probes.problem import Work
from probebench.probes.regularization_path import Solution
from probebench.probes.rows import Rows


@dataclass
class FittedDraw:
    """One draw's fits in the coordinates of its rows.

    Attributes:
        classes: Its K labels, ascending.
        solutions: One a strength, in the order solved; tensors lie on the CPU.
        expand: Maps coefficients to features, (r, D); None where r = D.
        mean: Subtracted from features, (D,).
        scale: Divides them.
    """

    classes: npt.NDArray[Any]
    solutions: list[Solution]
    expand: torch.Tensor | None
    mean: torch.Tensor
    scale: float


@dataclass(kw_only=True)
class SweepFit:
    """Probes for every draw i and every strength j, in the order of ``draws`` and ``Cs``.

    Attributes:
        Cs: The strengths, (J,).
        objective: Value of the objective, (I, J).
        gap: Certified bound on how far it is above the optimum, (I, J).
        gradient_norm: Norm of the objective's gradient in W, (I, J).
        iterations: Newton steps, (I, J).
        converged: Whether gap <= tol * (objective - gap), (I, J).
        work: Products of the rows with a (K, r) matrix, and steps, over all.
    """

    Cs: npt.NDArray[np.float64]
    objective: npt.NDArray[np.float64]
    gap: npt.NDArray[np.float64]
    gradient_norm: npt.NDArray[np.float64]
    iterations: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    work: Work
    _draws: list[FittedDraw]
    _width: int

    def classes(self, i: int) -> npt.NDArray[Any]:
        """Returns the labels that occur in draw i, ascending; no other is predicted by it."""
        return self._draws[i].classes

    def coef(self, i: int, j: int) -> npt.NDArray[np.float64]:
        """Returns W of draw i at strength j, (classes, D); (1, D) with two classes, as scikit-learn has it."""
        coef, _ = self.weights(i, j)
        return coef[1:] - coef[:1] if len(coef) == 2 else coef

    def intercept(self, i: int, j: int) -> npt.NDArray[np.float64]:
        """Returns b of draw i at strength j, (classes,); (1,) with two classes."""
        _, intercept = self.weights(i, j)
        return intercept[1:] - intercept[:1] if len(intercept) == 2 else intercept

    def predict(self, X_eval: Any) -> npt.NDArray[Any]:
        """Returns the labels (I, J, n_eval) of the highest score.

        Raises:
            ValueError: ``X_eval`` is not (n_eval, D).
        """
        source = as_source(X_eval)
        if source.shape[1] != self._width:
            raise ValueError(f"X_eval has {source.shape[1]} features, but the probes were fitted on {self._width}")
        first = self._draws[0].classes
        predicted = np.empty((len(self._draws), len(self.Cs), source.shape[0]), dtype=first.dtype)
        for where, rows_read in blocks(source):
            block = torch.as_tensor(rows_read)
            for i, draw in enumerate(self._draws):
                rows = (block - draw.mean) / draw.scale
                if draw.expand is not None:
                    rows = rows @ draw.expand.mT
                for j, solution in enumerate(draw.solutions):
                    best = (rows @ solution.coef.mT + solution.intercept).argmax(1)
                    predicted[i, j, where] = draw.classes[best.numpy()]
        return predicted

    def score(self, X_eval: Any, y_eval: Any) -> npt.NDArray[np.float64]:
        """Returns accuracies (I, J).

        Raises:
            ValueError: Lengths differ.
        """
        labels = np.asarray(y_eval)
        predicted = self.predict(X_eval)
        if labels.shape != predicted.shape[2:]:
            raise ValueError(f"y_eval has shape {labels.shape}, but X_eval has {predicted.shape[2]} rows")
        accuracy: npt.NDArray[np.float64] = (predicted == labels).mean(axis=2)
        return accuracy

    def weights(self, i: int, j: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns coefficients (K, D) and intercepts (K,), one row a class even where there are two."""
        draw = self._draws[i]
        solution = draw.solutions[j]
        coef = solution.coef if draw.expand is None else solution.coef @ draw.expand
        coef = coef / draw.scale
        return coef.numpy(), (solution.intercept - coef @ draw.mean).numpy()


def take_draw(rows: Rows, classes: npt.NDArray[Any], solved: Sequence[Solution], place: int) -> FittedDraw:
    """Takes one draw's part out of solutions for several."""
    parts = [one.part(place) for one in solved]
    expand = None if rows.expand is None else rows.expand[place].cpu()
    return FittedDraw(classes, parts, expand, rows.mean[place].cpu(), float(rows.scale[place]))


def collect(
    draws: list[FittedDraw], strengths: npt.NDArray[np.float64], tol: float, work: Work, width: int
) -> SweepFit:
    """Puts draws together, and warns once where fits stopped short."""

    def table(name: str) -> npt.NDArray[np.float64]:
        return np.array([[float(getattr(one, name)) for one in draw.solutions] for draw in draws])

    objective, gap = table("objective"), table("gap")
    converged = gap <= tol * (objective - gap)
    if not converged.all():
        from sklearn.exceptions import ConvergenceWarning

        worst = float((gap / objective).max())
        warnings.warn(
            f"{int((~converged).sum())} of {converged.size} fits stopped short of tol = {tol:g} (worst relative gap "
            f"{worst:.1e}); they say converged = False; raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=3,
        )
    scale = np.array([[draw.scale] for draw in draws])
    # Half of the two mirror images' norm squared is the binomial one's; scaled features scale the gradient.
    mirrored = np.array([[math.sqrt(0.5) if len(draw.classes) == 2 else 1.0] for draw in draws])
    return SweepFit(
        Cs=strengths,
        objective=objective,
        gap=gap,
        gradient_norm=table("gradient_norm") * scale * mirrored,
        iterations=table("iterations").astype(np.int64),
        converged=converged,
        work=work,
        _draws=draws,
        _width=width,
    )
