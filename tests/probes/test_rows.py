import numpy as np
import pytest
import torch

from probebench.probes import stream
from probebench.probes.base import ArrayRows
from probebench.probes.rows import Rows, dense, large, reduced, symmetric_eigen
from probebench.probes.stream import Feed

WIDE = torch.randn(2, 12, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 100


def feed(features: torch.Tensor, keep: bool = True) -> Feed:
    room = 4 * features.numel() if keep else 0
    return Feed.of(ArrayRows(features.numpy()), np.arange(len(features)), torch.device("cpu"), room)


def whole(rows: Rows, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.cat([block for _, _, block in rows.blocks(dtype)], dim=1)


def given(rows: Rows) -> torch.Tensor:
    """Turns rows back and undoes centring, (R, N, D)."""
    turned = whole(rows) if rows.expand is None else whole(rows) @ rows.expand
    return turned * rows.scale[:, None, None] + rows.mean[:, None]


def centred(features: torch.Tensor) -> torch.Tensor:
    rows = features - features.mean(1, keepdim=True)
    return rows / rows.square().sum(2).mean(1).sqrt()[:, None, None]


@pytest.mark.parametrize("kind", ["plain", "duplicates", "outlier"])
def test_reduced_rows_keep_all_inner_products(kind: str) -> None:
    features = WIDE.clone()
    if kind == "duplicates":
        features[:, 6:] = features[:, :6]
    if kind == "outlier":
        features[0, 0] *= 1e4
    rows = reduced(features.clone(), True)
    Z, expected = whole(rows), centred(features)
    assert Z.shape[2] <= 11 and rows.expand is not None
    assert torch.allclose(Z @ Z.mT, expected @ expected.mT, atol=1e-10)
    # The basis is orthonormal where it is used, and gives the rows back.
    assert torch.allclose(Z @ rows.expand, expected, atol=1e-10)
    used = Z.abs().sum(1) > 0
    gram = rows.expand @ rows.expand.mT
    assert torch.allclose(gram, torch.diag_embed(used.double()), atol=1e-9)
    assert (rows.dropped < 1e-20).all()


def test_the_mean_and_the_scale_undo_centring() -> None:
    rows = dense(WIDE.mT.clone(), True)
    assert torch.allclose(given(rows), WIDE.mT)
    assert torch.allclose(whole(rows).square().sum(2).mean(1), torch.ones(2, dtype=torch.float64))
    plain = dense(WIDE.mT.clone(), False)
    assert (plain.mean == 0).all()


def test_the_spectrum_is_that_of_the_rows() -> None:
    for rows in (reduced(WIDE.clone(), True), dense(WIDE.mT.clone(), True)):
        Z = whole(rows)
        expected = torch.linalg.eigvalsh(Z.mT @ Z)
        assert torch.allclose(rows.spectrum[:, 0].sort(-1).values, expected, atol=1e-9)
        assert torch.allclose(Z.mT @ Z, torch.diag_embed(rows.spectrum[:, 0]), atol=1e-9), "Z'Z is diagonal"
        assert (rows.top >= expected[:, -1] - 1e-9).all()


@pytest.mark.parametrize("keep", [True, False])
def test_large_rows_come_in_blocks_and_are_those_of_dense_ones(keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK", 12 * 256)
    features = torch.randn(1000, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 50
    rows = large(feed(features, keep), True)
    expected = dense(features[None].clone(), True)
    small = [(0, 256), (256, 512), (512, 768), (768, 1000)]
    assert [(start, stop) for start, stop, _ in rows.blocks(torch.float64)] == small
    # What needs no copy comes in larger pieces.
    assert [(start, stop) for start, stop, _ in rows.blocks(torch.float32)] == ([(0, 1000)] if keep else small)
    assert torch.allclose(given(rows)[0], features, atol=1e-5) and torch.allclose(rows.mean, expected.mean)
    # A few of the rows tell the scale and the spectrum.
    assert float(rows.scale) == pytest.approx(float(expected.scale), rel=0.1)
    assert float(rows.spectrum.sum()) == pytest.approx(1000, rel=0.1)
    assert float(rows.top) == pytest.approx(float(whole(rows).square().sum()), rel=1e-5)


def test_turned_rows_are_exact_to_float32_in_every_coordinate() -> None:
    """Also in those of a millionth of the largest, which rounding before turning would cover with noise."""
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=g))[0]
    features = torch.randn(1000, 12, dtype=torch.float64, generator=g) * torch.logspace(0, -6, 12).double() @ turn
    rows = large(feed(features), True)
    assert rows.expand is not None
    exact = (features - rows.mean[0]) / rows.scale[0] @ rows.expand[0].mT
    off = (whole(rows, torch.float32)[0].double() - exact).norm(dim=0) / exact.norm(dim=0)
    assert float(exact.norm(dim=0).min() / exact.norm(dim=0).max()) < 1e-5
    assert float(off.max()) < 1e-7


def test_dead_features_are_left_out_and_come_back_as_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK", 12 * 256)
    features = torch.randn(1000, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features[:, [1, 5, 6]] = 3.0
    rows = large(feed(features), True)
    assert rows.shape == (1, 1000, 9) and rows.spectrum.shape == (1, 1, 9)
    assert torch.allclose(given(rows)[0], features, atol=1e-5)
    assert 0 <= float(rows.dropped) < 1e-15 * 1000


def test_rows_that_are_all_alike_have_no_spread() -> None:
    rows = reduced(torch.ones(1, 3, 5, dtype=torch.float64), True)
    assert (whole(rows) == 0).all() and rows.scale.tolist() == [1.0]
    same = large(feed(torch.ones(9, 2)), True)
    assert (whole(same, torch.float32) == 0).all() and same.scale.tolist() == [1.0]


@pytest.mark.parametrize("shape", [(6, 6), (3, 5, 5)])
def test_eigenvectors_are_found_where_torch_gives_up(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    root = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = root @ root.mT
    expected, _ = torch.linalg.eigh(matrix)

    def gives_up(_: torch.Tensor) -> None:
        raise torch.linalg.LinAlgError("failed to converge")  # type: ignore[attr-defined]

    monkeypatch.setattr(torch.linalg, "eigh", gives_up)
    values, vectors = symmetric_eigen(matrix)
    assert torch.allclose(values, expected)
    assert torch.allclose(vectors @ torch.diag_embed(values) @ vectors.mT, matrix)
