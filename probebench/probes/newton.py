"""Walks the strengths from strong to weak regularisation, and certifies each optimum.

Each strength starts from an extrapolation of the last ones and takes Newton steps, whose systems are solved by
conjugate gradients. Their preconditioner takes the curvature for a Kronecker product, lambda + (B / N) x Z'Z, as if
probabilities and rows were independent (as K-FAC does; Martens and Grosse, 2015). The directions are found in float32; objective, gradient and certificate are evaluated in float64.

The certificate: h(V) = min_b f(V, b) is lambda-strongly convex, so h(V) - min h <= ||grad h(V)||^2 / (2 lambda). The
intercept is brought to its optimum by Newton steps of its own on stored scores; what is left of its gradient, g, is
accounted for: with delta = g' B^+ g and B the curvature in b, the gradient of h differs from that of f by at most
sqrt(top / 2 * delta), since the curvature in (V, b) is positive semidefinite and that in V at most top / 2 (Boehning,
1992), and f - h by at most delta.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch

from probebench.probes.objective import curvature_, intercept_curvature, intercept_pull, residual_
from probebench.probes.rows import Rows

# Conjugate gradients stop at this share of the gradient's norm, or where the certificate would hold by this margin.
FORCING = 0.03
MARGIN = 0.1
CG_STEPS = 500
# The intercept moves by at most this many nats a step, and solutions are extrapolated over at most this much of ln C.
LONGEST = 5.0
# Elementwise work on scores goes in chunks of this many entries.
CHUNK = 1 << 16


@dataclass
class Work:
    """What a path cost: products of the rows with a (K, r) matrix, counted one each way, by dtype; Newton and CG steps."""

    float32: int = 0
    float64: int = 0
    newton: int = 0
    cg: int = 0

    def add(self, other: "Work") -> None:
        """Adds another path's work."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Point:
    """R iterates with all that is known of them. Shapes: coef (R, K, r), intercept (R, 1, K), the rest (R,) or as coef."""

    coef: torch.Tensor
    intercept: torch.Tensor
    loss: torch.Tensor
    objective: torch.Tensor
    gradient: torch.Tensor
    gap: torch.Tensor


@dataclass
class Solution:
    """One strength of R draws: coefficients (R, K, r) and intercepts (R, K) in the rows' coordinates, and (R,) facts.

    Objective, gap and gradient are those of C f.
    """

    coef: torch.Tensor
    intercept: torch.Tensor
    objective: torch.Tensor
    gap: torch.Tensor
    gradient_norm: torch.Tensor
    iterations: torch.Tensor

    def part(self, place: int) -> "Solution":
        """Returns one draw's part, on the CPU."""
        return Solution(*(getattr(self, one.name)[place].cpu() for one in fields(self)))


@dataclass
class Path:
    """Solves R draws of one shape, one strength after another.

    Attributes:
        rows: The rows.
        labels: Positions of the classes, (R, N).
        classes: K.
        tol: Relative gap of the objective to certify.
        fit_intercept: Whether b is fitted; otherwise it is zero.
        max_iter: Newton steps a strength.
    """

    rows: Rows
    labels: torch.Tensor
    classes: int
    tol: float
    fit_intercept: bool
    max_iter: int
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        """Lays out probabilities (R, N, K) and scores, and starts at C = 0, where the optimum is known."""
        draws, count, width = self.rows.shape
        device = self.labels.device
        self._own = self.labels[..., None]
        self._probabilities = torch.empty(draws, count, self.classes, dtype=torch.float32, device=device)
        self._scratch: dict[torch.dtype, torch.Tensor] = {}
        self._curvature = torch.zeros(draws, self.classes, self.classes, dtype=torch.float64, device=device)
        self._inverse = self._curvature
        self._residual_square = torch.zeros(draws, dtype=torch.float64, device=device)
        self._coef = torch.zeros(draws, self.classes, width, dtype=torch.float64, device=device)
        counts = torch.zeros(draws, self.classes, dtype=torch.float64, device=device)
        counts.scatter_add_(1, self.labels, torch.ones_like(self.labels, dtype=torch.float64))
        logs = counts.log()[:, None]
        self._intercept = (logs - logs.mean(-1, keepdim=True)) * self.fit_intercept
        self._chunk = max(1, CHUNK // (draws * self.classes))
        # Increments of coefficients and intercept an ln C, newest last, each with its ln C.
        self._increments: list[tuple[float, torch.Tensor, torch.Tensor]] = []
        self._last: tuple[float, Point] | None = None
        self._always_precise = self.rows.cheap
        self._forcing = FORCING

    def solve(self, C: float) -> Solution:
        """Solves one strength; call it with ascending strengths."""
        penalty = 1.0 / C / self.rows.scale.square() * (2.0 if self.classes == 2 else 1.0)
        point = self._start(math.log(C), penalty)
        self._forcing, direction_dtype = FORCING, torch.float32
        precise = self._always_precise
        steps = 0
        while True:
            open_ = ~self._settled(point)
            if not open_.any():
                if precise:
                    break
                precise = True
                point = self._evaluate(point.coef, point.intercept, penalty, precise)
                # Where float32 evaluations promised what float64 does not hold, they are of no use from here on.
                self._always_precise |= bool((~self._settled(point)).any())
                continue
            if steps == self.max_iter:
                break
            steps += 1
            before = point.gap
            moved = self._newton_step(point, penalty, open_, direction_dtype, precise)
            if moved is None:
                if self._forcing < FORCING and precise:
                    break
                self._forcing, direction_dtype, precise = FORCING**3, torch.float64, True
                point = self._evaluate(point.coef, point.intercept, penalty, precise)
                continue
            point = moved
            if (open_ & (point.gap > 0.5 * before)).any():
                # An ill-conditioned problem: a direction that is right to 3% in the gradient may lead nowhere.
                self._forcing, direction_dtype = max(self._forcing * FORCING, FORCING**5), torch.float64
        self._remember(math.log(C), point)
        self.work.newton += steps
        return Solution(
            point.coef,
            point.intercept[:, 0],
            C * point.objective,
            C * point.gap,
            C * _square(point.gradient).sqrt(),
            torch.full_like(point.gap, steps),
        )

    def _settled(self, point: Point) -> torch.Tensor:
        """The optimum is at least objective - gap."""
        return point.gap <= self.tol * (point.objective - point.gap)

    def _start(self, log_C: float, penalty: torch.Tensor) -> Point:
        """Evaluates the extrapolation of the last solutions, or the last one itself where that is lower."""
        precise = self._always_precise
        if self._last is None:
            return self._evaluate(self._coef, self._intercept, penalty, precise)
        when, last = self._last
        coef, intercept = self._extrapolate(log_C, when, last)
        point = self._evaluate(coef, intercept, penalty, precise)
        stay = last.loss + 0.5 * penalty * _square(last.coef)
        worse = ~(point.objective <= stay)
        if worse.any():
            keep = worse[:, None, None]
            coef, intercept = torch.where(keep, last.coef, coef), torch.where(keep, last.intercept, intercept)
            point = self._evaluate(coef, intercept, penalty, precise)
        return point

    def _extrapolate(self, log_C: float, when: float, last: Point) -> tuple[torch.Tensor, torch.Tensor]:
        """Lets the last increment an ln C grow or shrink as it did before.

        Under strong regularisation V is proportional to C, so increments grow e-fold; where the classes separate, V
        grows with ln C, and increments stay; in between the rate is read off the last two.
        """
        if not self._increments or log_C - when > LONGEST:
            return last.coef, last.intercept
        at, coef_rate, intercept_rate = self._increments[-1]
        growth = torch.zeros_like(last.loss)
        if len(self._increments) == 2:
            at_before, before, _ = self._increments[0]
            ratio = (coef_rate * before).sum((1, 2)) / _square(before).clamp(min=torch.finfo(torch.float64).tiny)
            growth = ratio.clamp(min=1e-3).log() / (at - at_before)
        step = log_C - when
        factor = step * torch.exp(growth.clamp(-0.5, 1.0) * (when + step / 2 - at))[:, None, None]
        return last.coef + factor * coef_rate, last.intercept + factor * intercept_rate

    def _remember(self, log_C: float, point: Point) -> None:
        if self._last is not None:
            when, last = self._last
            step = max(log_C - when, 1e-12)
            rates = (point.coef - last.coef) / step, (point.intercept - last.intercept) / step
            self._increments = [*self._increments[-1:], (when + step / 2, *rates)]
        self._last = log_C, point

    def _scores(self, dtype: torch.dtype) -> torch.Tensor:
        """Returns the one buffer (R, N, K) of a dtype, for scores or for scores along a direction."""
        if dtype not in self._scratch:
            self._scratch[dtype] = torch.empty_like(self._probabilities, dtype=dtype)
        return self._scratch[dtype]

    def _evaluate(self, coef: torch.Tensor, intercept: torch.Tensor, penalty: torch.Tensor, precise: bool) -> Point:
        """Computes loss, gradient and certificate, after bringing the intercept to its optimum for these coefficients."""
        dtype = torch.float64 if precise else torch.float32
        # A vector added to all classes changes no probability, so the optimum has none, and the curvature there is
        # lambda alone: rounding left there would hold conjugate gradients up.
        coef = coef - coef.mean(1, keepdim=True)
        scores = self._scores(dtype)
        for start, stop, rows in self.rows.blocks(dtype):
            torch.matmul(rows, coef.to(dtype).mT, out=scores[:, start:stop])
        self._count(dtype)
        square = _square(coef)
        intercept, loss, delta = self._centre_intercept(scores, intercept, penalty, square)
        gradient = torch.zeros_like(coef, dtype=dtype)
        for start, stop, rows in self.rows.blocks(dtype):
            residual = scores[:, start:stop].add_(intercept)
            residual_(residual, self._own[:, start:stop])
            gradient.baddbmm_(residual.mT, rows)
        self._count(dtype)
        gradient = gradient.double() + penalty[:, None, None] * coef
        objective = loss + 0.5 * penalty * square
        norm = _square(gradient).sqrt() + (0.5 * self.rows.top * delta).sqrt()
        cut = self.rows.dropped * self._residual_square
        gap = (norm.square() + cut) / (2 * penalty) + delta
        return Point(coef, intercept, loss, objective, gradient, gap)

    def _centre_intercept(
        self, scores: torch.Tensor, intercept: torch.Tensor, penalty: torch.Tensor, square: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Minimises over the intercept at given scores; returns it, the loss, and delta = g' B^+ g.

        On float32 scores it takes two steps at most and calls delta zero: they certify nothing.
        """
        precise = scores.dtype == torch.float64
        best, step = torch.full_like(square, math.inf), torch.zeros_like(intercept)
        for attempt in range(30):
            loss, slope = self._pass_over_scores(scores, intercept)
            if not self.fit_intercept:
                return intercept, loss, torch.zeros_like(loss)
            worse = loss > best * (1 + _noise(precise))
            if worse.any():
                step = torch.where(worse[:, None, None], 0.5 * step, 0.0)
                intercept = intercept - step
                continue
            best = loss
            self._inverse = self._inverted()
            step = -slope @ self._inverse
            delta = -(slope * step).sum((1, 2)).clamp(max=0.0)
            share = (penalty / self.rows.top).clamp(max=0.01)
            enough = 0.01 * self.tol * share * (loss + 0.5 * penalty * square)
            step = step.clamp(-LONGEST, LONGEST)
            if (delta <= enough).all() or (not precise and attempt == 2):
                break
            intercept = intercept + step
        return intercept, loss, delta if precise else torch.zeros_like(delta)

    def _pass_over_scores(self, scores: torch.Tensor, intercept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes loss (R,) and the intercept's gradient (R, 1, K); stores probabilities and the curvature in b."""
        loss = torch.zeros_like(self._residual_square)
        square = torch.zeros_like(loss)
        slope = torch.zeros_like(intercept)
        self._curvature.zero_()
        for start in range(0, scores.shape[1], self._chunk):
            part = slice(start, start + self._chunk)
            own = self._own[:, part]
            residual = scores[:, part] + intercept.to(scores.dtype)
            loss += residual_(residual, own)
            slope += residual.sum(1, keepdim=True, dtype=torch.float64)
            square += _square(residual)
            probabilities = self._probabilities[:, part]
            probabilities.copy_(residual)
            probabilities.scatter_add_(-1, own, torch.ones_like(own, dtype=torch.float32))
            self._curvature += intercept_curvature(probabilities)
        self._residual_square = square
        return loss, slope

    def _inverted(self) -> torch.Tensor:
        """Returns B^+, (R, K, K).

        B is blind to a shift of all classes; a multiple of 11' fixes that and changes no product with a vector whose
        sum is zero. The small multiple of the identity holds where a class has no curvature left.
        """
        scale = self._curvature.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-30)[:, None, None]
        full = self._curvature / scale + 1 / self.classes
        full.diagonal(dim1=-2, dim2=-1).add_(1e-13)
        factor, failed = torch.linalg.cholesky_ex(0.5 * (full + full.mT))
        if failed.any():
            return torch.linalg.pinv(full, hermitian=True) / scale
        return torch.cholesky_inverse(factor) / scale

    def _newton_step(
        self, point: Point, penalty: torch.Tensor, open_: torch.Tensor, dtype: torch.dtype, precise: bool
    ) -> Point | None:
        """Takes a step for the draws that are open; None where no step lowers the objective."""
        step, shift = self._direction(point, penalty, open_, dtype)
        slope = (point.gradient * step).sum((1, 2))
        length = open_.double()
        for _ in range(40):
            moved = self._evaluate(
                point.coef + length[:, None, None] * step,
                point.intercept + length[:, None, None] * shift,
                penalty,
                precise,
            )
            enough = point.objective * (1 + _noise(precise)) + 1e-4 * length * slope
            short = open_ & ~(moved.objective <= enough)
            if not short.any():
                return moved
            length = torch.where(short, 0.5 * length, length)
        return None

    def _direction(
        self, point: Point, penalty: torch.Tensor, open_: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Solves for the Newton direction of h by conjugate gradients; returns steps of coefficients and intercept.

        Draws that are settled, or whose system is solved, have a step of zero from there on.
        """
        size = _square(point.gradient).sqrt()
        unit = torch.where(size > 0, size, 1.0)[:, None, None]
        wanted = MARGIN * 2 * penalty * self.tol * point.objective / unit[:, 0, 0].square()
        goal = wanted.clamp(min=self._forcing**2).to(dtype)
        weight = penalty.to(dtype)[:, None, None]
        precondition = self._preconditioner(penalty, dtype)
        curved = self._curvature_along(weight, dtype)
        residual = (-point.gradient / unit).to(dtype)
        step, shift = torch.zeros_like(residual), torch.zeros_like(point.intercept, dtype=dtype)
        towards = precondition(residual)
        energy = _dot(residual, towards)
        active = open_ & (size > 0)
        for _ in range(CG_STEPS):
            bent, towards_b = curved(towards)
            self.work.cg += 1
            along = _dot(towards, bent)
            active = active & (along > 0) & torch.isfinite(along)
            length = torch.where(active, energy / along, 0.0)[:, None, None]
            step.addcmul_(length, towards)
            shift.addcmul_(length, towards_b)
            residual.addcmul_(length, bent, value=-1.0)
            active = active & (_square(residual) > goal)
            if not active.any():
                break
            ahead = precondition(residual)
            fresh = _dot(residual, ahead)
            towards = ahead.addcmul_((fresh / energy)[:, None, None], towards)
            energy = fresh
        return step.double() * unit, shift.double() * unit

    def _curvature_along(
        self, weight: torch.Tensor, dtype: torch.dtype
    ) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Returns a function D -> (curvature of h along D, (R, K, r); the intercept's answer d, (R, 1, K)).

        The curvature is H(T)' Z + lambda D with T = Z D' + d, and d keeps the intercept at its optimum: sum_i H(T)_i = 0,
        so d = -B^+ sum_i H(Z D')_i.
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

    def _preconditioner(self, penalty: torch.Tensor, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        """Returns the inverse of lambda + (B / N) x Z'Z, in the eigenvectors of both factors.

        B / N is the mean curvature between classes, so classes that are taken for one another are coupled as in H.
        """
        weights, classes = torch.linalg.eigh(self._curvature / self.rows.shape[1])
        scale = 1 / (penalty[:, None, None] + weights.clamp(min=0.0)[:, :, None] * self.rows.spectrum)
        scale, classes = scale.to(dtype), classes.to(dtype)
        if self.rows.basis is None:
            return lambda value: classes @ ((classes.mT @ value) * scale)
        basis = self.rows.basis.to(dtype)
        return lambda value: classes @ (((classes.mT @ value) @ basis) * scale) @ basis.mT

    def _count(self, dtype: torch.dtype, products: int = 1) -> None:
        if dtype == torch.float32:
            self.work.float32 += products
        else:
            self.work.float64 += products


def _noise(precise: bool) -> float:
    """What rounding may add to an objective, relative to it."""
    return 1e-12 if precise else 1e-6


def _square(value: torch.Tensor) -> torch.Tensor:
    """Squared norm of each draw's matrix, (R,)."""
    return value.square().sum((1, 2))


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).sum((1, 2))
