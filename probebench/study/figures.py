"""The study's figures, drawn from the tables of its answers: SVG and PNG, without a display."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from probebench.plots.style import COLOURS, MARKERS, image_bytes, styled
from probebench.results.cells import size_text
from probebench.study.answer import Answer, Estimate, Table, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 6
_SERIES = 8


@dataclass(frozen=True)
class Drawing:
    """One figure of one answer.

    Attributes:
        name: File name without its ending.
        text: What it shows, for readers who cannot see it.
    """

    name: str
    text: str
    svg: bytes
    png: bytes


def draw(answer: Answer, name: str) -> Drawing | None:
    """Draws an answer; None where it was refused or there is nothing to draw."""
    how = _HOW.get(answer.question)
    if answer.refused or how is None:
        return None
    with styled():
        made = how(answer)
        return (
            None if made is None else Drawing(name, made[1], image_bytes(made[0], "svg"), image_bytes(made[0], "png"))
        )


def _panels(count: int, width: float = 4.4, height: float = 3.4) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def _bars(axes: "Axes", places: Sequence[float], estimates: Sequence[Value], scale: float, **look: Any) -> None:
    """Draws values with their intervals; what has no value is left out."""
    known = [(place, one) for place, one in zip(places, estimates, strict=True) if isinstance(one, Estimate)]
    whole = [(place, one.value, one.low, one.high) for place, one in known]
    kept = [
        (place, scale * value, scale * (value - low), scale * (high - value))
        for place, value, low, high in whole
        if value is not None and low is not None and high is not None
    ]
    if kept:
        x, y, below, above = zip(*kept, strict=True)
        axes.errorbar(x, y, yerr=(below, above), capsize=3, **look)


def _column(table: Table, key: str) -> list[Value]:
    return [row[key] for row in table.rows]


def _numbers(table: Table, key: str, scale: float) -> list[float]:
    return [scale * value if isinstance(value, int | float) else float("nan") for value in _column(table, key)]


def _spread(answer: Answer) -> "tuple[Figure, str] | None":
    table = answer.table("overall")
    if table is None:
        return None
    figure, axes = _panels(2)
    shots = [str(one) for one in _column(table, "shots")]
    places = list(range(len(shots)))
    for one, suffix, scale, label in ((axes[0], "", 100.0, "points"), (axes[1], "_log", 1.0, "log-error")):
        one.plot(
            places, _numbers(table, f"range{suffix}", scale), "s--", color=COLOURS[6], label="max - min", markersize=4
        )
        look = {"fmt": "o-", "color": COLOURS[0], "label": "noise-corrected SD, 95% interval"}
        _bars(one, [place + 0.04 for place in places], _column(table, f"deviation{suffix}"), scale, **look)
        one.set_xticks(places, shots)
        one.set_ylabel(f"spread between sources, {label}")
        one.set_ylim(bottom=0)
        one.margins(y=0.15)
    axes[0].legend(fontsize=8)
    return figure, "Spread between pre-training sources against the number of shots, in points and in log-error."


def _ranks(answer: Answer) -> "tuple[Figure, str] | None":
    table = answer.table("agreement")
    if table is None:
        return None
    groups = list(dict.fromkeys(str(one) for one in _column(table, "group")))[:_SERIES]
    shots = list(dict.fromkeys(str(one) for one in _column(table, "shots")))
    figure, (axes,) = _panels(1, 6.0, 3.6)
    for number, group in enumerate(groups):
        rows = [row for row in table.rows if row["group"] == group]
        places = [shots.index(str(row["shots"])) + 0.06 * (number - (len(groups) - 1) / 2) for row in rows]
        look = {"fmt": MARKERS[number] + "-", "color": COLOURS[number % len(COLOURS)], "label": group}
        _bars(axes, places, [row["rho"] for row in rows], 1.0, **look)
    axes.axhline(0, color="#555555", linewidth=0.8)
    axes.set_xticks(range(len(shots)), shots)
    axes.set_ylim(-1.02, 1.02)
    axes.set_ylabel("mean Spearman correlation\nbetween data sets")
    figure.legend(loc="outside lower center", ncols=1 if len(groups) == 1 else 2, fontsize=7)
    return figure, "Agreement of data sets on the ranking of sources, against the number of shots."


def _scaling(answer: Answer) -> "tuple[Figure, str] | None":
    table = answer.table("curves")
    if table is None or not table.rows:
        return None
    panels = list(
        dict.fromkeys((str(row["dataset"]), str(row["shots"]), str(row["architecture"])) for row in table.rows)
    )
    overall = [panel for panel in panels if panel[0].startswith("mean of")]
    chosen = (overall or panels)[:_PANELS]
    names = list(dict.fromkeys(str(row["source"]) for row in table.rows))
    figure, axes = _panels(len(chosen))
    for one, panel in zip(axes, chosen, strict=True):
        for name in names:
            rows = [
                row
                for row in table.rows
                if (row["dataset"], row["shots"], row["architecture"]) == panel and row["source"] == name
            ]
            rows.sort(key=lambda row: _size(row["samples"]))
            if rows:
                colour = COLOURS[names.index(name) % len(COLOURS)]
                sizes = [_size(row["samples"]) for row in rows]
                marker = MARKERS[names.index(name) % len(MARKERS)]
                _bars(one, sizes, [row["log_error"] for row in rows], 1.0, fmt=marker, color=colour, label=name)
                one.plot(sizes, [float(str(row["fitted"])) for row in rows], color=colour, linewidth=1)
        one.set_xscale("log")
        _size_ticks(one, sorted({_size(row["samples"]) for row in table.rows}))
        one.set_title(f"{panel[1]}, {panel[0]}", fontsize=9)
        one.set_xlabel("pre-training images")
        one.set_ylabel("log-error")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure, "Log-error against pre-training size for each source with at least three sizes, with fitted lines."


def _size(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _size_ticks(axes: "Axes", sizes: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = sizes[0], sizes[-1]
    ticks = [base * 10**power for power in range(3, 12) for base in ((1, 3) if high < 300 * low else (1,))]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(round(value))))


def _pairs(answer: Answer) -> "tuple[Figure, str] | None":
    table, every = answer.table("differences"), answer.table("pairs")
    if table is None or every is None:
        return None
    shots = [str(one) for one in _column(table, "shots")]
    figure, (axes,) = _panels(1, 6.0, 3.6)
    singles = [row for row in every.rows if row["shots"] in shots]
    x = [shots.index(str(row["shots"])) - 0.12 for row in singles]
    y = [100 * row["difference"] if isinstance(row["difference"], float) else float("nan") for row in singles]
    axes.plot(x, y, "o", color="#999999", alpha=0.5, markersize=3, label="one pair")
    look = {"fmt": "o", "color": COLOURS[0], "label": "mean, 95% interval"}
    _bars(axes, [place + 0.06 for place in range(len(shots))], _column(table, "difference"), 100.0, **look)
    axes.axhline(0, color="#555555", linewidth=0.8)
    axes.set_xticks(range(len(shots)), shots)
    axes.set_xlim(-0.5, len(shots) - 0.5)
    axes.set_ylabel(f"{every.columns[3][1]} - {every.columns[4][1]}, points")
    axes.legend(fontsize=8)
    return figure, f"{table.title}: mean difference and every pair, against the number of shots."


def _predict(answer: Answer) -> "tuple[Figure, str] | None":
    table = answer.table("points")
    if table is None or not table.rows:
        return None
    shots = list(dict.fromkeys(str(one) for one in _column(table, "shots")))[:_PANELS]
    datasets = list(dict.fromkeys(str(one) for one in _column(table, "dataset")))
    figure, axes = _panels(len(shots))
    for one, level in zip(axes, shots, strict=True):
        for number, dataset in enumerate(datasets):
            rows = [row for row in table.rows if row["shots"] == level and row["dataset"] == dataset]
            x, y = ([100 * float(str(row[key])) for row in rows] for key in ("few", "full"))
            marker, colour = MARKERS[number % len(MARKERS)], COLOURS[number % len(COLOURS)]
            one.plot(x, y, marker, color=colour, markersize=4, label=dataset if one is axes[0] else None)
        one.set_xlabel(f"{level}, percent")
        one.set_ylabel("full data, percent")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8)
    return figure, "Score at full data against few-shot score, one point a checkpoint, by data set."


_HOW: dict[str, Callable[[Answer], "tuple[Figure, str] | None"]] = {
    "spread": _spread,
    "ranks": _ranks,
    "scaling": _scaling,
    "methods": _pairs,
    "curation": _pairs,
    "labels": _pairs,
    "predict": _predict,
}
