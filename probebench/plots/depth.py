"""Draws accuracy against depth: a panel for each checkpoint and data set, a line for each number of shots."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probebench.plots.style import COLOURS, MARKERS, image_bytes, styled
from probebench.registry.entry import Shots
from probebench.results.cells import shots_text
from probebench.results.depth import LayerScore, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More are too small to read.
PANELS = 9
_TICKS = 13
_DASHES: dict[str | None, str] = {None: "-", "mean": "--", "cls": ":"}


def draw_depth(sweeps: Sequence[Sweep], form: str) -> bytes:
    """Returns a figure of at most ``PANELS`` sweeps as a file of a form: png, svg or pdf.

    Other layers than blocks stand to the right of these, with no line to them: they are no place in the depth.
    """
    from matplotlib.figure import Figure

    shots = [one for sweep in sweeps for one in sweep.shots]
    colours = {one: COLOURS[place % len(COLOURS)] for place, one in enumerate(dict.fromkeys(sorted(shots, key=_order)))}
    with styled():
        columns = min(len(sweeps), 3)
        rows = -(-len(sweeps) // columns)
        figure = Figure(figsize=(max(5.6, 4.4 * columns), 3.6 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
        for spare in panels[len(sweeps) :]:
            spare.set_visible(False)
        for axes, sweep in zip(panels, sweeps, strict=False):
            _panel(axes, sweep, colours)
        for axes in panels[::columns]:
            axes.set_ylabel("test accuracy, percent")
        return image_bytes(figure, form)


def _order(shots: Shots) -> tuple[bool, int]:
    return (True, 0) if shots == "full" else (False, int(shots))


def _panel(axes: "Axes", sweep: Sweep, colours: dict[Shots, str]) -> None:
    numbers = sorted({block[0] for name in sweep.layers if (block := _block(name)) is not None})
    others = [name for name in sweep.layers if _block(name) is None]
    # A gap between blocks and the rest, which are no place in the depth.
    places = {name: numbers[-1] + 1.5 + place for place, name in enumerate(others)}
    labels: list[tuple[float, str, str]] = []
    for place, shots in enumerate(sweep.shots):
        colour, marker = colours[shots], MARKERS[place % len(MARKERS)]
        lines: dict[str | None, list[LayerScore]] = {}
        for one in sweep.scores[shots]:
            if one.block is not None:
                lines.setdefault(one.block[1], []).append(one)
        for pooling, held in lines.items():
            spots = [one.block[0] for one in held if one.block is not None]
            axes.plot(spots, _means(held), _DASHES[pooling], color=colour)
            _marks(axes, spots, held, colour, marker)
        rest = [one for one in sweep.scores[shots] if one.block is None]
        _marks(axes, [places[one.layer] for one in rest], rest, colour, marker)
        last = rest[-1] if rest else next(iter(lines.values()))[-1]
        labels.append((100 * last.mean, shots_text(shots), colour))
    _label(axes, max([numbers[-1], *places.values()]), labels)
    every = -(-len(numbers) // _TICKS)
    shown = numbers[::every]
    axes.set_xticks([*shown, *places.values()], [*map(str, shown), *others])
    for tick in axes.get_xticklabels()[len(shown) :] if len(others) > 1 else []:
        tick.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlabel("block" + (", then other layers" if others else ""))
    styles = {one.block[1] for row in sweep.scores.values() for one in row if one.block is not None}
    dashes = {"mean": "dashed: mean of patch tokens", "cls": "dotted: class token"}
    told = [text for pooling, text in dashes.items() if pooling in styles and len(styles) > 1]
    size = f" at {sweep.entrant.input_size} px" if sweep.entrant.input_size else ""
    axes.set_title("\n".join([f"{sweep.name}{size} on {sweep.dataset.name}", *told]), fontsize=9)


def _block(name: str) -> tuple[int, str | None] | None:
    return LayerScore(name, None, 0.0, None).block


def _means(scores: Sequence[LayerScore]) -> list[float]:
    return [100 * one.mean for one in scores]


def _marks(axes: "Axes", spots: Sequence[float], scores: Sequence[LayerScore], colour: str, marker: str) -> None:
    """Draws scores with their intervals."""
    means = _means(scores)
    ends = [one.ci95 or (one.mean, one.mean) for one in scores]
    # Rounding may leave a mean just outside.
    below = [max(0.0, mean - 100 * low) for mean, (low, _) in zip(means, ends, strict=True)]
    above = [max(0.0, 100 * high - mean) for mean, (_, high) in zip(means, ends, strict=True)]
    axes.errorbar(spots, means, yerr=(below, above), fmt=marker, color=colour, markersize=4, capsize=2, linewidth=1)


def _label(axes: "Axes", end: float, labels: Sequence[tuple[float, str, str]]) -> None:
    """Writes the name of each line at its end, moved apart where two would meet."""
    low, high = axes.get_ylim()
    apart, height = (high - low) * 0.06, float("-inf")
    for value, text, colour in sorted(labels):
        height = max(value, height + apart)
        axes.annotate(
            text,
            (end, height),
            xytext=(9, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )
