"""The rows that a solver sees: centred, scaled to one, and turned into the eigenvectors of their own Gram matrix.

The intercept is free, so centring changes no optimum, and neither does dividing features by s when lambda is divided by
s^2. The L2 optimum lies in the span of the rows: where N <= D, the eigenvectors of the Gram matrix, Xc Xc' = U S U',
give Z = U sqrt(S) (N, r) with the same inner products, and 100 images mean a 100-D problem. Where N > D, Xc'Xc = U S U'
gives Z = Xc U. Either way Z'Z = S is diagonal, which is the preconditioner that the solver wants.

Products run in float32 where they only steer, and in float64 where they certify. Turning the rows in float64 first is
what makes float32 enough: rounding is then relative to each coordinate, and weakly regularised fits live in those that
are a thousandth of the largest and less. On 16,000 x 1,280 rows of Fashion-MNIST at C = 1,000 conjugate gradients took
454 steps on float32 rows as they come, and 352 on turned ones, as many as in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from probebench.probes.base import RowSource
from probebench.probes.stream import BLOCK, Feed, spans_of

# Rows (R, N, r) of at most this many entries are kept in float64 beside float32; larger ones in float32 alone.
SMALL = 1 << 23
# Float32 rows of larger sets that are kept go through products in blocks of this many entries, which cost no copy.
KEPT_BLOCK = 1 << 24
# Eigenvalues below this share of the largest, times N, are rounding and not features; below CLEAN they carry enough of
# it to be seen in the objective.
RANK = 1e-15
CLEAN = 1e-8
# Coordinates of large sets are left out while they carry at most this share of the rows' squared norm: dead features.
EMPTY = 1e-18


@dataclass(kw_only=True)
class Rows:
    """The rows of R draws of one shape.

    Attributes:
        shape: R, N and r.
        blocks: Yields (start, stop, rows (R, stop - start, r)) in the dtype asked for, over all rows.
        spectrum: Eigenvalues of Z'Z (estimated from a part of the rows in large sets), (R, 1, r).
        basis: Its eigenvectors (R, r, r), for rows that are read again and not turned; None where Z'Z is diagonal.
        top: A bound on the largest eigenvalue, (R,).
        dropped: Squared norm of what the rows lack in Z, (R,).
        expand: Maps coefficients to features, (R, r, D); None where r = D.
        mean: Subtracted from the features, (R, D).
        scale: Divides the centred features, (R,).
        cheap: Whether float64 products are so small a part of the work that all evaluations use them.
    """

    shape: tuple[int, int, int]
    blocks: Callable[[torch.dtype], Iterator[tuple[int, int, torch.Tensor]]]
    spectrum: torch.Tensor
    basis: torch.Tensor | None
    top: torch.Tensor
    dropped: torch.Tensor
    expand: torch.Tensor | None
    mean: torch.Tensor
    scale: torch.Tensor
    cheap: bool


def reduced(features: torch.Tensor, centre: bool) -> Rows:
    """Builds rows for draws with N <= D, in their own span.

    Args:
        features: (R, N, D) float64, overwritten.
        centre: Whether an intercept makes centring free.
    """
    draws, count, _ = features.shape
    mean, scale = _centre_(features, centre)
    values, vectors = symmetric_eigen(features @ features.mT)
    top = values[:, -1].clamp(min=torch.finfo(torch.float64).tiny)
    floor = RANK * count * top
    # Draws of one shape share a width; where one has a lower rank, its surplus columns are zero.
    rank = max(1, int((values > floor[:, None]).sum(1).max()))
    values, vectors = values[:, -rank:], vectors[:, :, -rank:]
    kept = values > floor[:, None]
    root = torch.where(kept, values, 0.0).sqrt()
    inverse = torch.where(kept, 1.0 / torch.where(kept, root, 1.0), 0.0)
    expand = (vectors * inverse[:, None]).mT @ features
    dropped = torch.zeros_like(top)
    # Centring makes one eigenvalue zero; where more were cut off, or where small ones carry the Gram matrix's rounding,
    # coordinates are taken anew in an orthonormal basis of the same span.
    if rank < count - centre or (kept & (values < CLEAN * top[:, None])).any():
        expand = _orthonormal(expand, kept)
        rows = features @ expand.mT
        dropped = (features - rows @ expand).square().sum((1, 2))
    else:
        rows = vectors * root[:, None]
    spectrum = torch.where(kept, values, 0.0)[:, None]
    return Rows(
        shape=(draws, count, rank),
        blocks=_resident(rows),
        spectrum=spectrum,
        basis=None,
        top=top,
        dropped=dropped,
        expand=expand,
        mean=mean,
        scale=scale,
        cheap=True,
    )


def _orthonormal(basis: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Orthonormalises nearly orthonormal rows (R, r, D) by Cholesky, twice (Yamamoto et al., 2015)."""
    for _ in range(2):
        gram = basis @ basis.mT + torch.diag_embed((~kept).double())
        factor, failed = torch.linalg.cholesky_ex(gram)
        if failed.any():
            orthonormal: torch.Tensor = torch.linalg.qr(basis.mT)[0].mT * kept[..., None]
            return orthonormal
        basis = torch.linalg.solve_triangular(factor, basis, upper=False)
    return basis


def dense(features: torch.Tensor, centre: bool) -> Rows:
    """Builds rows for draws with N > D that fit into memory in both precisions.

    Args:
        features: (R, N, D) float64, overwritten.
        centre: As in ``reduced``.
    """
    draws, count, width = features.shape
    mean, scale = _centre_(features, centre)
    values, basis = symmetric_eigen(features.mT @ features)
    spectrum = values.clamp(min=0.0)[:, None]
    none = torch.zeros(draws, dtype=torch.float64, device=features.device)
    top = torch.full_like(none, float(count))
    rows = _resident(features @ basis)
    return Rows(
        shape=(draws, count, width),
        blocks=rows,
        spectrum=spectrum,
        basis=None,
        top=top,
        dropped=none,
        expand=basis.mT,
        mean=mean,
        scale=scale,
        cheap=False,
    )


def _centre_(features: torch.Tensor, centre: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres (R, N, D) in place and divides by the root mean squared norm of the rows; returns mean and divisor."""
    mean = features.mean(1) if centre else torch.zeros_like(features[:, 0])
    features -= mean[:, None]
    # The largest entry first: the square of 1e-200 is zero.
    peak = features.abs().amax((1, 2))
    peak = torch.where(peak > 0, peak, 1.0)
    features /= peak[:, None, None]
    rms = features.square().sum(2).mean(1).sqrt()
    rms = torch.where(rms > 0, rms, 1.0)
    features /= rms[:, None, None]
    return mean, peak * rms


def _resident(rows: torch.Tensor) -> Callable[[torch.dtype], Iterator[tuple[int, int, torch.Tensor]]]:
    held = {torch.float64: rows.contiguous(), torch.float32: rows.float().contiguous()}

    def blocks(dtype: torch.dtype) -> Iterator[tuple[int, int, torch.Tensor]]:
        yield 0, rows.shape[1], held[dtype]

    return blocks


def large(feed: Feed, centre: bool) -> Rows:
    """Builds rows for one draw of many rows: centred float32, cast to float64 block by block where that is asked for.

    Rows that fit into the device's memory stay there, turned into their eigenvectors; others are read, or cast, again
    for every product.

    Args:
        feed: The rows.
        centre: As in ``reduced``.
    """
    count, width = feed.shape
    mean = torch.zeros(width, dtype=torch.float64, device=feed.device)
    for _, _, rows in feed.rows() if centre else []:
        mean += rows.sum(0) / count
    sample = _sample(feed) - mean
    scale = _root_mean_square(sample)

    def centred() -> Iterator[tuple[int, int, torch.Tensor]]:
        for start, stop, rows in feed.rows():
            yield start, stop, (rows - mean) / scale

    sample /= scale
    values, basis = symmetric_eigen(sample.mT @ sample * (count / len(sample)))
    if feed.keep:
        held, spectrum, kept, dropped = _turned(feed, centred, basis)
        rank = held.shape[1]
        wide = spans_of(count, max(256, KEPT_BLOCK // rank))
    else:
        spectrum, dropped, rank = values.clamp(min=0.0), torch.zeros_like(scale), width

    def blocks(dtype: torch.dtype) -> Iterator[tuple[int, int, torch.Tensor]]:
        if not feed.keep:
            for start, stop, rows in centred():
                # Through float32 in both, or an evaluation in float64 would be of other rows than its direction.
                yield start, stop, rows.float().to(dtype)[None]
            return
        for start, stop in wide if dtype == torch.float32 else feed.spans:
            yield start, stop, held[start:stop].to(dtype)[None]

    # The trace bounds the largest eigenvalue.
    top = spectrum.sum() if feed.keep else sum(rows.square().sum() for _, _, rows in centred())
    return Rows(
        shape=(1, count, rank),
        blocks=blocks,
        spectrum=spectrum[None, None],
        basis=None if feed.keep else basis[None],
        top=torch.as_tensor(top)[None],
        dropped=dropped[None],
        expand=basis.mT[kept][None] if feed.keep else None,
        mean=mean[None],
        scale=scale[None],
        cheap=False,
    )


def as_they_are(source: RowSource) -> Rows:
    """Builds rows for one draw that are centred and nothing else, read again for every product: to judge a fit by."""
    count, width = source.shape
    spans = spans_of(count, max(256, BLOCK // width))

    def read(start: int, stop: int) -> torch.Tensor:
        return torch.as_tensor(np.asarray(source.read(np.arange(start, stop)), dtype=np.float64))

    mean = torch.zeros(width, dtype=torch.float64)
    for span in spans:
        mean += read(*span).sum(0) / count

    def blocks(dtype: torch.dtype) -> Iterator[tuple[int, int, torch.Tensor]]:
        for start, stop in spans:
            yield start, stop, (read(start, stop) - mean).to(dtype)[None]

    squares = torch.zeros_like(mean)
    for _, _, rows in blocks(torch.float64):
        squares += rows[0].square().sum(0)
    one = torch.ones(1, dtype=torch.float64)
    return Rows(
        shape=(1, count, width),
        blocks=blocks,
        spectrum=squares[None, None],
        basis=None,
        top=squares.sum()[None],
        dropped=torch.zeros_like(one),
        expand=None,
        mean=mean[None],
        scale=one,
        cheap=True,
    )


def _turned(
    feed: Feed, centred: Callable[[], Iterator[tuple[int, int, torch.Tensor]]], basis: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Turns rows into ``basis`` (D, D) and keeps them in float32.

    Returns the rows (N, r), their squared norms by column (r,), which of the D columns they are, and the squared norm
    of the others, which are left out where they carry next to nothing, as constant features do.
    """
    store, width = feed.store(), len(basis)
    squares = torch.zeros_like(basis[0])
    for start, stop, rows in centred():
        turned = rows @ basis
        squares += turned.square().sum(0)
        store[start:stop] = turned
    feed.resident = None
    ascending, order = squares.sort()
    without = min(int((ascending.cumsum(0) <= EMPTY * squares.sum()).sum()), width - 1)
    kept = order[without:].sort().values
    if without:
        # Moved to the front of the same memory; a block's new place ends before the next one's old place begins.
        flat, rank = store.view(-1), len(kept)
        for start, stop in feed.spans:
            flat[start * rank : stop * rank].view(-1, rank).copy_(store[start:stop, kept])
        store = flat[: feed.shape[0] * rank].view(-1, rank)
    return store, squares[kept], kept, ascending[:without].sum()


def _sample(feed: Feed) -> torch.Tensor:
    """Takes about 4 D evenly spread rows, float64: they tell the scale, and the spectrum of Z'Z well enough.

    On 20,000 x 768 rows the spectrum of all of them saved no product over that of 4 D.
    """
    count, width = feed.shape
    every = max(1, count // (4 * width))
    return torch.cat([rows[-start % every :: every].clone() for start, _, rows in feed.rows()])


def _root_mean_square(rows: torch.Tensor) -> torch.Tensor:
    """Returns the root mean squared norm of rows (n, D), or 1 where they are zero; 1e-200 squared is zero."""
    peak = rows.abs().amax()
    if peak == 0:
        return torch.ones_like(peak)
    return peak * (rows / peak).square().sum(1).mean().sqrt()


def symmetric_eigen(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ascending eigenvalues (..., n) and eigenvectors (..., n, n) of symmetric matrices, as torch does.

    Features of which most are constant have so many equal eigenvalues that torch's divide-and-conquer may not converge;
    LAPACK's slower QR iteration does.
    """
    try:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        from scipy.linalg import eigh

        each = matrix.detach().double().cpu().numpy().reshape(-1, *matrix.shape[-2:])
        pairs = [eigh(one, driver="ev") for one in each]
        values = torch.stack([torch.from_numpy(value) for value, _ in pairs]).reshape(matrix.shape[:-1])
        vectors = torch.stack([torch.from_numpy(vector) for _, vector in pairs]).reshape(matrix.shape)
        return values.to(matrix), vectors.to(matrix)
