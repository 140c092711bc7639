"""Does the pre-training source matter, and does that fade with more labels?"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from probebench.registry.entry import Shots
from probebench.results.cells import counted, in_order, shots_text, size_text
from probebench.results.stats import holm
from probebench.study.answer import ALPHA, Answer, Estimate, refusal, rests_on, selection_note
from probebench.study.noise import Scale, Spread, spread, values, variances
from probebench.study.observations import Observation, average, group_by, sized
from probebench.study.spread_tables import (
    SCALES,
    SpreadBlock,
    block_table,
    one_spread,
    one_trend,
    overall_table,
    trend_table,
)

_QUESTION, _TITLE = "spread", "Does the pre-training source matter, and does that fade?"
_WEIGHTS = (
    "max - min is the plain mean over data sets. The noise-corrected SD is a root mean square in which a data set "
    "noisier than the median weighs less in proportion, equally at all numbers of shots. Intervals cover noise of "
    "draws and test images: they speak of these sources on these data sets."
)


def spread_answer(listed: Sequence[Observation]) -> Answer:
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
    overall = {scale: _overall(levels, blocks, scale) for scale in SCALES}
    trends = {scale: one_trend(overall[scale]) for scale in SCALES}
    singles = _singles(levels, blocks)
    matters = _holm_levels(levels, overall["points"])
    dropped = in_order({level for block in found for level in block.levels} - set(levels))
    return Answer(
        question=_QUESTION,
        title=_TITLE,
        track=track,
        verdict=_verdict(levels, matters, overall, trends, singles, blocks),
        found=(*(f"source matters at {shots_text(level)}" for level in matters), *_fading(trends, singles)),
        tables=(
            overall_table(levels, blocks, overall),
            trend_table(trends, levels, blocks),
            block_table(levels, blocks),
        ),
        notes=(_WEIGHTS, *_notes(found, blocks, dropped, overall), *selection_note(used)),
        basis=rests_on(used),
    )


def _blocks(listed: Sequence[Observation]) -> list[SpreadBlock]:
    members: dict[tuple[str, str, str, int, str], list[Observation]] = defaultdict(list)
    for cell, size in sized(listed):
        members[cell.method, cell.objective, cell.architecture, size, cell.dataset].append(cell)
    blocks = []
    for (method, objective, architecture, size, dataset), held in members.items():
        by_level = {level: _one_each(one) for level, one in group_by(held, lambda cell: cell.shots).items()}
        levels = {level: by_level[level] for level in in_order(by_level) if len(by_level[level]) > 1}
        if levels:
            blocks.append(SpreadBlock(f"{method} ({objective}), {architecture}, {size_text(size)}", dataset, levels))
    return blocks


def _one_each(members: Sequence[Observation]) -> list[Observation]:
    """Takes the mean of each source: one may come with other labels, a size that counts as the same, or another run."""
    by_source = group_by(members, lambda one: one.source)
    return [average(by_source[source]) for source in sorted(by_source)]


def _levels(blocks: Sequence[SpreadBlock]) -> list[Shots]:
    """Returns the numbers of shots at which to compare: those that half the blocks have, and some block has all."""
    held = {level: sum(level in block.levels for block in blocks) for block in blocks for level in block.levels}
    kept = [level for level in in_order(held) if 2 * held[level] >= len(blocks)]
    while kept and not any(_whole(block, kept) for block in blocks):
        kept.remove(min(kept, key=lambda level: held[level]))
    return kept


def _whole(block: SpreadBlock, levels: Sequence[Shots]) -> SpreadBlock | None:
    """Returns a block with the sources that it has at every level, or None where fewer than two are left."""
    if not levels or not set(levels) <= set(block.levels):
        return None
    common = set.intersection(*({cell.source for cell in block.levels[level]} for level in levels))
    if len(common) < 2:
        return None
    kept = {level: [cell for cell in block.levels[level] if cell.source in common] for level in levels}
    return SpreadBlock(block.group, block.dataset, kept)


def _overall(levels: Sequence[Shots], blocks: Sequence[SpreadBlock], scale: Scale) -> list[Spread | None]:
    """Returns the spread over all blocks at each level.

    Blocks weigh the same, but for those with more noise than the median at their noisiest level: they weigh less in
    proportion, or a data set of a few test images would drown the others. Weights are the same at all levels, or a
    change of weights would look like a change of spread.
    """
    noise = [[variances(block.levels[level], scale) for block in blocks] for level in levels]
    known = [[one for one in row if one is not None] for row in noise]
    if any(len(row) < len(blocks) for row in known):
        return [None] * len(levels)
    worst = np.max([[one.mean() for one in row] for row in known], axis=0)
    weights = 1 / np.maximum(np.maximum(worst, np.median(worst)), 1e-12)
    return [
        spread(
            [(values(block.levels[level], scale), one) for block, one in zip(blocks, row, strict=True)],
            weights.tolist(),
        )
        for level, row in zip(levels, known, strict=True)
    ]


def _holm_levels(levels: Sequence[Shots], spreads: Sequence[Spread | None]) -> list[Shots]:
    known = [(level, one.p_value) for level, one in zip(levels, spreads, strict=True) if one is not None]
    adjusted = holm([p_value for _, p_value in known])
    return [level for (level, _), value in zip(known, adjusted, strict=True) if value < ALPHA]


def _fading(trends: dict[Scale, Estimate | None], singles: tuple[int, int]) -> tuple[str, ...]:
    """Names a change of spread only where points and log-error agree, and single data sets do not point elsewhere."""
    ends = [(one.low or 0.0, one.high or 0.0) for one in trends.values() if one is not None]
    if len(ends) < len(SCALES):
        return ()
    falls, grows = singles
    if all(high < 0 for _, high in ends) and falls >= grows:
        return ("fades",)
    return ("grows",) if all(low > 0 for low, _ in ends) and grows >= falls else ()


def _verdict(
    levels: Sequence[Shots],
    matters: Sequence[Shots],
    overall: dict[Scale, list[Spread | None]],
    trends: dict[Scale, Estimate | None],
    singles: tuple[int, int],
    blocks: Sequence[SpreadBlock],
) -> str:
    datasets, groups = len({block.dataset for block in blocks}), len({block.group for block in blocks})
    where = f"over {counted(datasets, 'data set')} and {counted(groups, 'group')} of one method, architecture and size"
    if any(one is None for one in overall["points"]):
        return f"Only max - min can be given {where}: the noise of some scores is unknown, so fading cannot be judged."
    first = (
        f"The source matters at {', '.join(shots_text(level) for level in matters)} ({where})."
        if matters
        else f"No spread between sources beyond noise ({where})."
    )
    if len(levels) < 2:
        return f"{first} There is one number of shots only, so fading cannot be judged."
    return f"{first} {_trend_text(trends, singles, len(blocks))}"


def _trend_text(trends: dict[Scale, Estimate | None], singles: tuple[int, int], count: int) -> str:
    falls, grows = singles
    alone = f"By itself, in log-error, it falls beyond noise in {falls} and grows in {grows} of {count}."
    if said := _fading(trends, singles):
        return f"The spread {said[0]} with more labels, in points and in log-error. {alone}"
    below = {scale: one is not None and (one.high or 0.0) < 0 for scale, one in trends.items()}
    if all(below.values()):
        return f"The mean spread falls with more labels, but not on most data sets: it cannot be called fading. {alone}"
    if below["points"]:
        near = "It fades in points but not in log-error, as it does for any sources when scores near the ceiling."
        return f"{near} {alone}"
    if below["log"]:
        return f"It fades in log-error but not in points. {alone}"
    return f"No change of the spread with more labels beyond noise in both points and log-error. {alone}"


def _singles(levels: Sequence[Shots], blocks: Sequence[SpreadBlock]) -> tuple[int, int]:
    """Counts the blocks whose own spread falls and grows beyond noise, in log-error."""
    changes = [one_trend([one_spread(block.levels[level], "log") for level in levels]) for block in blocks]
    falls = sum(one is not None and (one.high or 0.0) < 0 for one in changes)
    return falls, sum(one is not None and (one.low or 0.0) > 0 for one in changes)


def _notes(
    found: Sequence[SpreadBlock],
    blocks: Sequence[SpreadBlock],
    dropped: Sequence[Shots],
    overall: dict[Scale, list[Spread | None]],
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
