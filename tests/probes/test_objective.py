import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.probes.objective import curvature_, intercept_curvature, intercept_pull, residual_


def problem(rows: int, classes: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(2, rows, classes, dtype=torch.float64, generator=generator)
    return scores, torch.randint(classes, (2, rows, 1), generator=generator)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(2, 6), st.sampled_from([0.1, 1.0, 30.0]), st.integers(0, 1000))
def test_residual_and_loss_are_softmaxs(rows: int, classes: int, spread: float, seed: int) -> None:
    scores, own = problem(rows, classes, spread, seed)
    expected = torch.softmax(scores, -1).scatter_add(-1, own, torch.full_like(own, -1, dtype=torch.float64))
    logs = torch.log_softmax(scores, -1).gather(-1, own).sum((1, 2))
    residual = scores.clone()
    loss, right = residual_(residual, own)
    assert torch.allclose(loss, -logs, rtol=1e-12, atol=1e-13)
    assert torch.allclose(residual, expected, atol=1e-14)
    assert torch.allclose(right, torch.softmax(scores, -1).gather(-1, own), rtol=1e-12, atol=0), "however small it is"


@pytest.mark.parametrize(("dtype", "margin"), [(torch.float64, 80.0), (torch.float32, 40.0)])
def test_a_sure_row_keeps_its_residual_where_one_minus_p_is_zero(dtype: torch.dtype, margin: float) -> None:
    scores = torch.tensor([[[margin, 0.0, 0.0]]], dtype=dtype)
    own = torch.zeros(1, 1, 1, dtype=torch.int64)
    assert float(1 - torch.softmax(scores, -1)[0, 0, 0]) == 0
    loss, _ = residual_(scores, own)
    assert float(scores[0, 0, 0]) == pytest.approx(-2 * np.exp(-margin), rel=1e-5, abs=0)
    assert float(loss) == pytest.approx(2 * np.exp(-margin), rel=1e-5, abs=0)


def test_a_row_that_is_surely_wrong_overflows_nothing() -> None:
    scores = torch.tensor([[[0.0, 5000.0]]], dtype=torch.float64)
    loss, _ = residual_(scores, torch.zeros(1, 1, 1, dtype=torch.int64))
    assert float(loss) == 5000 and scores.flatten().tolist() == [-1.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(2, 6), st.integers(0, 1000))
def test_curvature_is_the_derivative_of_the_residual(rows: int, classes: int, seed: int) -> None:
    scores, own = problem(rows, classes, 1.0, seed)
    direction, _ = problem(rows, classes, 1.0, seed + 1)
    shift = torch.randn(2, 1, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    probabilities = torch.softmax(scores, -1)
    # The derivative along a direction, by central differences.
    step = 1e-5 * (direction + shift)
    expected = (torch.softmax(scores + step, -1) - torch.softmax(scores - step, -1)) / 2e-5
    bent = direction.clone()
    curvature_(bent, shift, probabilities, own)
    assert torch.allclose(bent, expected, atol=1e-8)
    pull = intercept_pull(direction, probabilities, own)
    curvature_(direction, torch.zeros_like(shift), probabilities, own)
    assert torch.allclose(pull, direction.sum(1, keepdim=True), atol=1e-12)


def test_curvature_of_a_sure_row_is_relatively_exact() -> None:
    """P (T - P T) as written out loses everything in float32 where P rounds to one."""
    scores = torch.tensor([[[25.0, 0.0]]], dtype=torch.float64)
    exact = torch.softmax(scores, -1)
    direction = torch.tensor([[[3.0, 7.0]]], dtype=torch.float32)
    bent = direction.clone()
    curvature_(bent, torch.zeros(1, 1, 2), exact.float(), torch.zeros(1, 1, 1, dtype=torch.int64))
    value = float(exact[0, 0, 1]) * 4
    assert bent.flatten().tolist() == pytest.approx([-value, value], rel=1e-4, abs=0)


def test_curvature_in_the_intercept() -> None:
    scores, _ = problem(9, 4, 2.0, 3)
    p = torch.softmax(scores, -1)
    expected = torch.diag_embed(p.sum(1)) - p.mT @ p
    assert torch.allclose(intercept_curvature(p), expected, atol=1e-13)
    assert torch.allclose(intercept_curvature(p).sum(-1), torch.zeros(2, 4, dtype=torch.float64), atol=1e-13)
