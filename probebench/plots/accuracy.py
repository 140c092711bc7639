"""Draws accuracy of any results: against shots, the size of the pre-training data, and few against many shots."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from probebench.plots.style import COLOURS, MARKERS, image_bytes, styled
from probebench.registry.entry import Shots
from probebench.results.cells import (
    Cell,
    DataSet,
    entrant_names,
    in_order,
    shots_text,
    source_name,
    source_samples,
)
from probebench.results.scores import score_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More are too small to read.
PANELS = 9

Panel = Callable[["Axes", list[Cell]], None]


def draw_shots(cells: Sequence[Cell], form: str) -> bytes:
    """Returns accuracy against shots: a panel for each data set, a line for each checkpoint; zero-shot is at 0."""
    names = entrant_names(cell.key.entrant for cell in cells)
    shots = in_order(cell.key.shots for cell in cells)

    def panel(axes: "Axes", own: list[Cell]) -> None:
        for place, entrant in enumerate(names):
            line = {one.key.shots: one for one in reversed(own) if one.key.entrant == entrant}
            held = [one for one in shots if one in line]
            if held:
                _line(axes, [shots.index(one) for one in held], [line[one] for one in held], place, names[entrant])
        axes.set_xticks(range(len(shots)), [shots_text(one).removesuffix("s").removesuffix(" shot") for one in shots])
        axes.set_xlabel("labelled images a class")

    return _drawn(cells, form, panel)


def draw_scaling(cells: Sequence[Cell], form: str) -> bytes:
    """Returns accuracy against samples of the pre-training sources: a colour a source, a marker a number of shots."""
    sources = list(dict.fromkeys(source_name(cell.result.checkpoint) for cell in cells))
    shots = in_order(cell.key.shots for cell in cells)

    def panel(axes: "Axes", own: list[Cell]) -> None:
        for source in sources:
            for level in shots:
                held = [(size, one) for one in own if (size := _size(one, source, level)) is not None]
                if held:
                    held.sort(key=lambda pair: pair[0])
                    colour, marker = (
                        COLOURS[sources.index(source) % len(COLOURS)],
                        MARKERS[shots.index(level) % len(MARKERS)],
                    )
                    means = [_mean(one) for _, one in held]
                    label = f"{source}, {shots_text(level)}"
                    axes.plot([size for size, _ in held], means, "-", marker=marker, color=colour, label=label)
        axes.set_xscale("log")
        axes.set_xlabel("samples of the pre-training data")

    return _drawn(cells, form, panel)


def _size(cell: Cell, source: str, shots: Shots) -> int | None:
    facts = cell.result.checkpoint
    return source_samples(facts) if source_name(facts) == source and cell.key.shots == shots else None


def draw_scatter(cells: Sequence[Cell], form: str) -> bytes:
    """Returns accuracy at the fewest shots against that at the most: a panel a data set, a point a checkpoint."""
    names = entrant_names(cell.key.entrant for cell in cells)
    few, *_, many = in_order(cell.key.shots for cell in cells)

    def panel(axes: "Axes", own: list[Cell]) -> None:
        for place, entrant in enumerate(names):
            held = {one.key.shots: one for one in reversed(own) if one.key.entrant == entrant}
            if few in held and many in held:
                look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
                axes.plot(_mean(held[few]), _mean(held[many]), linestyle="", label=names[entrant], **look)  # type: ignore[arg-type]
        axes.set_xlabel(f"test accuracy at {shots_text(few)}, percent")
        axes.set_ylabel(f"at {shots_text(many)}")

    return _drawn(cells, form, panel)


def _drawn(cells: Sequence[Cell], form: str, panel: Panel) -> bytes:
    from matplotlib.figure import Figure

    sets: list[DataSet] = list(dict.fromkeys(cell.key.dataset for cell in cells))
    with styled():
        columns = min(len(sets), 3)
        rows = -(-len(sets) // columns)
        figure = Figure(figsize=(max(5.6, 4.4 * columns), 3.6 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        for spare in panels[len(sets) :]:
            spare.set_visible(False)
        for axes, dataset in zip(panels, sets, strict=False):
            panel(axes, [cell for cell in cells if cell.key.dataset == dataset])
            axes.set_title(dataset.name, fontsize=9)
        for axes in panels[::columns]:
            axes.set_ylabel(axes.get_ylabel() or "test accuracy, percent")
        lines = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=2, fontsize=8)
        return image_bytes(figure, form)


def _line(axes: "Axes", places: Sequence[int], cells: Sequence[Cell], number: int, label: str) -> None:
    look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
    axes.plot(places, [_mean(cell) for cell in cells], linestyle="-", label=label, **look)  # type: ignore[arg-type]
    for place, cell in zip(places, cells, strict=True):
        if ends := score_of(cell.result).ci95:
            axes.vlines(place, 100 * ends[0], 100 * ends[1], color=look["color"], linewidth=1)


def _mean(cell: Cell) -> float:
    return 100 * (score_of(cell.result).mean or 0.0)
