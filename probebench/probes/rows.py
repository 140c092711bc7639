"""The rows that a solver sees: centred, scaled to one, and reduced where there are fewer rows than features.

The intercept is free, so centring changes no optimum, and neither does dividing features by s when lambda is divided by
s^2. The L2 optimum lies in the span of the rows: where N <= D, the eigenvectors of the Gram matrix, Xc Xc' = U S U',
give Z = U sqrt(S) (N, r) with the same inner products, and 100 images mean a 100-D problem. There Z'Z = S is diagonal,
which is the preconditioner that the solver wants; where N > D it takes the eigenvectors of Xc'Xc as a basis instead.

Products run in float32 where they only steer, and in float64 where they certify.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

# Rows (R, N, r) of at most this many entries are kept in float64 beside float32; larger ones in float32 alone.
SMALL = 1 << 23
# Rows of larger sets go through products in blocks of this many entries: kept float32 rows in large ones, which cost no
# copy, and rows that must be cast or read first in ones that stay in the cache.
KEPT_BLOCK = 1 << 24
BLOCK = 1 << 20
# Eigenvalues below this share of the largest, times N, are rounding and not features; below CLEAN they carry enough of
# it to be seen in the objective.
RANK = 1e-15
CLEAN = 1e-8


@dataclass
class Rows:
    """The rows of R draws of one shape.

    Attributes:
        shape: R, N and r.
        blocks: Yields (start, stop, rows (R, stop - start, r)) in the dtype asked for, over all rows.
        spectrum: Eigenvalues of Z'Z (estimated from a part of the rows in large sets), (R, 1, r).
        basis: Its eigenvectors (R, r, r); None where Z'Z is diagonal.
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
    return Rows((draws, count, rank), _resident(rows), spectrum, None, top, dropped, expand, mean, scale, True)


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
    """Builds rows for draws with N > D that fit into memory twice.

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
    return Rows((draws, count, width), _resident(features), spectrum, basis, top, none, None, mean, scale, True)


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


def large(
    read: Callable[[int, int], torch.Tensor], count: int, width: int, device: torch.device, keep: bool, centre: bool
) -> Rows:
    """Builds rows for one draw of many rows: centred float32, cast to float64 block by block where that is asked for.

    Args:
        read: Returns rows start to stop, (stop - start, D) in their own dtype, on the CPU.
        count: N.
        width: D.
        device: Where products run.
        keep: Whether the rows stay in the device's memory; otherwise they are read again for every product.
        centre: As in ``reduced``.
    """
    spans = _spans(count, max(256, BLOCK // width))
    wide = _spans(count, max(256, KEPT_BLOCK // width)) if keep else spans
    mean = torch.zeros(width, dtype=torch.float64, device=device)
    for start, stop in spans if centre else []:
        mean += read(start, stop).to(device).sum(0, dtype=torch.float64) / count
    sample = _sample(read, spans, count, width, device, mean)
    scale = _root_mean_square(sample)
    squares = torch.zeros_like(scale)

    def centred(start: int, stop: int) -> torch.Tensor:
        # Not in place: what is read may be the caller's own array.
        return ((read(start, stop).to(device, torch.float64) - mean) / scale).float()

    held = torch.empty(count if keep else 0, width, dtype=torch.float32, device=device)
    for start, stop in spans:
        block = centred(start, stop)
        squares += block.square().sum(dtype=torch.float64)
        if keep:
            held[start:stop] = block

    def fetch(start: int, stop: int) -> torch.Tensor:
        return held[start:stop] if keep else centred(start, stop)

    def blocks(dtype: torch.dtype) -> Iterator[tuple[int, int, torch.Tensor]]:
        for start, stop in wide if dtype == torch.float32 else spans:
            yield start, stop, fetch(start, stop).to(dtype)[None]

    # In float32, since they only precondition; at D = 2048 half the time of float64.
    sample = (sample / scale).float()
    values, basis = symmetric_eigen(sample.mT @ sample * (count / len(sample)))
    spectrum = values.clamp(min=0.0).double()[None, None]
    none = torch.zeros(1, dtype=torch.float64, device=device)
    # The trace bounds the largest eigenvalue.
    return Rows(
        (1, count, width), blocks, spectrum, basis[None], squares[None], none, None, mean[None], scale[None], False
    )


def _sample(
    read: Callable[[int, int], torch.Tensor],
    spans: Sequence[tuple[int, int]],
    count: int,
    width: int,
    device: torch.device,
    mean: torch.Tensor,
) -> torch.Tensor:
    """Reads about 4 D evenly spread rows, centred, float64: they tell the scale, and the spectrum of Z'Z well enough.

    On 20,000 x 768 rows the spectrum of all of them saved no product over that of 4 D.
    """
    every = max(1, count // (4 * width))
    parts = [read(start, stop)[-start % every :: every].to(device, torch.float64) for start, stop in spans]
    return torch.cat(parts) - mean


def _root_mean_square(rows: torch.Tensor) -> torch.Tensor:
    """Returns the root mean squared norm of rows (n, D), or 1 where they are zero; 1e-200 squared is zero."""
    peak = rows.abs().amax()
    if peak == 0:
        return torch.ones_like(peak)
    return peak * (rows / peak).square().sum(1).mean().sqrt()


def _spans(count: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(start + step, count)) for start in range(0, count, step)]


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
