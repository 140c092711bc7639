"""L-BFGS as scikit-learn before 1.4 ran it; that release's own labels are in test_fidelity.py."""

import numpy as np
import pytest
from scipy.optimize import minimize

from probebench.probes import lbfgs
from probebench.probes.base import Labelled
from tests.probes.test_sklearn import blobs, objective, value


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_scipys_on_the_objective_written_out(classes: int) -> None:
    """The same stops on sum of losses + ||W||^2 / (2 C), with gradients by differences in place of our own."""
    data = blobs(classes, 8, 3)
    rows, strength = 1 if classes == 2 else classes, 3.0

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(rows, 4)
        own = np.unique(data.labels)
        return objective(weights[:, :-1], weights[:, -1], data, own, strength, classes == 2) / strength

    theirs = minimize(loss, np.zeros(rows * 4), method="L-BFGS-B", options={"gtol": 1e-4, "maxiter": 1000})
    ((probe,),) = lbfgs.fit_paths([data], [strength], max_iter=1000)
    assert value(probe, data) / strength == pytest.approx(theirs.fun, rel=1e-6)
    assert probe.iterations == pytest.approx(theirs.nit, abs=3) and probe.converged


def test_the_sum_stops_later_than_the_mean() -> None:
    """At the same gtol: the gradient of a mean over N rows is N times as small."""
    from probebench.probes import sklearn_

    data = blobs(4, 50, 20)
    ((summed,),), ((averaged,),) = (fit([data], [1e3], max_iter=1000) for fit in (lbfgs.fit_paths, sklearn_.fit_lbfgs))
    assert summed.iterations is not None and averaged.iterations is not None
    assert summed.iterations > averaged.iterations and value(summed, data) < value(averaged, data)


def test_steps_are_limited_and_labels_kept() -> None:
    data, told = blobs(4, 10, 8), list[int]()
    ((one, two),) = lbfgs.fit_paths([data], [1e4, 1.0], told.append, max_iter=3)
    assert one.iterations == 3 and one.converged is False and (one.strength, two.strength) == (1e4, 1.0)
    assert set(one.predict(data.matrix)) <= set(data.labels) and told == [1, 1]


def test_nan_and_a_single_class_are_refused() -> None:
    data = blobs(2, 4, 3)
    with pytest.raises(ValueError, match="not finite"):
        lbfgs.fit_paths([Labelled(np.full_like(data.features, np.nan), data.labels)], [1.0], max_iter=10)
    with pytest.raises(ValueError, match="one class only"):
        lbfgs.fit_paths([Labelled(data.features, np.zeros(8, np.int64))], [1.0], max_iter=10)
