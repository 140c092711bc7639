"""Does the pre-training source matter, and does that fade with more labels?"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probebench.results.stats import holm
from probebench.study.answer import ALPHA, Answer, Estimate, Table, Value, plural, refusal, rests_on, selection_note
from probebench.study.cells import Cell, Shots, group_by, shots_order, shots_text, size_text, sized
from probebench.study.noise import Scale, Spread, spread, trend, values, variances

_QUESTION, _TITLE = "spread", "Does the pre-training source matter, and does that fade?"
_SCALES: tuple[Scale, ...] = ("points", "log")


@dataclass(frozen=True)
class Block:
    """Sources that share method, objective, architecture and size, on one data set: the same ones at all levels."""

    group: str
    dataset: str
    levels: dict[Shots, list[Cell]]


def spread_answer(listed: Sequence[Cell]) -> Answer:
    """Answers for one track."""
    track = str(listed[0].track)
    found = _blocks(listed)
    levels = _levels(found)
    blocks = [whole for block in found if (whole := _whole(block, levels)) is not None]
    if not blocks:
        return refusal(
            _QUESTION, _TITLE, track, "no two sources share a method, an architecture and a size on any data set"
        )
    used = [cell for block in blocks for level in block.levels.values() for cell in level]
    overall = {
        scale: [_spread([block.levels[level] for block in blocks], scale) for level in levels] for scale in _SCALES
    }
    trends = {scale: _trend(overall[scale]) for scale in _SCALES}
    matters = _holm_levels(levels, overall["points"])
    dropped = shots_order({level for block in found for level in block.levels} - set(levels))
    return Answer(
        _QUESTION,
        _TITLE,
        track,
        _verdict(levels, matters, overall, trends, blocks),
        found=(*(f"source matters at {shots_text(level)}" for level in matters), *_fading(trends)),
        tables=(_overall_table(levels, blocks, overall), _trend_table(trends), _block_table(levels, blocks)),
        notes=(*_notes(found, blocks, dropped, overall), *selection_note(used)),
        basis=rests_on(used),
    )


def _blocks(listed: Sequence[Cell]) -> list[Block]:
    members: dict[tuple[str, str, str, int, str], list[Cell]] = defaultdict(list)
    for cell, size in sized(listed):
        members[cell.method, cell.objective, cell.architecture, size, cell.dataset].append(cell)
    blocks = []
    for (method, objective, architecture, size, dataset), held in members.items():
        by_level = {level: _one_each(one) for level, one in group_by(held, lambda cell: cell.shots).items()}
        levels = {level: by_level[level] for level in shots_order(by_level) if len(by_level[level]) > 1}
        if levels:
            blocks.append(Block(f"{method} ({objective}), {architecture}, {size_text(size)}", dataset, levels))
    return blocks


def _one_each(members: Sequence[Cell]) -> list[Cell]:
    """Takes the best cell of each source: one may come with other labels or a size that counts as the same."""
    best: dict[str, Cell] = {}
    for cell in members:
        if cell.source not in best or cell.score > best[cell.source].score:
            best[cell.source] = cell
    return sorted(best.values(), key=lambda cell: cell.source)


def _levels(blocks: Sequence[Block]) -> list[Shots]:
    """Returns the numbers of shots at which to compare: those that half the blocks have, and some block has all."""
    held = {level: sum(level in block.levels for block in blocks) for block in blocks for level in block.levels}
    kept = [level for level in shots_order(held) if 2 * held[level] >= len(blocks)]
    while kept and not any(_whole(block, kept) for block in blocks):
        kept.remove(min(kept, key=lambda level: held[level]))
    return kept


def _whole(block: Block, levels: Sequence[Shots]) -> Block | None:
    """Returns a block with the sources that it has at every level, or None where fewer than two are left."""
    if not levels or not set(levels) <= set(block.levels):
        return None
    common = set.intersection(*({cell.source for cell in block.levels[level]} for level in levels))
    if len(common) < 2:
        return None
    kept = {level: [cell for cell in block.levels[level] if cell.source in common] for level in levels}
    return Block(block.group, block.dataset, kept)


def _spread(rows: Sequence[Sequence[Cell]], scale: Scale) -> Spread | None:
    pairs = []
    for row in rows:
        noise = variances(row, scale)
        if noise is None:
            return None
        pairs.append((values(row, scale), noise))
    return spread(pairs)


def _trend(levels: Sequence[Spread | None]) -> Estimate | None:
    known = [level.deviation for level in levels if level is not None]
    return trend(known) if len(known) == len(levels) > 1 else None


def _holm_levels(levels: Sequence[Shots], spreads: Sequence[Spread | None]) -> list[Shots]:
    known = [(level, one.p_value) for level, one in zip(levels, spreads, strict=True) if one is not None]
    adjusted = holm([p_value for _, p_value in known])
    return [level for (level, _), value in zip(known, adjusted, strict=True) if value < ALPHA]


def _fading(trends: dict[Scale, Estimate | None]) -> tuple[str, ...]:
    """Names a change of spread only where points and log-error agree."""
    ends = [(one.low or 0.0, one.high or 0.0) for one in trends.values() if one is not None]
    if len(ends) < len(_SCALES):
        return ()
    if all(high < 0 for _, high in ends):
        return ("fades",)
    return ("grows",) if all(low > 0 for low, _ in ends) else ()


def _verdict(
    levels: Sequence[Shots],
    matters: Sequence[Shots],
    overall: dict[Scale, list[Spread | None]],
    trends: dict[Scale, Estimate | None],
    blocks: Sequence[Block],
) -> str:
    datasets, groups = len({block.dataset for block in blocks}), len({block.group for block in blocks})
    where = f"over {plural(datasets, 'data set')} and {plural(groups, 'group')} of one method, architecture and size"
    if any(one is None for one in overall["points"]):
        return f"Only max - min can be given {where}: the noise of some scores is unknown, so fading cannot be judged."
    first = (
        f"The source matters at {', '.join(shots_text(level) for level in matters)} ({where})."
        if matters
        else f"No spread between sources beyond noise ({where})."
    )
    if len(levels) < 2:
        return f"{first} There is one number of shots only, so fading cannot be judged."
    return f"{first} {_trend_text(trends)}"


def _trend_text(trends: dict[Scale, Estimate | None]) -> str:
    if said := _fading(trends):
        return f"The spread {said[0]} with more labels, in points and in log-error."
    below = {scale: one is not None and (one.high or 0.0) < 0 for scale, one in trends.items()}
    if below["points"]:
        return "It fades in points but not in log-error, as it does for any sources when scores near the ceiling."
    if below["log"]:
        return "It fades in log-error but not in points."
    return "No change of the spread with more labels beyond noise in both points and log-error."


def _plain(row: Sequence[Cell], scale: Scale) -> float:
    return float(np.ptp(values(row, scale)))


def _overall_table(
    levels: Sequence[Shots], blocks: Sequence[Block], overall: dict[Scale, list[Spread | None]]
) -> Table:
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


def _trend_table(trends: dict[Scale, Estimate | None]) -> Table:
    return Table(
        "trend",
        "Change of the noise-corrected SD from the fewest shots to the most (straight line over equal steps)",
        (("points", "points", "points"), ("log", "log-error", "log")),
        ({"points": trends["points"], "log": trends["log"]},),
    )


def _block_table(levels: Sequence[Shots], blocks: Sequence[Block]) -> Table:
    rows: list[dict[str, Value]] = []
    for block in blocks:
        for level in levels:
            row = block.levels[level]
            points, log = _spread([row], "points"), _spread([row], "log")
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


def _notes(
    found: Sequence[Block], blocks: Sequence[Block], dropped: Sequence[Shots], overall: dict[Scale, list[Spread | None]]
) -> tuple[str, ...]:
    notes = []
    left_out = sorted({block.dataset for block in found} - {block.dataset for block in blocks})
    if left_out:
        notes.append(f"Left out, not there at every number of shots: {', '.join(left_out)}.")
    if dropped:
        notes.append(f"Left out, on too few data sets: {', '.join(shots_text(level) for level in dropped)}.")
    if any(one is None for one in overall["points"]):
        notes.append("Scores without a count of test images have no known noise, so there is no noise-corrected value.")
    return tuple(notes)
