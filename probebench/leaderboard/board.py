"""Turns results into the leaderboard's rows, and says what they can and cannot answer."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from probebench.results.schema import CheckpointFacts, Result


@dataclass(frozen=True)
class Row:
    """One checkpoint on one data set under one protocol, with its results by shots (an int, or "full")."""

    model: str
    facts: CheckpointFacts
    dataset: str
    input_size: int | None
    protocol: str
    kind: str
    ranked: bool
    cells: dict[int | str, Result]


def _row_key(result: Result) -> tuple[object, ...]:
    return (
        result.model,
        result.weights_digest,
        result.dataset,
        result.dataset_fingerprint,
        result.input_size,
        result.dtype,
        result.checkpoint.layer,
        result.backend,
        # The test part's feature key is the same at all shots of one extraction: other images or preprocessing are
        # another row.
        (result.feature_key or {}).get("test"),
        result.protocol,
        result.protocol_version,
        result.kind,
        result.mode,
        result.provenance,
        result.selection == "test",
    )


def board_rows(results: Iterable[Result]) -> list[Row]:
    """Groups results into rows, best first: by mean score at the most shots that any row has.

    Of several results for one cell, the one with the most draws counts. A missing cell never counts as 0: rows without
    the deciding cell come after those that have it, and rows selected on test labels come last and are not ranked.
    """
    grouped: dict[tuple[object, ...], dict[int | str, Result]] = defaultdict(dict)
    for result in results:
        cells = grouped[_row_key(result)]
        held = cells.get(result.shots)
        if held is None or len(held.trials) < len(result.trials):
            cells[result.shots] = result
    rows = []
    for cells in grouped.values():
        some = next(iter(cells.values()))
        rows.append(
            Row(
                model=some.model,
                facts=some.checkpoint,
                dataset=some.dataset,
                input_size=some.input_size,
                protocol=f"{some.protocol} v{some.protocol_version}",
                kind=f"{some.kind} ({some.mode})",
                ranked=some.selection != "test" and some.provenance == "measured",
                cells=cells,
            )
        )
    columns = shots_columns(rows)
    return sorted(rows, key=lambda row: (not row.ranked, row.dataset, *_descending(row, columns), row.model))


def _descending(row: Row, columns: list[int | str]) -> list[tuple[bool, float]]:
    means = [cell.mean if (cell := row.cells.get(shots)) else None for shots in reversed(columns)]
    return [(mean is None, -(mean or 0.0)) for mean in means]


def shots_columns(rows: Iterable[Row]) -> list[int | str]:
    """Returns all numbers of shots that occur, ascending, full last."""
    return sorted(
        {shots for row in rows for shots in row.cells},
        key=lambda shots: (shots == "full", int(shots) if shots != "full" else 0),
    )


def answers(rows: Iterable[Row]) -> tuple[bool, str]:
    """Says whether the rows can compare pre-training sources: that takes two of them at one method and architecture."""
    sources: dict[tuple[str, str], set[str]] = defaultdict(set)
    methods = set()
    for row in rows:
        methods.add(row.facts.method)
        if row.facts.method != "none":
            name = " + ".join(sorted(source.name for source in row.facts.sources))
            sources[row.facts.method, row.facts.architecture].add(name)
    if any(len(names) > 1 for names in sources.values()):
        return True, "Compare sources only within one method and one architecture; the table below sorts by any column."
    return False, (
        "These results cannot say which pre-training data transfers best: no two checkpoints here share a method and "
        "an architecture and differ in their source. They do say how far a pre-trained checkpoint is ahead of an "
        "untrained twin, where one is in the table."
        if methods
        else "There are no results yet."
    )
