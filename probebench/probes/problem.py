"""The objective of R draws of one shape: its value, gradient and curvature, and how far above its optimum it is.

The certificate: h(V) = min_b f(V, b) is lambda-strongly convex, so h(V) - min h <= ||grad h(V)||^2 / (2 lambda). The
intercept is brought to its optimum by Newton steps of its own on stored scores; what is left of its gradient, g, is
accounted for: with delta = g' B^+ g and B the curvature in b, the gradient of h differs from that of f by at most
sqrt(top / 2 * delta), since the curvature in (V, b) is positive semidefinite and that in V at most top / 2 (Boehning,
1992), and f - h by at most delta. What the rows lack in Z changes the gradient by at most the norm of that times the
norm of the residual.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch

from probebench.probes.objective import curvature_, intercept_curvature, intercept_pull, residual_
from probebench.probes.rows import Rows
from probebench.probes.stream import chunk_entries

# Of a sum over the rows' residuals, a row.
ROUNDING = 1e-13
# The intercept moves by at most this many nats a step.
LONGEST = 5.0


@dataclass
class Work:
    """What was spent: products of the rows with a (K, r) matrix, one each way, by dtype; Newton and CG steps."""

    float32: int = 0
    float64: int = 0
    newton: int = 0
    cg: int = 0

    def add(self, other: "Work") -> None:
        """Adds another path's work."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(kw_only=True)
class Point:
    """R iterates and what is known of them, in float64 if ``precise``.

    Shapes: coef and gradient (R, K, r), intercept (R, 1, K), the rest (R,).
    """

    coef: torch.Tensor
    intercept: torch.Tensor
    loss: torch.Tensor
    objective: torch.Tensor
    gradient: torch.Tensor
    gap: torch.Tensor
    precise: bool


@dataclass(kw_only=True)
class Problem:
    """R draws of one shape.

    Attributes:
        rows: The rows.
        labels: Positions of the classes, (R, N).
        classes: K.
        tol: Relative gap of the objective to certify.
        fit_intercept: Whether b is fitted; otherwise it is zero.
        work: What was spent so far.
        curvature: B, the curvature in the intercept at the last evaluation, (R, K, K).
    """

    rows: Rows
    labels: torch.Tensor
    classes: int
    tol: float
    fit_intercept: bool
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        """Lays out probabilities (R, N, K)."""
        draws, count, _ = self.rows.shape
        device = self.labels.device
        self._own = self.labels[..., None]
        self._probabilities = torch.empty(draws, count, self.classes, dtype=torch.float32, device=device)
        self._scratch: dict[torch.dtype, torch.Tensor] = {}
        self.curvature = torch.zeros(draws, self.classes, self.classes, dtype=torch.float64, device=device)
        self._inverse = self.curvature
        self._residual_square = torch.zeros(draws, dtype=torch.float64, device=device)
        self._chunk = max(1, chunk_entries(device) // (draws * self.classes))

    def origin(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the optimum at C = 0: no coefficients, and the classes' log shares for an intercept."""
        draws, _, width = self.rows.shape
        coef = torch.zeros(draws, self.classes, width, dtype=torch.float64, device=self.labels.device)
        counts = torch.zeros_like(coef[:, :, 0])
        counts.scatter_add_(1, self.labels, torch.ones_like(self.labels, dtype=torch.float64))
        logs = counts.log()[:, None]
        return coef, (logs - logs.mean(-1, keepdim=True)) * self.fit_intercept

    def penalty(self, C: float) -> torch.Tensor:
        """Returns lambda for scaled rows, (R,); twice that with two classes, whose objective is the binomial one."""
        return 1.0 / C / self.rows.scale.square() * (2.0 if self.classes == 2 else 1.0)

    def settled(self, point: Point) -> torch.Tensor:
        """Says which draws are within the tolerance, (R,); the optimum is at least objective - gap."""
        return point.gap <= self.tol * (point.objective - point.gap)

    def evaluate(self, coef: torch.Tensor, intercept: torch.Tensor, penalty: torch.Tensor, precise: bool) -> Point:
        """Computes loss, gradient and certificate, with the intercept brought to its optimum for these coefficients."""
        dtype = torch.float64 if precise else torch.float32
        # A vector added to all classes changes no probability, so the optimum has none, and the curvature there is
        # lambda alone: rounding left there would hold conjugate gradients up.
        coef = coef - coef.mean(1, keepdim=True)
        scores = self._scores(dtype)
        for start, stop, rows in self.rows.blocks(dtype):
            torch.matmul(rows, coef.to(dtype).mT, out=scores[:, start:stop])
        self._count(dtype)
        norm_square = square(coef)
        intercept = self._centre_intercept(scores, intercept, penalty, norm_square)
        gradient = torch.zeros_like(coef, dtype=dtype)
        loss, slope = self._pass_over_scores(scores, intercept, gradient)
        self._count(dtype)
        delta = torch.zeros_like(loss)
        if self.fit_intercept:
            self._inverse = self._inverted()
            if precise:
                delta = self._intercept_excess(slope)
        gradient = gradient.double() + penalty[:, None, None] * coef
        objective = loss + 0.5 * penalty * norm_square
        norm = square(gradient).sqrt() + (0.5 * self.rows.top * delta).sqrt()
        cut = self.rows.dropped * self._residual_square
        gap = (norm.square() + cut) / (2 * penalty) + delta
        return Point(
            coef=coef, intercept=intercept, loss=loss, objective=objective, gradient=gradient, gap=gap, precise=precise
        )

    def _centre_intercept(
        self, scores: torch.Tensor, intercept: torch.Tensor, penalty: torch.Tensor, norm_square: torch.Tensor
    ) -> torch.Tensor:
        """Minimises over the intercept at given scores, by Newton steps that are halved where they lead up.

        On float32 scores, which certify nothing, one step from nearby is enough.
        """
        if not self.fit_intercept:
            return intercept
        precise = scores.dtype == torch.float64
        best, step = torch.full_like(norm_square, math.inf), torch.zeros_like(intercept)
        for _ in range(30):
            loss, slope = self._pass_over_scores(scores, intercept)
            worse = loss > best * (1 + noise(precise))
            if worse.any():
                step = torch.where(worse[:, None, None], 0.5 * step, 0.0)
                intercept = intercept - step
                continue
            best = loss
            step = -slope @ self._inverted()
            delta = -(slope * step).sum((1, 2)).clamp(max=0.0)
            share = (penalty / self.rows.top).clamp(max=0.01)
            if (delta <= 0.01 * self.tol * share * (loss + 0.5 * penalty * norm_square)).all():
                break
            step = step.clamp(-LONGEST, LONGEST)
            intercept = intercept + step
            if not precise and (delta <= 0.01 * loss).all():
                break
        return intercept

    def _pass_over_scores(
        self, scores: torch.Tensor, intercept: torch.Tensor, gradient: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes loss (R,) and the intercept's gradient (R, 1, K), and stores the curvature in b.

        The last pass is given ``gradient`` (R, K, r), to which it adds R' Z; it overwrites the scores, and stores
        probabilities.
        """
        loss = torch.zeros_like(self._residual_square)
        residual_square = torch.zeros_like(loss)
        slope = torch.zeros_like(intercept)
        self.curvature.zero_()
        spans = [(0, scores.shape[1], scores)] if gradient is None else self.rows.blocks(scores.dtype)
        for start, stop, rows in spans:
            for at in range(start, stop, self._chunk):
                part = slice(at, min(at + self._chunk, stop))
                own = self._own[:, part]
                residual = scores[:, part] + intercept.to(scores.dtype)
                part_loss, right = residual_(residual, own)
                loss += part_loss
                slope += residual.sum(1, keepdim=True, dtype=torch.float64)
                residual_square += square(residual)
                probabilities = self._probabilities[:, part]
                probabilities.copy_(residual)
                probabilities.scatter_(-1, own, right.float())
                self.curvature += intercept_curvature(probabilities)
                if gradient is not None:
                    scores[:, part] = residual
            if gradient is not None:
                gradient.baddbmm_(scores[:, start:stop].mT, rows)
        self._residual_square = residual_square
        return loss, slope

    def _intercept_excess(self, slope: torch.Tensor) -> torch.Tensor:
        """Returns g' B^+ g of the intercept's gradient g, (R,); infinite where B has not the curvature to answer g.

        There every row is sure, of its own class or of another, and how far b lies from its optimum is not told by B.
        """
        # Summed over classes the gradient is zero but for rounding, and so is what B leaves of rounding alone.
        slope = slope - slope.mean(-1, keepdim=True)
        rounding = (ROUNDING * self.rows.shape[1]) ** 2
        answer = slope @ self._inverse
        left = square(slope - answer @ self.curvature)
        excess = (answer * slope).sum((1, 2))
        told = (left <= 1e-6 * square(slope) + rounding) & (excess >= -rounding)
        return torch.where(told, excess.clamp(min=0.0), math.inf)

    def _inverted(self) -> torch.Tensor:
        """Returns B^+, (R, K, K).

        B is blind to a shift of all classes; a multiple of 11' fixes that and changes no product with a vector whose
        sum is zero. The small multiple of the identity holds where a class has no curvature left.
        """
        scale = self.curvature.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-30)[:, None, None]
        full = self.curvature / scale + 1 / self.classes
        full.diagonal(dim1=-2, dim2=-1).add_(1e-13)
        factor, failed = torch.linalg.cholesky_ex(0.5 * (full + full.mT))
        if failed.any():
            inverse: torch.Tensor = torch.linalg.pinv(full, hermitian=True) / scale
            return inverse
        return torch.cholesky_inverse(factor) / scale

    def curvature_along(
        self, weight: torch.Tensor, dtype: torch.dtype
    ) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Returns a function D -> (curvature of h along D, (R, K, r); the intercept's answer d, (R, 1, K)).

        The curvature is H(T)' Z + lambda D with T = Z D' + d, and d keeps the intercept at its optimum,
        sum_i H(T)_i = 0, so d = -B^+ sum_i H(Z D')_i.
        """
        probabilities = self._probabilities.to(dtype)
        inverse = self._inverse.to(dtype)
        along = self._scores(dtype)
        parts = [slice(at, at + self._chunk) for at in range(0, along.shape[1], self._chunk)]

        def curved(towards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            for start, stop, rows in self.rows.blocks(dtype):
                torch.matmul(rows, towards.mT, out=along[:, start:stop])
            answer = torch.zeros_like(inverse[:, :1])
            if self.fit_intercept:
                for part in parts:
                    answer -= intercept_pull(along[:, part], probabilities[:, part], self._own[:, part])
                answer = answer @ inverse
            for part in parts:
                curvature_(along[:, part], answer, probabilities[:, part], self._own[:, part])
            bent = weight * towards
            for start, stop, rows in self.rows.blocks(dtype):
                bent.baddbmm_(along[:, start:stop].mT, rows)
            self._count(dtype, 2)
            return bent, answer

        return curved

    def spread(self) -> torch.Tensor:
        """Returns p (1 - p) at the last evaluation, (R, N, K) float32.

        One minus the own class's is taken from the sum of the others', which keeps its digits where a probe is sure.
        """
        others = self._probabilities.scatter(-1, self._own, 0.0).sum(-1, keepdim=True)
        return self._probabilities * (1.0 - self._probabilities).scatter(-1, self._own, others)

    def _scores(self, dtype: torch.dtype) -> torch.Tensor:
        """Returns the one buffer (R, N, K) of a dtype, for scores or for scores along a direction."""
        if dtype not in self._scratch:
            self._scratch[dtype] = torch.empty_like(self._probabilities, dtype=dtype)
        return self._scratch[dtype]

    def _count(self, dtype: torch.dtype, products: int = 1) -> None:
        if dtype == torch.float32:
            self.work.float32 += products
        else:
            self.work.float64 += products


def noise(precise: bool) -> float:
    """Returns what rounding may add to an objective, relative to it."""
    return 1e-12 if precise else 1e-6


def square(value: torch.Tensor) -> torch.Tensor:
    """Returns the squared norm of each draw's matrix, (R,)."""
    return value.square().sum((1, 2))


def dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Returns the inner product of each draw's two matrices, (R,)."""
    return (one * other).sum((1, 2))
