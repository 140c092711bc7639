"""Retrieval: for each test image, the whole gallery of training images ranked by cosine, exactly.

A query q ranks the gallery rows x_j by s_j = <q, x_j> / (||q|| ||x_j||), highest first    N gallery rows of D features

and the rows of its own class are what it should find: R of them at ranks r_1 < r_2 < ... < r_R, counted from 1. Then

    first hit           r_1                             recall at k is the share of queries with r_1 <= k
    average precision   1/R sum_i i / r_i               its mean over queries is mean average precision (mAP)

A query whose class the gallery lacks finds nothing: its first hit is written 0, and its average precision is 0.

Products are float64. A cosine counts in steps of 2^-38 (3.6e-12), so that rows that are alike are equally near whatever
rounding did to them, and of equally near rows the one that comes first in the feature file is ranked first. A row of
zeros has cosine 0 with all others. Cosine and position together are one whole number, a key, and no two keys of a query
are equal: the ranking is that of the keys.

The matrix of all cosines is never held. A first pass over the gallery, block by block, computes each query's keys of
its own class, which are sorted. A second pass computes all others and counts, for each key of the own class, how many
lie above it. Of how many queries that is done at once depends on how many own-class keys they have (``RELEVANT``), so
memory grows neither with the gallery nor with the queries. Where there is a GPU, it does all of this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.probes.base import Judged, Labelled, Measured, OnProgress, blocks, host, without_loss
from probebench.probes.select import Fitters
from probebench.registry.schema import ProtocolSpec

# A key is round(STEPS * cosine) * MOST + (MOST - 1 - position), which fits into 63 bits.
STEPS = 2.0**38
MOST = 1 << 24
# Below and above every key.
_LOWEST, _HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
# Queries that meet a block of the gallery at once: their keys are 16 MiB.
QUERIES = 512
# Queries that look for rows of their own classes at once.
FEW_QUERIES = 256
# Keys of own classes that are held at once: 256 MiB, and half of it for counts.
RELEVANT = 1 << 25
# Entries of counts that are summed up at once.
_SUMMED = 1 << 20

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The training rows of a draw, to be ranked.

    Attributes:
        classes: The K labels present, ascending.
        rows: Unit rows (N, D), an array or a row source, which must stay readable.
        labels: Theirs, (N,).
        strength: Means nothing: there is no hyper-parameter.
    """

    classes: Labels
    rows: Any
    labels: Labels
    strength: float = 0.0
    converged: bool | None = None
    gap: float | None = None
    iterations: int | None = None

    @property
    def finite(self) -> bool:
        """True: nothing is trained that could diverge."""
        return True

    def predict(self, features: Any) -> Labels:
        """Returns the label of the nearest gallery row of each unit row, (n,)."""
        # With no own class nothing is counted: only the nearest is looked for.
        return self.measured(features, np.full(len(features), self.classes[0] - 1))[0]

    def measured(self, features: Any, labels: Labels) -> Measured:
        """Returns the label of the nearest gallery row of each unit row (n,), and what came of its ranking.

        That is ``first_hit`` and ``average_precision`` of a query of class ``labels`` (n,), float64.
        """
        places, first, precision = rank(self.rows, self.labels, features, labels)
        return self.labels[places], {"first_hit": first, "average_precision": precision}

    def on(self, device: Any) -> Self:
        """Returns itself: its rows are ranked where there is a GPU in any case."""
        return self

    @classmethod
    def judge(cls, path: Sequence["Gallery"], features: Any, labels: Labels) -> list[Judged]:
        """Returns hits of the nearest row; there is no log-loss."""
        return [without_loss(probe.predict(features) == labels) for probe in path]


def fit_paths(
    trains: Sequence[Labelled], strengths: Sequence[float], on_progress: OnProgress = lambda fits: None
) -> list[list[Gallery]]:
    """Returns the gallery of each draw, once for each strength, which means nothing.

    Raises:
        ValueError: Features are not finite, a draw has one class only, or too many rows.
    """
    paths = []
    for train in trains:
        classes = np.unique(train.labels)
        if len(classes) < 2:
            raise ValueError("a draw has one class only; a probe needs at least two")
        if len(train) > MOST:
            raise ValueError(f"a gallery of {len(train):,} images; at most {MOST:,} are ranked exactly")
        if not all(np.isfinite(block).all() for _, block in blocks(train.features)):
            raise ValueError("features are not finite")
        paths.append([Gallery(classes=classes, rows=train.features, labels=train.labels) for _ in strengths])
        on_progress(len(strengths))
    return paths


def fitters(protocol: ProtocolSpec, backend: str) -> Fitters:
    """Returns what makes the galleries of a protocol of retrieval."""
    return lambda rate, last: fit_paths


def rank(
    rows: Any, labels: Labels, queries: Any, wanted: Labels
) -> tuple[Places, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ranks a gallery for each query.

    Args:
        rows: Unit gallery rows (N, D), an array or a row source.
        labels: Theirs, (N,).
        queries: Unit rows (n, D), an array, or a tensor on the GPU.
        wanted: The class of each query, (n,).

    Returns:
        Of each query (n,): the position of the nearest row, the rank of the first of its class counted from 1 (0:
        there is none), and its average precision.
    """
    import torch

    from probebench.probes.stream import pick_device

    device = pick_device("auto")
    # A power of two, so that products are scaled exactly.
    asked = torch.as_tensor(queries, device=device) * STEPS
    known, counts = np.unique(labels, return_counts=True)
    there = np.isin(wanted, known)
    own = np.where(there, counts[np.searchsorted(known, wanted).clip(max=len(known) - 1)], 0)
    # Queries of a class lie side by side, and those with about as many own keys together: less room is left empty.
    order = np.lexsort((wanted, own))
    nearest = np.empty(len(wanted), np.int64)
    first, precision = np.zeros(len(wanted)), np.zeros(len(wanted))
    for part in _groups(own[order]):
        some = order[part]
        index = torch.as_tensor(some, device=device)
        found = _rank(rows, labels, asked[index], wanted[some], own[some], device)
        nearest[some], first[some], precision[some] = found
    return nearest, first, precision


def _groups(own: Places) -> Iterator[slice]:
    """Yields consecutive queries whose keys of own classes may be held at once; ``own`` ascends."""
    start = 0
    for stop in range(1, len(own) + 1):
        if stop == len(own) or (stop + 1 - start) * int(own[stop]) > RELEVANT:
            yield slice(start, stop)
            start = stop


def _rank(
    rows: Any, labels: Labels, asked: Any, wanted: Labels, own: Places, device: Any
) -> tuple[Places, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Does what ``rank`` does for queries of which each class lies side by side; ``own`` (n,) are their R."""
    import torch

    from probebench.probes.stream import blocks_on

    relevant = _own_keys(rows, labels, asked, wanted, int(own.max()), device)
    above = torch.zeros((len(own), relevant.shape[1] + 1), dtype=torch.int32, device=device)
    best = torch.full((len(own),), _LOWEST, dtype=torch.int64, device=device)
    one, classes = torch.ones((), dtype=torch.int32, device=device), torch.as_tensor(wanted, device=device)
    for span, block in blocks_on(rows, device):
        block = torch.as_tensor(block)
        theirs = torch.as_tensor(labels[span], device=device)
        positions = torch.as_tensor(np.arange(span.start, span.stop), device=device)
        for start in range(0, len(own), QUERIES):
            part = slice(start, start + QUERIES)
            keys = _keys(asked[part], block, positions)
            # Those of the own class are known from the first pass, and are not counted twice.
            keys.masked_fill_(theirs == classes[part, None], _LOWEST)
            keys = _ascending(keys)
            best[part] = torch.maximum(best[part], keys[:, -1])
            if relevant.shape[1]:
                # A key above i of the own ones in ascending order is counted at place i.
                above[part].scatter_add_(1, torch.searchsorted(relevant[part], keys), one.expand(keys.shape))
    first, precision = _summed(above, own)
    highest = np.where(own > 0, host(relevant)[np.arange(len(own)), own - 1], _LOWEST) if own.any() else _LOWEST
    return MOST - 1 - (np.maximum(host(best), highest) & (MOST - 1)), first, precision


def _own_keys(rows: Any, labels: Labels, asked: Any, wanted: Labels, most: int, device: Any) -> Any:
    """Returns the keys of each query's own class, ascending, (n, most); the highest number fills up fewer."""
    import torch

    from probebench.probes.stream import blocks_on

    relevant = torch.full((len(wanted), most), _HIGHEST, dtype=torch.int64, device=device)
    filled = np.zeros(len(wanted), np.int64)
    for span, block in blocks_on(rows, device) if most else ():
        block, theirs = torch.as_tensor(block), labels[span]
        for start in range(0, len(wanted), FEW_QUERIES):
            part = slice(start, start + FEW_QUERIES)
            # Queries are in the order of their classes, so few of them meet few rows.
            places = np.flatnonzero(np.isin(theirs, wanted[part]))
            if not len(places):
                continue
            alike = theirs[places] == wanted[part, None]
            index = torch.as_tensor(places, device=device)
            keys = _keys(asked[part], block[index], index + span.start)
            queries, columns = alike.nonzero()
            each = alike.sum(axis=1)
            slots = np.arange(len(queries)) - np.repeat(each.cumsum() - each - filled[part], each)
            filled[part] += each
            queries, columns, slots = (torch.as_tensor(one, device=device) for one in (queries, columns, slots))
            relevant[start + queries, slots] = keys[queries, columns]
    return _ascending(relevant)


def _keys(asked: Any, block: Any, positions: Any) -> Any:
    """Returns the keys of rows at some positions for each query, (n, rows) int64; queries are multiplied by STEPS."""
    import torch

    return (asked @ block.T).round_().to(torch.int64).mul_(MOST).add_(MOST - 1 - positions)


def _ascending(keys: Any) -> Any:
    """Returns each row of keys sorted; in place on a CPU, where NumPy sorts several times as fast as torch."""
    if keys.device.type != "cpu":
        return keys.sort(1).values
    keys.numpy().sort(axis=1)
    return keys


def _summed(above: Any, own: Places) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns first hits and average precisions (n,) from counts (n, most + 1) and numbers of own rows (n,).

    Of the R own rows in ascending order, the one at place i is the (R - i)-th that is found, and as many rows of other
    classes are found before it as are counted at places beyond i.
    """
    first, precision = np.zeros(len(own)), np.zeros(len(own))
    width = above.shape[1] - 1
    step = max(1, _SUMMED // (width + 1))
    for start in range(0, len(own) if width else 0, step):
        part = slice(start, min(start + step, len(own)))
        counts = host(above[part])[:, :0:-1].cumsum(axis=1, dtype=np.int64)[:, ::-1]
        found = own[part, None] - np.arange(width)
        ranks = np.where(found > 0, found + counts, 1)
        some = own[part] > 0
        precision[part][some] = (found.clip(min=0) / ranks).sum(axis=1)[some] / own[part][some]
        first[part][some] = ranks[np.arange(len(ranks)), own[part] - 1][some]
    return first, precision
