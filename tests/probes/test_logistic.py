"""The sweep against scikit-learn, against a float64 certificate of its own, and against wrong use."""

import warnings
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from probebench.probes import logistic_sweep, stream
from tests.arithmetic import tf32_asked_for
from tests.probes.certificate import check

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def data(classes: int, count: int, width: int, seed: int = 0, shift: float = 0.0) -> tuple[Matrix, Labels]:
    """Overlapping classes with gaps between their labels; every class occurs."""
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, max(0, count - classes))])
    centres = generator.normal(size=(classes, width))
    return centres[y] + 1.5 * generator.normal(size=(len(y), width)) + shift, y * 3 + 1


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize(("count", "width"), [(30, 50), (200, 10), (40, 40)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coefficients_are_scikit_learns(classes: int, count: int, width: int, fit_intercept: bool) -> None:
    X, y = data(classes, count, width, shift=5.0)
    Cs = [1e-3, 1.0, 1e2]
    fit = logistic_sweep(X, y, [np.arange(len(y))], Cs, tol=1e-11, fit_intercept=fit_intercept)
    for j, C in enumerate(Cs):
        reference = LogisticRegression(
            C=C, tol=1e-10, max_iter=10_000, solver="newton-cg", fit_intercept=fit_intercept
        ).fit(X, y)
        assert fit.coef(0, j).shape == reference.coef_.shape
        assert fit.intercept(0, j).shape == reference.intercept_.shape
        scale = np.abs(reference.coef_).max()
        assert np.allclose(fit.coef(0, j), reference.coef_, atol=1e-4 * scale)
        assert np.allclose(fit.intercept(0, j), reference.intercept_, atol=1e-3 * max(scale, 1))


KINDS = [
    "plain",
    "duplicates",
    "constant features",
    "far from zero",
    "far away",
    "scaled",
    "low rank",
    "zero",
    "outlier",
]


def shaped(kind: str, classes: int, count: int, width: int, seed: int) -> tuple[Matrix, Labels]:
    X, y = data(classes, count, width, seed)
    generator = np.random.default_rng(seed + 1)
    if kind == "duplicates":
        X = X[generator.integers(0, max(1, len(X) // 3), len(X))]
    elif kind == "constant features":
        X[:, ::2] = 7.0
    elif kind == "far from zero":
        X += 1e3
    elif kind == "far away":
        X += 1e6
    elif kind == "scaled":
        X *= 10.0 ** generator.integers(-8, 9)
    elif kind == "low rank":
        X = np.outer(X[:, 0], generator.normal(size=width))
    elif kind == "zero":
        X *= 0
    elif kind == "outlier":
        X[0] *= 100
    return X, y


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(KINDS),
    st.sampled_from([2, 3, 5, 20]),
    st.sampled_from([1, 2, 5, 10]),
    st.sampled_from([1, 2, 5, 30, 120]),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_any_shape_reaches_the_float64_optimum(
    kind: str, classes: int, each: int, width: int, direct: bool, seed: int
) -> None:
    """One sample a class, N below and above D, two classes and many, repeated and degenerate rows, any scale."""
    X, y = shaped(kind, classes, classes * each, width, seed)
    # Strengths that span the whole range for features of this size.
    Cs = np.array([1e-4, 1.0, 1e-2, 1e3]) / (float(X.var(axis=0).sum()) or 1.0)
    with pytest.MonkeyPatch.context() as patch:
        if not direct:
            patch.setattr("probebench.probes.sizes.MOST", 0)
        check(X, y, logistic_sweep(X, y, [np.arange(len(y))], Cs))


@pytest.fixture(params=["direct", "iterative"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems by either way of solving."""
    if request.param == "iterative":
        monkeypatch.setattr("probebench.probes.sizes.MOST", 0)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("factor", [1e-150, 1e-20, 1e20, 1e150])
def test_huge_and_tiny_features(factor: float) -> None:
    """Features times s at strength C / s^2 are the same problem."""
    X, y = data(4, 24, 12)
    one = logistic_sweep(X, y, [np.arange(24)], [0.3])
    other = logistic_sweep(X * factor, y, [np.arange(24)], [0.3 / factor / factor])
    assert np.allclose(one.coef(0, 0), other.coef(0, 0) * factor, rtol=1e-6, atol=1e-9)
    assert one.gap[0, 0] / one.objective[0, 0] == pytest.approx(other.gap[0, 0] / other.objective[0, 0], rel=0.5)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("factor", [1e-300, 1e-160, 1e160, 1e300])
def test_what_float64_cannot_hold_is_a_value_error_or_right(factor: float) -> None:
    X, y = data(4, 24, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = logistic_sweep(X * factor, y, [np.arange(24)], [1.0])
        except ValueError as error:
            assert "float64" in str(error)
        else:
            assert not fit.converged.all() or np.isfinite(fit.coef(0, 0)).all()


def test_hundreds_of_classes_one_row_each() -> None:
    X, y = data(300, 300, 24)
    fit = logistic_sweep(X, y, [np.arange(300)], [1e-3, 1.0])
    assert fit.converged.all() and fit.coef(0, 0).shape == (300, 24)
    check(X, y, fit)


@pytest.mark.usefixtures("either")
def test_separable_rows_at_weak_regularisation() -> None:
    """The loss goes to zero there, and relative gaps are of tiny numbers."""
    X, y = data(5, 25, 60)
    fit = logistic_sweep(X, y, [np.arange(25)], np.logspace(-6, 8, 29))
    check(X, y, fit)
    assert (fit.score(X, y)[0, -1]) == 1


@pytest.mark.usefixtures("either")
def test_conflicting_duplicates() -> None:
    X, y = data(3, 30, 8)
    X, y = np.vstack([X, X]), np.concatenate([y, np.roll(y, 1)])
    check(X, y, logistic_sweep(X, y, [np.arange(60)], np.logspace(-4, 6, 6)))


@pytest.mark.usefixtures("either")
def test_ill_conditioned_features() -> None:
    X, y = data(4, 80, 10)
    X *= 10.0 ** np.linspace(-3, 3, 10)
    check(X, y, logistic_sweep(X, y, [np.arange(80)], np.logspace(-6, 4, 5)))


def test_large_rows_in_blocks_reach_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The float32 path of large data, forced onto small ones, with rows kept and with rows read again."""
    X, y = data(6, 400, 20, shift=300.0)
    X = X.astype(np.float32).astype(np.float64)
    Cs = np.logspace(-4, 3, 8)
    small = logistic_sweep(X, y, [np.arange(400)], Cs)
    given = X.copy()
    monkeypatch.setattr("probebench.probes.sizes.SMALL", 0)
    monkeypatch.setattr(stream, "BLOCK", 20 * 64)
    kept = logistic_sweep(X.astype(np.float32), y, [np.arange(400)], Cs)
    read = logistic_sweep(X.astype(np.float32), y, [np.arange(400)], Cs, memory=0)
    double = logistic_sweep(X, y, [np.arange(400)], Cs)
    assert np.array_equal(X, given), "the caller's array is left alone"
    assert np.allclose(double.objective, kept.objective, rtol=2e-6)
    check(X, y, kept)
    assert kept.work.float32 > 0
    assert np.allclose(small.objective, kept.objective, rtol=2e-6)
    assert np.allclose(read.objective, kept.objective, rtol=2e-6) and read.converged.all()
    for j in range(len(Cs)):
        assert np.allclose(kept.coef(0, j), read.coef(0, j), atol=1e-3 * np.abs(kept.coef(0, j)).max())


class Blocks:
    """A row source that counts the most rows asked for at once."""

    def __init__(self, rows: Matrix) -> None:
        self.rows, self.most = rows, 0
        self.shape = rows.shape

    def read(self, positions: npt.NDArray[Any]) -> Matrix:
        self.most = max(self.most, len(positions))
        taken: Matrix = self.rows[positions]
        return taken


def test_rows_from_disk_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probebench.probes.sizes.SMALL", 0)
    monkeypatch.setattr(stream, "BLOCK", 20 * 300)
    X, y = data(4, 900, 20)
    source = Blocks(X)
    fit = logistic_sweep(source, y, [np.arange(900)], [0.1, 1.0], memory=0)
    assert source.most <= 300
    check(X, y, fit)
    assert np.array_equal(fit.predict(source), fit.predict(X))


def test_memory_maps_hdf5_and_tensors_are_features_too(tmp_path: Any) -> None:
    X, y = data(3, 30, 6)
    np.save(tmp_path / "X.npy", X)
    draw = np.random.default_rng(0).permutation(30)[:20]
    expected = logistic_sweep(X, y, [draw], [1.0]).coef(0, 0)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        stored = file.create_dataset("X", data=X)
        for features in (np.load(tmp_path / "X.npy", mmap_mode="r"), torch.as_tensor(X), X.tolist(), stored):
            assert np.array_equal(logistic_sweep(features, y, [draw], [1.0]).coef(0, 0), expected)


@pytest.mark.usefixtures("either")
def test_draws_are_solved_as_if_alone() -> None:
    """Draws of one shape go side by side, and others by themselves; neither changes what comes out."""
    X, y = data(5, 200, 30)
    generator = np.random.default_rng(1)
    draws = [generator.permutation(200)[:40] for _ in range(4)] + [np.arange(17), np.arange(150)]
    Cs = [1e-2, 1.0, 30.0]
    together = logistic_sweep(X, y, draws, Cs, tol=1e-10)
    for i, draw in enumerate(draws):
        alone = logistic_sweep(X, y, [draw], Cs, tol=1e-10)
        assert np.allclose(together.objective[i], alone.objective[0], rtol=1e-9)
        for j in range(3):
            assert np.allclose(together.coef(i, j), alone.coef(0, j), atol=2e-4)
        check(X[draw], y[draw], together, i)


def test_strengths_keep_their_order() -> None:
    X, y = data(3, 40, 5)
    Cs = [10.0, 1e-3, 1.0, 1e-3]
    fit = logistic_sweep(X, y, [np.arange(40)], Cs)
    assert fit.Cs.tolist() == Cs
    norms = [float(np.linalg.norm(fit.coef(0, j))) for j in range(4)]
    assert norms[0] > norms[2] > norms[1] == pytest.approx(norms[3], rel=1e-3)
    check(X, y, fit)


def test_a_class_that_a_draw_lacks_is_left_out_of_it() -> None:
    X, y = data(4, 80, 6)
    without = np.flatnonzero(y != 4)
    two = np.flatnonzero(np.isin(y, [1, 10]))
    fit = logistic_sweep(X, y, [without, np.arange(80), two], [1.0, 1e3])
    assert fit.classes(0).tolist() == [1, 7, 10] and fit.coef(0, 0).shape == (3, 6)
    assert fit.coef(2, 0).shape == (1, 6) and fit.intercept(2, 1).shape == (1,)
    predicted = fit.predict(X)
    assert predicted.shape == (3, 2, 80) and predicted.dtype == y.dtype
    assert not (predicted[0] == 4).any() and set(np.unique(predicted[2])) <= {1, 10}


def test_predictions_and_scores_are_those_of_the_coefficients() -> None:
    X, y = data(5, 60, 80)
    other, truth = data(5, 50, 80, seed=1)
    draws = [np.arange(30), np.arange(60)]
    fit = logistic_sweep(X, y, draws, [0.1, 10.0])
    predicted, score = fit.predict(other), fit.score(other, truth)
    for i in range(2):
        for j in range(2):
            scores = other @ fit.coef(i, j).T + fit.intercept(i, j)
            assert np.array_equal(predicted[i, j], fit.classes(i)[scores.argmax(axis=1)])
            assert score[i, j] == (predicted[i, j] == truth).mean()


@pytest.mark.usefixtures("either")
def test_the_order_of_rows_does_not_matter() -> None:
    X, y = data(3, 50, 8)
    turned = np.random.default_rng(0).permutation(50)
    one = logistic_sweep(X, y, [np.arange(50)], [1.0], tol=1e-12)
    other = logistic_sweep(X, y, [turned], [1.0], tol=1e-12)
    assert np.allclose(one.coef(0, 0), other.coef(0, 0), atol=1e-7)


def test_two_runs_are_equal_to_the_bit() -> None:
    X, y = data(5, 60, 80)
    one, other = (logistic_sweep(X, y, [np.arange(60)], [0.1, 10.0]) for _ in range(2))
    assert np.array_equal(one.coef(0, 1), other.coef(0, 1))


def test_an_unconverged_fit_says_so_and_is_warned_about_once() -> None:
    X, y = data(5, 60, 80)
    with pytest.warns(ConvergenceWarning, match="of 3 fits stopped short") as caught:
        fit = logistic_sweep(X, y, [np.arange(60)], [1e-3, 1.0, 1e4], max_iter=1)
    assert len(caught) == 1
    assert not fit.converged[0, 2] and fit.iterations.max() == 1
    assert fit.gap[0, 2] > 1e-6 * fit.objective[0, 2]


def test_a_converged_sweep_warns_about_nothing() -> None:
    X, y = data(5, 60, 80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logistic_sweep(X, y, [np.arange(60)], np.logspace(-6, 6, 13))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gradient_norm_is_that_of_the_objective(classes: int) -> None:
    X, y = data(classes, 40, 6, shift=3.0)
    with pytest.warns(ConvergenceWarning):
        fit = logistic_sweep(X, y, [np.arange(40)], [2.0], max_iter=1, tol=1e-12)
    W, b = fit.coef(0, 0), fit.intercept(0, 0)
    if classes == 2:
        residual = 1 / (1 + np.exp(-(X @ W.T + b))) - (y > 1)[:, None]
    else:
        scores = np.exp(X @ W.T + b)
        residual = scores / scores.sum(axis=1, keepdims=True) - np.eye(4)[(y - 1) // 3]
    gradient = 2.0 * residual.T @ (X - X.mean(axis=0)) + W
    assert fit.gradient_norm[0, 0] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


def test_progress_counts_every_fit() -> None:
    X, y = data(3, 60, 5)
    told: list[int] = []
    logistic_sweep(X, y, [np.arange(20), np.arange(20, 40), np.arange(45)], [0.1, 1.0], on_progress=told.append)
    assert sum(told) == 6


def bad(name: str) -> tuple[Any, Any, Any, Any]:
    X, y = data(3, 12, 4)
    draws: Any = [np.arange(12)]
    Cs: Any = [1.0]
    if name == "nan":
        X[3, 1] = np.nan
    elif name == "infinite":
        X[3, 1] = np.inf
    elif name == "one class":
        y = np.zeros(12, np.int64)
    elif name == "one class in a draw":
        draws = [np.arange(12), np.flatnonzero(y == 1)]
    elif name == "lengths":
        y = y[:-1]
    elif name == "zero":
        Cs = [1.0, 0.0]
    elif name == "negative":
        Cs = [-1.0]
    elif name == "infinite strength":
        Cs = [np.inf]
    elif name == "no strengths":
        Cs = []
    elif name == "empty draw":
        draws = [np.arange(12), np.array([], dtype=np.int64)]
    elif name == "no draws":
        draws = []
    elif name == "outside":
        draws = [np.array([0, 1, 12])]
    elif name == "not numbers":
        draws = [np.array([0.5, 1.5])]
    elif name == "flat":
        X = X[:, 0]
    elif name == "no features":
        X = X[:, :0]
    elif name == "text":
        X = X.astype(str)
    return X, y, draws, Cs


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nan", "NaN or infinite"),
        ("infinite", "NaN or infinite"),
        ("one class", "one class only"),
        ("one class in a draw", "draw 1 has one class only"),
        ("lengths", "12 rows and y has 11 labels"),
        ("zero", "positive, finite"),
        ("negative", "positive, finite"),
        ("infinite strength", "positive, finite"),
        ("no strengths", "at least one"),
        ("empty draw", "draw 1 is empty"),
        ("no draws", "at least one array"),
        ("outside", "outside 0 to 11"),
        ("not numbers", "1-D array of row numbers"),
        ("flat", r"must be \(N, D\)"),
        ("no features", "no features"),
        ("text", "real numbers"),
    ],
)
def test_wrong_use_is_a_clear_value_error(name: str, said: str) -> None:
    X, y, draws, Cs = bad(name)
    with pytest.raises(ValueError, match=said):
        logistic_sweep(X, y, draws, Cs)


def test_nan_in_large_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probebench.probes.sizes.SMALL", 0)
    X, y, draws, Cs = bad("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        logistic_sweep(X, y, draws, Cs)


def test_devices_tolerances_and_evaluation_rows_are_checked() -> None:
    X, y = data(3, 12, 4)
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        logistic_sweep(X, y, [np.arange(12)], [1.0], device="tpu?")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            logistic_sweep(X, y, [np.arange(12)], [1.0], device="cuda")
    with pytest.raises(ValueError, match="tol must be positive"):
        logistic_sweep(X, y, [np.arange(12)], [1.0], tol=0)
    for limit in (-1, 0, 1.5, True):
        with pytest.raises(ValueError, match="max_iter must be a positive whole number"):
            logistic_sweep(X, y, [np.arange(12)], [1.0], max_iter=limit)  # type: ignore[arg-type]
    fit = logistic_sweep(X, y, [np.arange(12)], [1.0])
    with pytest.raises(ValueError, match="5 features"):
        fit.predict(np.ones((2, 5)))
    with pytest.raises(ValueError, match="X_eval has 2 rows"):
        fit.score(np.ones((2, 4)), y)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_optimum() -> None:
    X, y = data(10, 400, 64)
    draws = [np.arange(50), np.arange(50, 100), np.arange(400)]
    here, there = (logistic_sweep(X, y, draws, np.logspace(-4, 4, 9), device=name) for name in ("cpu", "cuda"))
    assert there.converged.all()
    assert np.allclose(here.objective, there.objective, rtol=2e-6)


def test_products_are_in_float32_whatever_is_asked_for_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(3, 40, 64)
    monkeypatch.setattr("probebench.probes.sizes.MOST", 0)
    with tf32_asked_for() as watched:
        logistic_sweep(X, y, [np.arange(40)], [1.0])
    assert watched.arithmetic == {"ieee"}
