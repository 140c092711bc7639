"""The table of results as a terminal shows it, and what results can and cannot answer."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probebench.registry.architectures import canonical_architecture
from probebench.registry.entry import Shots
from probebench.results.cells import Cell, DataSet, Entrant, Setting, in_order, selected_on_test, source_name
from probebench.results.schema import CheckpointFacts
from probebench.results.scores import score_of
from probebench.results.short import lacks_images


@dataclass(frozen=True)
class Row:
    """One entrant on one data set in one setting, with its cells by shots."""

    entrant: Entrant
    dataset: DataSet
    setting: Setting
    cells: dict[Shots, Cell]

    @property
    def ranked(self) -> bool:
        """Whether it may be ranked: measured here, and no test label had a part in a choice."""
        return self.entrant.provenance == "measured" and not any(
            selected_on_test(cell.result) for cell in self.cells.values()
        )


def board_rows(cells: Iterable[Cell]) -> list[Row]:
    """Groups cells into rows, best first: by recomputed mean score at the most shots that any row has.

    A missing cell never counts as 0: rows without the deciding cell come after those that have it, and rows selected on
    test labels come last and are not ranked. Of several tunings of a published table, the first in order is shown.
    """
    grouped: dict[tuple[Entrant, DataSet, Setting, str], dict[Shots, Cell]] = defaultdict(dict)
    for cell in cells:
        key = cell.key
        grouped[key.entrant, key.dataset, key.setting, key.metric].setdefault(key.shots, cell)
    rows = [Row(entrant, dataset, setting, held) for (entrant, dataset, setting, _), held in grouped.items()]
    columns = shots_columns(rows)
    return sorted(
        rows,
        key=lambda row: (
            *(not row.ranked, row.dataset.order, _descending(row, columns)),
            *(row.entrant.order, row.setting),
        ),
    )


def _descending(row: Row, columns: Sequence[Shots]) -> list[tuple[bool, float]]:
    means = [
        score_of(cell.result).mean if (cell := row.cells.get(shots)) and not lacks_images(cell.result) else None
        for shots in reversed(columns)
    ]
    return [(mean is None, -(mean or 0.0)) for mean in means]


def shots_columns(rows: Iterable[Row]) -> list[Shots]:
    """Returns all numbers of shots that occur, ascending, full last."""
    return in_order(shots for row in rows for shots in row.cells)


def answers(checkpoints: Iterable[CheckpointFacts]) -> str:
    """Says whether results can compare pre-training sources: that takes two of them at one method and architecture."""
    sources: dict[tuple[str, str], set[str]] = defaultdict(set)
    methods = set()
    for facts in checkpoints:
        methods.add(facts.method)
        if facts.method != "none":
            sources[facts.method, canonical_architecture(facts.architecture)].add(source_name(facts))
    if any(len(names) > 1 for names in sources.values()):
        return "Compare sources only within one method and one architecture; the table below sorts by any column."
    return (
        "These results cannot say which pre-training data transfers best: no two checkpoints here share a method and "
        "an architecture and differ in their source. They do say how far a pre-trained checkpoint is ahead of an "
        "untrained twin, where one is in the table."
        if methods
        else "There are no results yet."
    )
