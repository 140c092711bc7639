"""Draws a confusion matrix: the share of each class's test images that is taken for each other class."""

from collections.abc import Sequence

import numpy as np

from probebench.plots.style import image_bytes, styled
from probebench.results.mistakes import Matrix, class_accuracies

# More classes than this cannot be read: the worst are drawn, and what they are taken for.
CLASSES = 40
# Cells of so few classes hold their number.
_NUMBERED = 16
_LONGEST = 24


def drawn_classes(matrix: Matrix) -> list[int]:
    """Returns the classes that are drawn, ascending: all, or the worst and what these are taken for."""
    if len(matrix) <= CLASSES:
        return list(range(len(matrix)))
    kept: set[int] = set()
    for one in class_accuracies(matrix):
        pair = {one.label} if one.taken_for is None else {one.label, one.taken_for}
        if len(kept | pair) > CLASSES:
            break
        kept |= pair
    return sorted(kept)


def draw_confusion(matrix: Matrix, class_names: Sequence[str], title: str, form: str) -> bytes:
    """Returns a figure as a file of a form: png, svg or pdf.

    Args:
        matrix: Images of class i that are predicted as j, (K, K).
        class_names: By label.
        title: What it is of.
        form: png, svg or pdf.
    """
    from matplotlib.figure import Figure

    kept = drawn_classes(matrix)
    images = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(matrix, images, out=np.zeros_like(matrix), where=images > 0)[np.ix_(kept, kept)]
    names = [_short(class_names[label]) for label in kept]
    side = max(4.2, 0.36 * len(kept) + 1.5)
    with styled():
        figure = Figure(figsize=(side + 1.2, side), layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(kept)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(kept)), names)
        axes.grid(visible=False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        rest = f"\nthe {len(kept)} worst of {len(matrix)} classes, and what they are taken for"
        axes.set_title(title + (rest if len(kept) < len(matrix) else ""), fontsize=9)
        if len(kept) <= _NUMBERED:
            for (row, column), share in np.ndenumerate(shares):
                if share >= 0.05:
                    ink = "white" if share > 50 else "black"
                    axes.text(column, row, f"{share:.1f}", ha="center", va="center", fontsize=7, color=ink)
        figure.colorbar(shown, ax=axes, shrink=0.8, label="percent of the true class's images")
        return image_bytes(figure, form)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
