"""Every exact backend on the same rows, and which solver a protocol gets."""

import builtins
import warnings
from typing import Any

import numpy as np
import pytest

from probebench.errors import UsageError
from probebench.probes import cuml_, sklearn_, torch_
from probebench.probes.backends import backend_name, fitters
from probebench.probes.base import Labelled
from probebench.registry import Registry
from tests.probes.test_sklearn import blobs


@pytest.mark.parametrize("classes", [2, 5])
def test_torch_and_scikit_learn_agree(classes: int) -> None:
    trains = [blobs(classes, 6, 20, seed, shift=10.0) for seed in range(3)]
    strengths = [1e-2, 1.0, 1e2]
    told: list[int] = []
    ours, theirs = torch_.fit_paths(trains, strengths, told.append), sklearn_.fit_paths(trains, strengths)
    other = blobs(classes, 20, 20, 9, shift=10.0).matrix
    for mine, reference in zip(ours, theirs, strict=True):
        for one, two in zip(mine, reference, strict=True):
            assert one.strength == two.strength and np.array_equal(one.classes, two.classes)
            assert one.converged and one.gap is not None and one.gap <= 1e-6
            assert np.allclose(one.log_probabilities(other), two.log_probabilities(other), atol=0.02)
    assert sum(told) == 9


def test_the_name_that_results_record(shipped: Registry) -> None:
    assert backend_name(shipped.protocol("default"), "auto") == "torch"
    assert backend_name(shipped.protocol("dinov2_logreg"), "sklearn") == "sklearn"
    own = ("mieb", "clip_lbfgs", "clip_benchmark", "elevater")
    names = {name: backend_name(shipped.protocol(name), "auto") for name in own}
    assert names == {
        "mieb": "sklearn-lbfgs",
        "clip_lbfgs": "scipy-lbfgs",
        "clip_benchmark": "torch-adamw",
        "elevater": "torch-sgd",
    }
    with pytest.raises(UsageError, match="prescribes its own solver"):
        backend_name(shipped.protocol("mieb"), "torch")
    assert {backend_name(shipped.protocol(name), "auto") for name in ("ridge", "knn", "big_vision_lsr")} == {"numpy"}
    with pytest.raises(UsageError, match=r"--backend is for logistic probes; knn is computed exactly"):
        backend_name(shipped.protocol("knn"), "sklearn")


def test_cuml_that_is_missing_is_one_line(shipped: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    find = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("cuml", "cupy"):
            raise ImportError(name)
        return find(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'probebench\[cuml\]'.*--backend torch"):
        fitters(shipped.protocol("default"), "cuml")


class FakeRegression:
    """Stands in for cuML's class and takes its arguments; scikit-learn computes."""

    tolerance = 1e-10

    def __init__(self, C: float, tol: float, max_iter: int, linesearch_max_iter: int, output_type: str) -> None:
        from sklearn.linear_model import LogisticRegression

        assert output_type == "numpy" and linesearch_max_iter > 0
        self._model = LogisticRegression(C=C, tol=self.tolerance, max_iter=max_iter, solver="newton-cg")

    def fit(self, features: Any, labels: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.fit(features, labels)
        self.coef_, self.intercept_, self.n_iter_ = self._model.coef_, self._model.intercept_, self._model.n_iter_


@pytest.mark.parametrize("classes", [2, 4])
def test_what_is_made_of_cumls_fits(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuML itself needs a GPU; how its coefficients are read back does not."""
    monkeypatch.setattr(cuml_, "require", lambda: (FakeRegression, np.asarray))
    data = blobs(classes, 6, 5, shift=10.0)
    ((ours,),) = cuml_.fit_paths([data], [1.0])
    ((reference,),) = sklearn_.fit_paths([data], [1.0])
    assert np.array_equal(ours.classes, reference.classes)
    assert np.allclose(ours.log_probabilities(data.matrix), reference.log_probabilities(data.matrix), atol=1e-3)
    assert ours.converged and ours.iterations


@pytest.mark.parametrize("classes", [2, 4])
def test_a_fit_of_cumls_that_stopped_short_says_so(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its line search finds no step that leads down: it has taken few steps, and is not at the optimum."""
    monkeypatch.setattr(cuml_, "require", lambda: (FakeRegression, np.asarray))
    monkeypatch.setattr(FakeRegression, "tolerance", 0.1)
    ((ours,),) = cuml_.fit_paths([blobs(classes, 6, 5, shift=10.0)], [10.0])
    assert ours.iterations and ours.iterations < cuml_.ARGUMENTS["max_iter"] and not ours.converged


def test_features_go_to_the_device_once_for_all_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []

    def there(values: Any) -> Any:
        sent.append(values.shape)
        return np.asarray(values)

    monkeypatch.setattr(cuml_, "require", lambda: (FakeRegression, there))
    cuml_.fit_paths([blobs(4, 6, 5)], [0.1, 1.0, 10.0])
    assert sent.count((24, 5)) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not __import__("torch").cuda.is_available(), reason="needs a CUDA device and the cuml extra")
def test_cuml_on_a_gpu() -> None:
    pytest.importorskip("cuml")
    data = blobs(4, 30, 16)
    ((ours,),) = cuml_.fit_paths([data], [1.0])
    ((reference,),) = torch_.fit_paths([data], [1.0])
    assert np.allclose(ours.log_probabilities(data.matrix), reference.log_probabilities(data.matrix), atol=1e-3)


def test_sources_are_read_like_arrays() -> None:
    from probebench.probes.prepare import Preparation, PreparedRows

    data = blobs(3, 6, 5)
    source = Labelled(PreparedRows(data.features, Preparation(divisor=2.0)), data.labels)
    halved = Labelled(data.matrix / 2, data.labels)
    for backend in (torch_, sklearn_):
        ((one,),), ((two,),) = backend.fit_paths([source], [1.0]), backend.fit_paths([halved], [1.0])
        assert np.allclose(one.coef, two.coef)
