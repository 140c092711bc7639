"""How much more data of one source matches another?"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from probebench.results.cells import size_text
from probebench.study.claims import Basis, Claim, Estimate, Verdict
from probebench.study.engine import Array, t_quantile
from probebench.study.multiples import Ladder, Multiple, multiple
from probebench.study.observations import Observation, Track, group_by, source_of
from probebench.study.panel import SCALES, WORDS, Level, Panel, Scale
from probebench.study.panels import PanelMaker
from probebench.study.runs import run_variance

_SIZES, _DATASETS = 3, 3
QUESTION = "How much more data of one source matches another?"
# Within a fifth either way two sources are worth the same.
_SAME = 1.25

Rung = tuple[str, int]


def multiple_claims(cells: Sequence[Observation], maker: PanelMaker, group: str, track: Track) -> list[Claim]:
    """Holds the longest ladder of a method, objective and architecture against the best other source, at each level."""
    known = group_by([cell for cell in cells if cell.samples], source_of)
    sizes = {source: {cell.samples for cell in own} for source, own in known.items()}
    ladders = sorted(
        (source for source in sizes if len(sizes[source]) >= _SIZES), key=lambda one: (-len(sizes[one]), one)
    )
    if not ladders or len(sizes) < 2:
        return []
    levels = maker.make([cell for cell in cells if cell.samples], _rung).levels
    claims = []
    for level in levels:
        rows = [row for source in ladders for row in _rows(cells, maker, source, level)]
        if rows:
            claims.append(_claim(level, rows, group, track))
    return claims


def _rung(cell: Observation) -> Rung:
    return cell.source, cell.samples or 0


def _whole_ladder(panel: Panel, places: Sequence[int], source: str, target: Rung) -> tuple[list[int], list[int]] | None:
    """Returns the rows of a ladder, by size, and the data sets that all of them and the target have."""
    there = ~np.isnan(panel.means("points", places))
    columns = np.flatnonzero(there[panel.rows.index(target)])
    rungs = [place for place, row in enumerate(panel.rows) if row[0] == source and there[place, columns].any()]
    rungs.sort(key=lambda place: panel.rows[place][1])
    while len(rungs) >= _SIZES:
        kept = [int(d) for d in columns if there[rungs, d].all()]
        # A size that few data sets have is worth them, as long as there are three.
        if len(kept) >= min(_DATASETS, len(columns)):
            return rungs, kept
        rungs.remove(min(rungs, key=lambda place: int(there[place, columns].sum())))
    return None


def _rows(cells: Sequence[Observation], maker: PanelMaker, source: str, level: Level) -> list[dict[str, Any]]:
    """Returns the multiple of a ladder against every other source at every size within the ladder's."""
    own = [cell for cell in cells if cell.source == source and cell.samples]
    smallest, largest = min(cell.samples or 0 for cell in own), max(cell.samples or 0 for cell in own)
    found = []
    for target, theirs in group_by([cell for cell in cells if cell.source != source and cell.samples], _rung).items():
        size = target[1]
        if not smallest <= size <= largest:
            continue
        # A panel of these two alone: only they need equal tuning.
        panel = maker.make([*own, *theirs], _rung)
        places = panel.places(level)
        held = _whole_ladder(panel, places, source, target) if places else None
        if held is None:
            continue
        rungs, columns = held
        sizes = np.array([float(panel.rows[place][1]) for place in rungs])
        goal = panel.rows.index(target)
        if not sizes[0] <= size <= sizes[-1]:
            continue
        read = {}
        for scale in SCALES:
            ladder = _ladder(panel, scale, places, rungs, columns, sizes)
            read[scale] = multiple(ladder, panel.means(scale, places)[goal][columns], size), ladder
        found.append(
            {
                "source": source,
                "target": target[0],
                "size": size,
                "panel": panel,
                "columns": columns,
                "rungs": rungs,
                "score": float(panel.means("points", places)[goal][columns].mean()),
                "points": read["points"][0],
                "logit": read["logit"][0],
                "ladder": read["logit"][1],
                "goal": float(panel.means("logit", places)[goal][columns].mean()),
            }
        )
    return found


def _ladder(
    panel: Panel, scale: Scale, places: Sequence[int], rungs: Sequence[int], columns: Sequence[int], sizes: Array
) -> Ladder:
    # A point is the mean over its runs: the variance is that of the mean.
    variance, free = run_variance(panel.by_run(scale, places)[rungs][:, :, columns])
    return Ladder.of(sizes, panel.means(scale, places)[np.ix_(rungs, columns)], (variance * free, free))


def _claim(level: Level, rows: list[dict[str, Any]], group: str, track: Track) -> Claim:
    # The target that most readers ask about: the size that most sources share, and there the best of them.
    counts = {row["size"]: sum(other["size"] == row["size"] for other in rows) for row in rows}
    lead = max(
        rows, key=lambda row: (counts[row["size"]], len(row["rungs"]), len(row["columns"]), row["score"], row["source"])
    )
    points, logit, panel = lead["points"], lead["logit"], lead["panel"]
    low, high = lead["logit"].bracket
    sizes = [int(panel.rows[place][1]) for place in lead["rungs"]]
    where = (
        f"between {size_text(low)} and {size_text(high)}"
        if low and high
        else f"beyond {size_text(sizes[-1])}, the largest measured"
        if low
        else f"at {size_text(sizes[0])}, the smallest measured, or below"
    )
    estimate = Estimate(points.value, points.low, points.high, "ratio")
    said = (
        f"{lead['source']} matches {size_text(lead['size'])} of {lead['target']} {where}"
        f"{f', {estimate}' if points.value is not None or points.low is not None else ''} at {WORDS[level]}"
    )
    verdict, missing = _verdict(points, logit, len(sizes))
    if verdict == "not answerable" and float(lead["ladder"].slopes.mean()) <= 0:
        # A line that falls meets the target on its way down, or never: neither is a size that would do.
        said = (
            f"More of {lead['source']} is no better at {WORDS[level]}, from {size_text(sizes[0])} to "
            f"{size_text(sizes[-1])}: no amount of it can be set against {size_text(lead['size'])} of {lead['target']}"
        )
        missing = "a source that gains from its size"
    used = [*lead["rungs"], panel.rows.index((lead["target"], lead["size"]))]
    return Claim(
        id="data-multiple",
        question=QUESTION,
        group=group,
        track=track,
        level=level,
        verdict=verdict,
        bound=_SAME if verdict == "no effect" else None,
        sentence=f"{said}.",
        estimate=estimate,
        logit=Estimate(logit.value, logit.low, logit.high, "ratio"),
        basis=Basis.of(panel, used, lead["columns"]),
        missing=missing,
        details={"multiples": [_plain(row) for row in rows], "curve": _curve(lead)},
    )


def _verdict(points: Multiple, logit: Multiple, sizes: int) -> tuple[Verdict, str | None]:
    """Confirms that more data is needed, contradicts it, or says that both are worth the same."""
    if sizes == _SIZES:
        return "not answerable", "four sizes: three give a bracket and no interval"
    ends = [(part.low or 0.0, math.inf if part.high is None else part.high, part.at_size) for part in (points, logit)]
    if all(low > 1 + 1e-9 or at_size < 0 for low, _, at_size in ends):
        return "confirmed", None
    if all(high < 1 - 1e-9 or at_size > 0 for _, high, at_size in ends):
        return "contradicted", None
    if all(low >= 1 / _SAME and high <= _SAME for low, high, _ in ends):
        return "no effect", None
    return "not answerable", "more sizes or runs: the interval holds 1x"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["logit"].bracket
    one = Estimate(row["points"].value, row["points"].low, row["points"].high, "ratio")
    return {
        "source": row["source"],
        "target": f"{row['target']} at {size_text(row['size'])}",
        "worse at": size_text(low) if low else "none",
        "as well at": size_text(high) if high else "none",
        **one.as_dict(unit=False),
        "datasets": len(row["columns"]),
    }


def _curve(lead: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what the figure draws, as mean logits: measured points, the line with its band, and the target."""
    ladder: Ladder = lead["ladder"]
    x = np.linspace(math.log(ladder.sizes[0]), math.log(ladder.sizes[-1]), 25)
    value, variance = ladder.line(x)
    half = t_quantile(ladder.freedom) * np.sqrt(variance) if len(ladder.sizes) > _SIZES else np.full(len(x), math.nan)
    rows: list[dict[str, Any]] = [
        {"what": "point", "source": lead["source"], "samples": float(size), "logit": round(float(mean), 5)}
        for size, mean in zip(ladder.sizes, ladder.table.mean(axis=1), strict=True)
    ]
    rows += [
        {
            "what": "line",
            "samples": round(math.exp(one)),
            "logit": round(float(mean), 5),
            "low": None if math.isnan(off) else round(float(mean - off), 5),
            "high": None if math.isnan(off) else round(float(mean + off), 5),
        }
        for one, mean, off in zip(x, value.mean(axis=1), half, strict=True)
    ]
    return [
        *rows,
        {"what": f"{lead['target']} at {size_text(lead['size'])}", "samples": lead["size"], "logit": lead["goal"]},
    ]
