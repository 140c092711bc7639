"""Directions of large problems in TF32, by a stand-in that rounds operands: as many steps, and the same certificate."""

from typing import Any

import numpy as np
import pytest
import torch

from probebench.device import full_float32, tf32_products
from probebench.probes import SweepFit, logistic_sweep, sizes
from tests.arithmetic import RoundedProducts
from tests.probes.certificate import check


def problem(decay: float, classes: int, apart: float, scale: float = 1.0) -> tuple[Any, Any]:
    """Rows (1,500, 48) whose coordinates have standard deviations of (1 + k)^-decay, turned at random."""
    generator = np.random.default_rng(0)
    deviations = (1.0 + np.arange(48)) ** -decay
    labels = generator.integers(0, classes, 1500)
    centres = apart * generator.normal(size=(classes, 48)) * deviations
    rows = centres[labels] + generator.normal(size=(1500, 48)) * deviations
    rotation = np.linalg.qr(generator.normal(size=(48, 48)))[0]
    return (scale * rows @ rotation).astype(np.float32), labels


PROBLEMS = {
    "classes apart": (problem(0.6, 6, 1.0), np.logspace(-4, 4, 5)),
    "classes that overlap": (problem(0.6, 4, 0.2), np.logspace(-3, 3, 4)),
    "ill-conditioned": (problem(2.5, 6, 0.3), np.logspace(-2, 6, 5)),
    "two classes, large features": (problem(1.5, 2, 0.3, scale=1e3), np.logspace(-6, 2, 5)),
}


def swept(name: str, memory: int | None = None) -> SweepFit:
    (rows, labels), strengths = PROBLEMS[name]
    return logistic_sweep(rows, labels, [np.arange(len(labels))], strengths, memory=memory)


@pytest.mark.parametrize("name", PROBLEMS)
def test_directions_in_tf32_take_as_many_steps_to_the_same_certificate(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "SMALL", 0)
    exact = swept(name)
    with RoundedProducts() as products:
        rounded = swept(name)
    assert products.rounded and rounded.converged.all()
    (rows, labels), _ = PROBLEMS[name]
    check(rows, labels, rounded)
    assert rounded.work.newton <= 1.05 * exact.work.newton
    assert rounded.work.cg <= 1.05 * exact.work.cg


def test_rows_that_are_not_turned_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MOST", 0)
    monkeypatch.setattr(sizes, "SMALL", 0)
    with RoundedProducts() as products:
        assert swept("classes that overlap", memory=0).work.float32
    assert not products.rounded


def test_tf32_is_allowed_inside_and_put_back_where_the_process_asks_for_float32() -> None:
    products: Any = torch.backends.cuda.matmul
    with full_float32():
        with tf32_products():
            assert products.fp32_precision == "tf32"
        assert products.fp32_precision == "ieee"
        with pytest.raises(ValueError), tf32_products():
            raise ValueError
        assert products.fp32_precision == "ieee"
