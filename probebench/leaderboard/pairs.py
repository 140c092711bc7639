"""Paired differences of the first lines of a view, so that the page can put any two of them side by side."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from probebench.leaderboard.ranking import CellScores
from probebench.leaderboard.scores import Scores
from probebench.results.cells import DataSet, Entrant

# Lines of the view; 435 pairs on each data set.
FIRST = 30


def first_pairs(
    entrants: Sequence[Entrant],
    cells: CellScores,
    scores: Scores,
    numbers: tuple[Mapping[Entrant, int], Mapping[DataSet, int]],
) -> dict[int, list[list[Any]]]:
    """Returns the differences of all pairs on the same draws and images, by the number of the data set.

    Args:
        entrants: Best first; the first of them count.
        cells: Their scores.
        scores: Reads predictions.
        numbers: Of entrants and of data sets.

    Returns:
        Lines [one, other, difference, low, high]: numbers of entrants, and ten-thousandths of a percent.
    """
    of_entrant, of_dataset = numbers
    found: dict[int, list[list[Any]]] = {}
    chosen, compare = entrants[:FIRST], scores.paired("own")
    for dataset in sorted({one for entrant in chosen for one in cells[entrant]}, key=lambda one: of_dataset[one]):
        held = [(one, cells[one][dataset].cell.result) for one in chosen if dataset in cells[one]]
        lines = []
        for (one, first), (other, second) in combinations(held, 2):
            if (compared := compare(first, second)) is not None:
                ends = (compared.difference, *compared.ci95)
                lines.append([of_entrant[one], of_entrant[other], *(round(float(end) * 1e6) for end in ends)])
        if lines:
            found[of_dataset[dataset]] = lines
    return found
