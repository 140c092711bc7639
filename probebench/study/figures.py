"""The study's figures, drawn from what stands behind its claims: SVG and PNG, without a display."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probebench.plots.style import COLOURS, MARKERS, image_bytes, styled
from probebench.results.cells import shots_text, size_text
from probebench.study.claims import Claim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
_QUIET = "#777777"
# As many checkpoints as a figure has room for.
_RANKED = 15


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: File name without its ending.
        text: What it shows, for readers who cannot see it.
    """

    name: str
    text: str
    svg: bytes
    png: bytes


def drawings(claims: Sequence[Claim], provenance: str) -> list[Drawing]:
    """Draws what there is of each question; nothing where there is nothing to see."""
    found = []
    for claim in claims:
        how = _HOW.get(claim.id)
        with styled():
            made = how(claim) if how and claim.estimate else None
            if made is not None:
                level = f"-{claim.level}" if claim.level else ""
                images = [image_bytes(made[0], form) for form in ("svg", "png")]
                found.append(Drawing(f"{provenance}-{claim.id}{level}", f"{made[1]} {claim.group}.", *images))
    return found


def _figure(columns: int = 1, width: float = 6.4, height: float = 3.4) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False).ravel().tolist()


def _label(axes: "Axes", x: float, y: float, text: str, colour: str) -> None:
    """Writes a line's name beside its last point."""
    look: dict[str, Any] = {"color": colour, "va": "center", "fontsize": 8, "bbox": {"color": "white", "pad": 1.5}}
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", **look)


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Moves labels apart that would cover each other; their order stays."""
    order = sorted(range(len(places)), key=lambda one: places[one])
    moved = list(places)
    for one, other in zip(order, order[1:], strict=False):
        moved[other] = max(moved[other], moved[one] + gap)
    return moved


def _spread(claim: Claim) -> "tuple[Figure, str] | None":
    rows = claim.per_shots
    if len(rows) < 2 or "value_logit" not in rows[0]:
        return None
    figure, axes = _figure(2, 7.6)
    for one, suffix, unit in ((axes[0], "", "points"), (axes[1], "_logit", "logits")):
        x = list(range(len(rows)))
        value, low, high = ([row[f"{key}{suffix}"] for row in rows] for key in ("value", "low", "high"))
        wide = [row[f"range{suffix}"] for row in rows]
        one.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
        one.plot(x, value, "o-", color=COLOURS[0])
        one.plot(x, wide, "s--", color=COLOURS[1], markersize=4)
        ends = _apart([value[-1], wide[-1]], 0.06 * max(*high, *wide))
        _label(one, x[-1], ends[0], "SD", COLOURS[0])
        _label(one, x[-1], ends[1], "max - min", COLOURS[1])
        one.set_xticks(x, [shots_text(row["shots"]) for row in rows], fontsize=8)
        one.set_xlim(-0.2, len(x) - 0.4 + 0.12 * len(x))
        one.set_ylim(bottom=0)
        one.set_ylabel(f"spread between sources, {unit}")
    return figure, "Spread between sources against shots: noise-corrected SD with its 95% interval, and max - min."


def _grid(rows: Sequence[str], columns: Sequence[str], table: Sequence[Sequence[float]]) -> "Figure":
    """Draws numbers as a table of colours, with the mean of each row, the highest first."""
    known = [[one for one in row if not math.isnan(one)] for row in table]
    mean = [sum(row) / max(1, len(row)) for row in known]
    order = sorted(range(len(rows)), key=lambda place: -mean[place])
    limit = max((abs(one) for row in known for one in row), default=0.0) or 1.0
    figure, (axes,) = _figure(1, 2.2 + 0.62 * len(columns), 1.4 + 0.34 * len(rows))
    shown = [[*table[place], mean[place]] for place in order]
    axes.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.grid(visible=False)
    for y, row in enumerate(shown):
        for x, value in enumerate(row):
            if not math.isnan(value):
                colour = "white" if abs(value) > 0.65 * limit else "#222222"
                axes.text(x, y, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(columns) + 1), [*columns, "mean"], rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), [rows[place] for place in order], fontsize=8)
    axes.axvline(len(columns) - 0.5, color="white", linewidth=3)
    return figure


def _heat(claim: Claim) -> "tuple[Figure, str] | None":
    rows = claim.details.get("heat map", [])
    datasets = [key for key in rows[0] if key != "source"] if rows else []
    if len(rows) < 2 or len(datasets) < 2:
        return None
    table = [[math.nan if row[name] is None else row[name] for name in datasets] for row in rows]
    figure = _grid([row["source"] for row in rows], datasets, table)
    return figure, f"Points of each source above or below the mean of all, by data set, at {claim.level}."


def _pairs(claim: Claim) -> "tuple[Figure, str] | None":
    rows = [row for row in claim.details.get("pairs", []) if "side" not in row]
    rows = [row for row in rows if row["level"] == rows[0]["level"]]
    sources, datasets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("source", "dataset"))
    if not rows or len(datasets) < 2:
        return None
    held = {(row["source"], row["dataset"]): row["points"] for row in rows}
    table = [[held.get((source, dataset), math.nan) for dataset in datasets] for source in sources]
    said = f"{claim.question} The difference in points by source and data set at {rows[0]['level']}; above 0 is yes."
    return _grid(sources, datasets, table), said


def _scaling(claim: Claim) -> "tuple[Figure, str] | None":
    rows = claim.details.get("curve", [])
    points = [row for row in rows if row["what"] == "point"]
    line = [row for row in rows if row["what"] == "line"]
    target = [row for row in rows if row["what"] not in ("point", "line")]
    if not points or not target:
        return None
    source = points[0]["source"]
    figure, (axes,) = _figure(1, 5.4, 3.6)
    x = [row["samples"] for row in line]
    if all(row["low"] is not None for row in line):
        low, high = ([row[key] for row in line] for key in ("low", "high"))
        axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
        axes.plot(x, [row["logit"] for row in line], color=COLOURS[0], linewidth=1)
    axes.plot([row["samples"] for row in points], [row["logit"] for row in points], "o", color=COLOURS[0])
    goal = target[0]["logit"]
    axes.axhline(goal, color=COLOURS[1], linestyle="--", linewidth=1)
    axes.plot([target[0]["samples"]], [goal], "s", color=COLOURS[1])
    below = [row["samples"] for row in points if row["logit"] < goal]
    above = [row["samples"] for row in points if row["logit"] >= goal]
    if below and above and max(below) < min(above):
        axes.axvspan(max(below), min(above), color=_QUIET, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    # Room at the right for the names.
    axes.set_xlim(min(x) / 1.3, max(x) * (max(x) / min(x)) ** 0.45)
    ends = _apart([goal, points[-1]["logit"]], 0.05 * (axes.get_ylim()[1] - axes.get_ylim()[0]))
    _label(axes, max(x), ends[0], target[0]["what"], COLOURS[1])
    _label(axes, max(x), ends[1], source, COLOURS[0])
    _size_ticks(axes, min(x), max(x))
    axes.set_xlabel("pre-training images")
    axes.set_ylabel("mean score, logits")
    shaded = "; the grey band is the measured bracket" if below and above else ""
    return figure, f"Scores of {source} against its size at {claim.level}, with {target[0]['what']} as a line{shaded}."


def _size_ticks(axes: "Axes", low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ticks = [base * 10**power for power in range(2, 12) for base in ((1, 3) if high < 300 * low else (1,))]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(round(value))))


def _predict(claim: Claim) -> "tuple[Figure, str] | None":
    rows = claim.details.get("points", [])
    if not rows:
        return None
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure, (axes,) = _figure(1, 5.4, 4.2)
    by_set = [sorted((row["few"], row["full"]) for row in rows if row["dataset"] == dataset) for dataset in datasets]
    # Room for a line of text between two names.
    gap = 0.05 * (max(row["full"] for row in rows) - min(row["full"] for row in rows))
    ends = _apart([own[-1][1] for own in by_set], gap)
    for number, (dataset, own) in enumerate(zip(datasets, by_set, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*zip(*own, strict=True), MARKERS[number % len(MARKERS)], color=colour, markersize=5, alpha=0.8)
        _label(axes, own[-1][0], ends[number], dataset, colour)
    axes.margins(x=0.2)
    axes.set_xlabel("few-shot, percent (mean of the shots)")
    axes.set_ylabel("full data, percent")
    return figure, "Score at full data against few-shot score, one point a checkpoint, by data set."


def _ranking(claim: Claim) -> "tuple[Figure, str] | None":
    rows = claim.details.get("ranking", [])[:_RANKED]
    if len(rows) < 2:
        return None
    figure, (axes,) = _figure(1, 7.4, 0.8 + 0.3 * len(rows))
    for place, row in enumerate(rows):
        if place:
            low, high = (row["to the first"] if row[end] is None else row[end] for end in ("low", "high"))
            axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.5)
        axes.plot([row.get("to the first", 0.0)], [place], "o", color=COLOURS[0] if place else COLOURS[1])
    axes.axvline(0, color=_QUIET, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['checkpoint']}  {row['mean']:.1f}" for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("points to the first, 95% interval that holds for all pairs")
    return figure, f"Checkpoints by their mean at {claim.level}, and how far they are from the first."


_HOW: dict[str, Callable[[Claim], "tuple[Figure, str] | None"]] = {
    "fades": _spread,
    "best-source": _heat,
    "data-multiple": _scaling,
    "image-vs-language": _pairs,
    "supervised-vs-contrastive": _pairs,
    "few-shot-predicts-full": _predict,
    "ranking": _ranking,
}
