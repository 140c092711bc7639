import io
import re

import pytest
from PIL import Image

from probebench.plots.depth import draw_depth
from probebench.results.depth import Sweep, sweeps
from tests.results.test_depth import on


def swept(blocks: int, *others: str, **changes: object) -> list[Sweep]:
    layers = [f"block:{number}" for number in range(blocks)] + [f"block:{number}:mean" for number in range(blocks)]
    return sweeps(
        [
            on(name, 0.3 + 0.01 * place, shots=shots, **changes)
            for place, name in enumerate((*layers, *others))
            for shots in (1, "full")
        ]
    )


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_the_same_bytes_again(form: str, begins: bytes) -> None:
    drawn = draw_depth(swept(3, "pooled"), form)
    assert drawn.startswith(begins) and drawn == draw_depth(swept(3, "pooled"), form)


def test_panels_stand_in_rows_of_three_and_show_all() -> None:
    found = [one for name in "abcd" for one in swept(30, "pooled", "last4", dataset=name)]
    picture = Image.open(io.BytesIO(draw_depth(found, "png")))
    alone = Image.open(io.BytesIO(draw_depth(found[:1], "png")))
    assert picture.width > 2 * alone.width and picture.height == 2 * alone.height


def test_every_point_and_interval_is_drawn() -> None:
    drawn = draw_depth(swept(4, "pooled"), "svg").decode()
    # Nine points in each of two colours, and the two ends of their intervals.
    for colour in ("#0072b2", "#d55e00"):
        assert len(re.findall(rf'<use [^>]*style="fill: {colour}; stroke: {colour}[^"]*"', drawn)) == 27
