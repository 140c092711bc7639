"""What all figures share: colours, marks, and how a figure becomes bytes."""

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; the pale yellow is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
MARKERS = "osD^vP*X"
_DPI = 150


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draws in the house's style."""
    from matplotlib import rc_context

    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e2e2e2",
        "legend.frameon": False,
        "svg.hashsalt": "probebench",
        "svg.fonttype": "path",
    }
    with rc_context(style):
        yield


def image_bytes(figure: "Figure", form: str) -> bytes:
    """Returns a figure as a file of a form: svg, png or pdf; the same bytes for the same figure."""
    stream = io.BytesIO()
    # Without a date two runs on the same results write the same bytes.
    metadata = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}[form]
    figure.savefig(stream, format=form, dpi=_DPI, facecolor="white", metadata=metadata)
    return stream.getvalue()
