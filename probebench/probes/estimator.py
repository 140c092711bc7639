"""The probe as a scikit-learn estimator."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probebench.probes.logistic import MAX_ITERATIONS, TOLERANCE, logistic_sweep


class LogisticProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multinomial logistic regression with an L2 penalty, at its certified optimum.

    Minimises C * sum_i logloss(y_i, x_i W + b) + 1/2 ||W||^2 with an unpenalised intercept, as scikit-learn's
    LogisticRegression states it; with two classes the binomial form.

    Args:
        C: Strength; multiplies the summed loss.
        fit_intercept: Whether b is fitted.
        tol: Relative gap of the objective that the fit is certified to.
        max_iter: Newton steps at most.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".

    Attributes:
        classes_: The labels, (classes,).
        coef_: (classes, D), or (1, D) with two classes.
        intercept_: (classes,), or (1,).
        n_iter_: Newton steps taken, (1,).
        objective_: Value of the objective.
        gap_: Certified bound on how far that is above the optimum.
        converged_: Whether gap_ is within tol.
    """

    def __init__(
        self,
        C: float = 1.0,
        fit_intercept: bool = True,
        tol: float = TOLERANCE,
        max_iter: int = MAX_ITERATIONS,
        device: str = "auto",
    ) -> None:
        """Keeps the parameters, as scikit-learn asks."""
        self.C = C
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Fits the probe to features X (N, D) and labels y (N,).

        Raises:
            ValueError: Features are not finite, lengths differ, there is one class only, or C is not positive.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, own = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"LogisticProbe needs at least two classes; the data have one class only: {self.classes_[0]!r}"
            )
        fit = logistic_sweep(
            X,
            own,
            [np.arange(len(y))],
            [self.C],
            device=self.device,
            tol=self.tol,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
        )
        self.coef_ = fit.coef(0, 0)
        self.intercept_ = fit.intercept(0, 0)
        self.n_iter_ = np.maximum(fit.iterations[0], 1)
        self.objective_ = float(fit.objective[0, 0])
        self.gap_ = float(fit.gap[0, 0])
        self.converged_ = bool(fit.converged[0, 0])
        return self

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Returns scores (n, classes), or (n,) of the second class with two."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores: npt.NDArray[np.float64] = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Returns the label of the highest score for each row, (n,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def predict_log_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Returns log p(class | x), (n, classes)."""
        from scipy.special import log_softmax

        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        logs: npt.NDArray[np.float64] = log_softmax(scores, axis=1)
        return logs

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Returns p(class | x), (n, classes)."""
        return np.exp(self.predict_log_proba(X))
