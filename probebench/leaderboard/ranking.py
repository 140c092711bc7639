"""Ranks checkpoints on the same data sets, at the same number of shots, under the same protocol."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from probebench.registry.entry import Shots
from probebench.results.cells import Cell, DataSet, Entrant, Setting, of_unknown_version, selected_on_test, superseded
from probebench.results.schema import Result
from probebench.results.scores import DECIMALS, has_score
from probebench.results.short import is_trial, lacks_images
from probebench.results.stats import Comparison, holm, mean_comparison

ALPHA = 0.05

Interval = tuple[float, float]
Note = Literal[
    "",
    "leader",
    "tied",
    "apart",
    "not compared",
    "incomplete",
    "test-selected",
    "published",
    "older version",
    "unknown version",
    "too few images",
    "trial run",
    "not verifiable",
    "self-reported",
    "failed",
]
NOTES: tuple[Note, ...] = get_args(Note)


@dataclass(frozen=True)
class CellScore:
    """A cell's score by one metric.

    Attributes:
        mean: Recomputed; None where the result that counts failed.
        note: Why it may not count, such as "test-selected" or "not verifiable"; else "".
        reproduced: Whether somebody has run it again, from public weights.
    """

    cell: Cell
    mean: float | None
    ci95: Interval | None
    note: Note = ""
    reproduced: bool = False


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One entrant's line in a ranking.

    Attributes:
        rank: 1 + how many are strictly better; None where it is not ranked.
        mean: Mean score over the ranking's data sets; None where one of them is missing.
        mean_rank: Its ranks on the single data sets among all ranked entrants, averaged; equal scores share theirs.
        note: Among the ranked "leader", "tied" (the paired comparison cannot tell it from the leader), "apart" (it
            can) or "not compared"; else why it is not ranked.
        present: On how many of the data sets it has a score.
    """

    entrant: Entrant
    rank: int | None
    mean: float | None
    ci95: Interval | None
    mean_rank: float | None
    note: Note
    present: int


@dataclass(frozen=True)
class Ranking:
    """Entrants, best first and those not ranked last, over these data sets."""

    datasets: tuple[DataSet, ...]
    places: tuple[Standing, ...]


CellScores = Mapping[Entrant, Mapping[DataSet, CellScore]]
Paired = Callable[[Result, Result], Comparison | None]
Arranged = dict[tuple[Setting, Shots], dict[Entrant, dict[DataSet, Cell]]]


def arrange(cells: Iterable[Cell]) -> Arranged:
    """Puts cells in their places: setting and shots, entrant, data set.

    Published figures name no images; they stand beside those measured on the images that most results are of. Of
    several cells for one place, which differ in their metric or their tuning, the first in order is shown.
    """
    cells = list(cells)
    common: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        if cell.key.dataset.fingerprint:
            common[cell.key.dataset.name][cell.key.dataset.fingerprint] += 1
    arranged: Arranged = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        dataset = cell.key.dataset
        if dataset.fingerprint is None and (known := common[dataset.name]):
            dataset = DataSet(dataset.name, min(known, key=lambda one: (-known[one], one)))
        arranged[cell.key.setting, cell.key.shots][cell.key.entrant].setdefault(dataset, cell)
    return arranged


def why_unranked(result: Result, versions: Mapping[str, int]) -> Note:
    """Says why a result is shown and not ranked; "" where it is ranked.

    Args:
        result: The result.
        versions: The present version of each protocol that is known.
    """
    if result.provenance == "published":
        return "published"
    if selected_on_test(result):
        return "test-selected"
    if superseded(result, versions):
        return "older version"
    if of_unknown_version(result, versions):
        return "unknown version"
    if is_trial(result):
        return "trial run"
    if lacks_images(result):
        return "too few images"
    return "" if has_score(result) else "failed"


def only_reproduced(cells: CellScores) -> CellScores:
    """Returns scores of which what nobody has run again is noted as self-reported, and so is not ranked."""
    return {
        entrant: {
            dataset: one if one.reproduced or one.note else replace(one, note="self-reported")
            for dataset, one in own.items()
        }
        for entrant, own in cells.items()
    }


def only_published(cells: CellScores) -> CellScores:
    """Returns published figures alone, which may be ranked among themselves."""
    return {
        entrant: {
            dataset: replace(one, note="failed" if one.mean is None else "" if one.note == "published" else one.note)
            for dataset, one in own.items()
        }
        for entrant, own in cells.items()
        if entrant.provenance == "published"
    }


def only_measured(cells: CellScores) -> CellScores:
    """Returns what was measured here."""
    return {entrant: own for entrant, own in cells.items() if entrant.provenance == "measured"}


def shared_datasets(cells: CellScores) -> tuple[DataSet, ...]:
    """Returns the data sets of a ranking: those that at least half of the entrants who may be ranked have.

    So neither one more data set of a single entrant nor a single gap changes what everyone is compared on.
    """
    counts = Counter(
        dataset for own in cells.values() for dataset, cell in own.items() if not cell.note and cell.mean is not None
    )
    entrants = sum(any(not cell.note and cell.mean is not None for cell in own.values()) for own in cells.values())
    shared = [dataset for dataset, count in counts.items() if 2 * count >= entrants]
    return tuple(sorted(shared, key=lambda one: one.order))


def rank(cells: CellScores, paired: Paired, datasets: Sequence[DataSet] | None = None) -> Ranking:
    """Ranks entrants by their mean score over data sets.

    Only who has a score on every data set is ranked; a missing one is no 0, and leaves no mean to be helped by it.

    Args:
        cells: Scores by one metric, at one setting and number of shots.
        paired: Compares two results on the same draws and images; None where they do not share them.
        datasets: Those of the ranking; None is ``shared_datasets``.
    """
    chosen = tuple(datasets) if datasets is not None else shared_datasets(cells)
    # Where nothing may be ranked, what is shown is shown on all its data sets.
    shown = chosen or tuple(sorted({one for own in cells.values() for one in own}, key=lambda one: one.order))
    ranked: dict[Entrant, list[CellScore]] = {}
    others: list[Standing] = []
    for entrant, own in cells.items():
        found = [own[dataset] for dataset in shown if dataset in own]
        note = _note(found, len(shown))
        if not note:
            ranked[entrant] = found
        elif found:
            others.append(_unranked(entrant, found, note, len(shown)))
    means = {entrant: _mean(found) for entrant, found in ranked.items()}
    best_first = sorted(ranked, key=lambda one: (-means[one], *one.order))
    notes = _told_apart(best_first, ranked, paired)
    ascending = sorted(means.values())
    ranks = _mean_ranks(ranked)
    places = [
        Standing(
            entrant=entrant,
            rank=1 + len(ascending) - bisect_right(ascending, means[entrant]),
            mean=means[entrant],
            ci95=mean_interval([cell.mean or 0.0 for cell in ranked[entrant]], [cell.ci95 for cell in ranked[entrant]]),
            mean_rank=ranks[entrant],
            note=note,
            present=len(chosen),
        )
        for entrant, note in zip(best_first, notes, strict=True)
    ]
    others.sort(key=lambda place: (place.mean is None, -(place.mean or 0.0), *place.entrant.order))
    return Ranking(chosen, (*places, *others))


def mean_interval(means: Sequence[float], intervals: Sequence[Interval | None]) -> Interval | None:
    """Returns the 95% interval of a mean over independent data sets from the interval of each.

    Variance estimates are recovered from the limits (Zou and Donner, 2008): the lower limit lies the root of the summed
    squares of (mean - low) / D below, the upper likewise above. For one data set this is its own interval. The data
    sets are fixed: it says nothing of others.
    """
    known = [one for one in intervals if one is not None]
    if not means or len(known) < len(means):
        return None
    count, centre = len(means), sum(means) / len(means)
    below = sqrt(sum((mean - low) ** 2 for mean, (low, _) in zip(means, known, strict=True))) / count
    above = sqrt(sum((high - mean) ** 2 for mean, (_, high) in zip(means, known, strict=True))) / count
    return centre - below, centre + above


def _note(found: Sequence[CellScore], wanted: int) -> Note:
    """Says why an entrant is not ranked; what forbids a rank comes before what is only missing."""
    notes = {cell.note for cell in found}
    forbidden: tuple[Note, ...] = (
        "published",
        "test-selected",
        "older version",
        "unknown version",
        "not verifiable",
        "too few images",
        "trial run",
        "failed",
        "self-reported",
    )
    for note in forbidden:
        if note in notes:
            return note
    return "" if len(found) == wanted else "incomplete"


def _unranked(entrant: Entrant, found: Sequence[CellScore], note: Note, wanted: int) -> Standing:
    scored = [cell for cell in found if cell.mean is not None]
    whole = len(scored) == wanted
    interval = mean_interval([cell.mean or 0.0 for cell in scored], [cell.ci95 for cell in scored]) if whole else None
    return Standing(
        entrant=entrant,
        rank=None,
        mean=_mean(scored) if whole else None,
        ci95=interval,
        mean_rank=None,
        note=note,
        present=len(scored),
    )


def _told_apart(
    best_first: Sequence[Entrant], cells: Mapping[Entrant, Sequence[CellScore]], paired: Paired
) -> list[Note]:
    if not best_first:
        return []
    leader, *others = best_first
    found = [_against(cells[leader], cells[other], paired) for other in others]
    adjusted = iter(holm([one.p_value for one in found if one is not None]))
    notes: list[Note] = ["leader"]
    for one in found:
        notes.append("not compared" if one is None else "tied" if next(adjusted) > ALPHA else "apart")
    return notes


def _against(leader: Sequence[CellScore], other: Sequence[CellScore], paired: Paired) -> Comparison | None:
    found = []
    for one, two in zip(leader, other, strict=True):
        comparison = paired(one.cell.result, two.cell.result)
        if comparison is None:
            return None
        found.append(comparison)
    return mean_comparison(found)


def _mean_ranks(cells: Mapping[Entrant, Sequence[CellScore]]) -> dict[Entrant, float]:
    if not cells:
        return {}
    scores = np.array([[cell.mean or 0.0 for cell in own] for own in cells.values()])
    ranks = [1 + (_beaten_by(column, "right") + _beaten_by(column, "left") - 1) / 2 for column in scores.T]
    return dict(zip(cells, np.mean(ranks, axis=0).tolist(), strict=True))


def _beaten_by(scores: npt.NDArray[np.float64], side: Literal["left", "right"]) -> npt.NDArray[np.int64]:
    """Returns how many scores are better than each ("right"), or at least as good, itself included ("left")."""
    return len(scores) - np.searchsorted(np.sort(scores), scores, side=side)


def _mean(cells: Sequence[CellScore]) -> float:
    return round(sum(cell.mean or 0.0 for cell in cells) / len(cells), DECIMALS)
