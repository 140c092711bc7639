"""The tables of the spread between sources, and the blocks that they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import shots_text
from probebench.study.answer import Estimate, Table, Value
from probebench.study.noise import Scale, Spread, spread, trend, values, variances
from probebench.study.observations import Observation

SCALES: tuple[Scale, ...] = ("points", "log")


@dataclass(frozen=True)
class SpreadBlock:
    """Sources that share method, objective, architecture and size, on one data set: the same ones at all levels."""

    group: str
    dataset: str
    levels: dict[Shots, list[Observation]]


def one_spread(row: Sequence[Observation], scale: Scale) -> Spread | None:
    """Returns the spread between some sources; None where the noise of one is unknown."""
    noise = variances(row, scale)
    return None if noise is None else spread([(values(row, scale), noise)])


def one_trend(levels: Sequence[Spread | None]) -> Estimate | None:
    """Returns the change over levels; None where there is one level or an unknown spread."""
    known = [level.deviation for level in levels if level is not None]
    return trend(known) if len(known) == len(levels) > 1 else None


def _plain(row: Sequence[Observation], scale: Scale) -> float:
    return float(np.ptp(values(row, scale)))


def overall_table(
    levels: Sequence[Shots], blocks: Sequence[SpreadBlock], overall: dict[Scale, list[Spread | None]]
) -> Table:
    """Returns max - min and the noise-corrected spread over all blocks, one row a number of shots."""
    rows: list[dict[str, Value]] = []
    for place, level in enumerate(levels):
        points, log = overall["points"][place], overall["log"][place]
        rows.append(
            {
                "shots": shots_text(level),
                "range": float(np.mean([_plain(block.levels[level], "points") for block in blocks])),
                "deviation": points.deviation if points else None,
                "p": points.p_value if points else None,
                "range_log": float(np.mean([_plain(block.levels[level], "log") for block in blocks])),
                "deviation_log": log.deviation if log else None,
                "blocks": len(blocks),
            }
        )
    return Table(
        "overall",
        "Spread between sources, over the same data sets and sources at every number of shots",
        (
            ("shots", "shots", "text"),
            ("range", "max - min, points", "points"),
            ("deviation", "noise-corrected SD, points", "points"),
            ("p", "p of no spread", "p"),
            ("range_log", "max - min, log-error", "log"),
            ("deviation_log", "noise-corrected SD, log-error", "log"),
            ("blocks", "data sets x groups", "count"),
        ),
        tuple(rows),
    )


def trend_table(trends: dict[Scale, Estimate | None], levels: Sequence[Shots], blocks: Sequence[SpreadBlock]) -> Table:
    """Returns the change with more labels over all blocks, and on each."""
    rows: list[dict[str, Value]] = [
        {"dataset": "all", "group": "all", "points": trends["points"], "log": trends["log"]}
    ]
    for block in blocks:
        own = {scale: one_trend([one_spread(block.levels[level], scale) for level in levels]) for scale in SCALES}
        rows.append({"dataset": block.dataset, "group": block.group, "points": own["points"], "log": own["log"]})
    return Table(
        "trend",
        "Change of the noise-corrected SD from the fewest shots to the most (straight line over equal steps)",
        (
            ("dataset", "data set", "text"),
            ("group", "matched at", "text"),
            ("points", "points", "points"),
            ("log", "log-error", "log"),
        ),
        tuple(rows),
    )


def block_table(levels: Sequence[Shots], blocks: Sequence[SpreadBlock]) -> Table:
    """Returns the spreads of every block, with what its cells were chosen on."""
    rows: list[dict[str, Value]] = []
    for block in blocks:
        for level in levels:
            row = block.levels[level]
            points, log = one_spread(row, "points"), one_spread(row, "log")
            counts = sorted(cell.settings for cell in row)
            rows.append(
                {
                    "dataset": block.dataset,
                    "group": block.group,
                    "shots": shots_text(level),
                    "sources": len(row),
                    "settings": str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}",
                    "selection": " and ".join(sorted({cell.selection for cell in row})),
                    "range": _plain(row, "points"),
                    "deviation": points.deviation if points else None,
                    "range_log": _plain(row, "log"),
                    "deviation_log": log.deviation if log else None,
                }
            )
    return Table(
        "datasets",
        "Spread between sources on each data set",
        (
            ("dataset", "data set", "text"),
            ("group", "matched at", "text"),
            ("shots", "shots", "text"),
            ("sources", "sources", "count"),
            ("settings", "settings a cell", "text"),
            ("selection", "selected on", "text"),
            ("range", "max - min, points", "points"),
            ("deviation", "noise-corrected SD, points", "points"),
            ("range_log", "max - min, log-error", "log"),
            ("deviation_log", "noise-corrected SD, log-error", "log"),
        ),
        tuple(rows),
    )
