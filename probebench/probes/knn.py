"""k nearest neighbours by cosine, exact, with DINO's weighted vote; all k from one search.

A row x has the k training rows x_j of highest cosine s_j = <x, x_j> / (||x|| ||x_j||), and class c the votes

    v_c = sum of exp(s_j / temperature) over those x_j whose label is c        N training rows of D features, float64

(facebookresearch/dino, eval_knn.py). The class of most votes is predicted; equal votes go to the smaller label. Of rows
that are equally near, up to the rounding of a float64 product, the one that comes first in the feature file counts. A
row of zeros has cosine 0 with all others.

Rows are unit vectors when they come here: the protocol's preparation makes them so. Training rows are read in blocks
and only the best k of each query are kept, so memory does not grow with their number. Where there is a GPU, it does the
products and keeps the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.probes.base import Judged, Labelled, Matrix, Measured, OnProgress, blocks, host, without_loss
from probebench.probes.select import Fitters
from probebench.registry.schema import ProtocolSpec

# Queries that meet a block of training rows at once: their cosines are 16 MiB of float64.
QUERIES = 512


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A kNN probe: the training rows of a draw, and how many of them vote.

    Attributes:
        strength: k; all rows vote where there are fewer.
        classes: The K labels present in the draw, ascending.
        rows: Unit rows (N, D), an array or a row source, which must stay readable.
        own: Position of each row's label in ``classes``, (N,).
        temperature: Of the vote.
    """

    strength: float
    classes: Labels
    rows: Any
    own: Labels
    temperature: float
    converged: bool | None = None
    gap: float | None = None
    iterations: int | None = None

    @property
    def finite(self) -> bool:
        """True: nothing is trained that could diverge."""
        return True

    def predict(self, features: Any) -> Labels:
        """Returns the label of most votes for each unit row, (n,)."""
        return vote([self], features)[0]

    def measured(self, features: Any, labels: Labels) -> Measured:
        """Returns the label of each row, and no measures."""
        return self.predict(features), {}

    def on(self, device: Any) -> Self:
        """Returns itself: its rows are searched where there is a GPU in any case."""
        return self

    @classmethod
    def judge(cls, path: Sequence["Neighbours"], features: Any, labels: Labels) -> list[Judged]:
        """Returns hits, for every k from one search; a class without a neighbour has no log-loss."""
        return [without_loss(predicted == labels) for predicted in vote(path, features)]


def fit_paths(
    trains: Sequence[Labelled],
    strengths: Sequence[float],
    on_progress: OnProgress = lambda fits: None,
    *,
    temperature: float,
) -> list[list[Neighbours]]:
    """Returns one probe per draw and k; those above the number of rows are left out, but for the smallest.

    Raises:
        ValueError: Features are not finite, or a draw has one class only.
    """
    paths = []
    for train in trains:
        classes, own = np.unique(train.labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError("a draw has one class only; a probe needs at least two")
        if not all(np.isfinite(block).all() for _, block in blocks(train.features)):
            raise ValueError("features are not finite")
        kept = [k for k in strengths if k <= max(len(train), min(strengths))]
        paths.append(
            [
                Neighbours(strength=float(k), classes=classes, rows=train.features, own=own, temperature=temperature)
                for k in kept
            ]
        )
        on_progress(len(strengths))
    return paths


def fitters(protocol: ProtocolSpec, backend: str) -> Fitters:
    """Returns what makes the probes of a protocol of neighbours."""
    assert protocol.temperature
    fit = partial(fit_paths, temperature=protocol.temperature)
    return lambda rate, last: fit


def vote(path: Sequence[Neighbours], features: Any) -> list[Labels]:
    """Returns the labels that each probe of a path predicts; they differ in k alone."""
    first = path[0]
    wanted = [min(int(probe.strength), len(first.own)) for probe in path]
    cosines, places = nearest(first.rows, features, max(wanted))
    # Relative to the nearest neighbour, which changes no order and cannot overflow.
    weights = np.exp((cosines - cosines[:, :1]) / first.temperature)
    voters = first.own[places]
    votes, counted, predicted = np.zeros((len(features), len(first.classes))), 0, {}
    everyone = np.arange(len(features))
    for k in sorted(set(wanted)):
        for rank in range(counted, k):
            votes[everyone, voters[:, rank]] += weights[:, rank]
        counted = k
        predicted[k] = first.classes[votes.argmax(axis=1)]
    return [predicted[k] for k in wanted]


def nearest(rows: Any, queries: Any, k: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """Finds the k rows of the highest inner product with each query.

    Args:
        rows: (N, D), an array or a row source, N >= k.
        queries: (n, D), an array, or a tensor on the GPU.
        k: How many.

    Returns:
        Products (n, k), highest first, and positions of the rows (n, k); the earlier row first where they are equal.
    """
    from probebench.probes.stream import blocks_on, pick_device, put

    device = pick_device("auto")
    asked = put(queries, device) if isinstance(queries, np.ndarray) else queries
    best = put(np.full((len(queries), k), -np.inf), device)
    places = put(np.full((len(queries), k), -1, dtype=np.int64), device)
    for span, block in blocks_on(rows, device):
        fresh = put(np.arange(span.start, span.stop), device)
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            products = asked[part] @ block.T
            # The least that counts for each query: only what is above it is looked at again.
            floor = -_highest(-best[part])
            open_ = _highest(products) > floor
            if open_.any():
                above = _above(products[open_], fresh, floor[open_])
                best[part][open_], places[part][open_] = _merge(best[part][open_], places[part][open_], *above)
    best, places = host(best), host(places)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(places, order, axis=1)


def _highest(values: Any) -> Any:
    return values.max(axis=1) if isinstance(values, np.ndarray) else values.amax(1)


def _above(products: Any, fresh: Any, floor: Any) -> tuple[Any, Any]:
    """Returns of each query the products above its floor, in the order of the rows, and these rows' positions.

    -inf fills up the queries that have fewer than others. A GPU, which selects faster than it counts, keeps them all.
    """
    if not isinstance(products, np.ndarray):
        return products, fresh.expand(products.shape)
    mask = products > floor[:, None]
    queries, rows = mask.nonzero()
    each = mask.sum(axis=1)
    # The place of a product among those of its query, which come one after the other.
    slots = np.arange(len(queries)) - np.repeat(each.cumsum() - each, each)
    values, places = np.full((len(mask), each.max()), -np.inf), np.full((len(mask), each.max()), -1)
    values[queries, slots], places[queries, slots] = products[mask], fresh[rows]
    return values, places


def _merge(best: Any, places: Any, products: Any, fresh: Any) -> tuple[Any, Any]:
    """Keeps the k highest of those held and the new ones, in the order of the rows; the earlier of equal ones."""
    k = best.shape[1]
    if isinstance(best, np.ndarray):
        values: Any = np.hstack([best, products])
        known: Any = np.hstack([places, fresh])
        cut: Any = np.partition(values, -k, axis=1)[:, -k, None]
    else:
        import torch

        values, known = torch.hstack([best, products]), torch.hstack([places, fresh])
        cut = values.topk(k).values[:, -1:]
    above, level = values > cut, values == cut
    keep = above | (level & (level.cumsum(1) <= k - above.sum(1)[:, None]))
    return values[keep].reshape(-1, k), known[keep].reshape(-1, k)
