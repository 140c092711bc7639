"""Figures of any results: the same bytes again, and every result in them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from probebench.plots.accuracy import draw_scaling, draw_scatter, draw_shots
from probebench.results.cells import gather
from probebench.results.store import result_path, write_result
from tests.conftest import Ran
from tests.results.make import checkpoint, result

RESULTS = [
    result(
        model=f"net{size}",
        dataset=dataset,
        shots=shots,
        checkpoint=checkpoint(sources=[{"name": "YFCC", "samples": size}]),
        mean=0.5 + 0.01 * place,
    )
    for dataset in ("digits", "cars")
    for size in (10**6, 10**7, 10**8)
    for place, shots in enumerate((1, 5, "full"))
]


@pytest.mark.parametrize("draw", [draw_shots, draw_scaling, draw_scatter])
@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_is_the_same_bytes_again(draw: Callable[..., bytes], form: str, begins: bytes) -> None:
    cells = gather(RESULTS)
    drawn = draw(cells, form)
    assert drawn.startswith(begins) and draw(gather(reversed(RESULTS)), form) == drawn


def test_every_result_is_a_point() -> None:
    """Two data sets of three checkpoints at three numbers of shots, and the legend's."""
    points = {
        draw: len(re.findall("<use ", draw(gather(RESULTS), "svg").decode())) for draw in (draw_shots, draw_scatter)
    }
    bare = len(re.findall("<use ", draw_shots(gather(RESULTS[:1]), "svg").decode()))
    assert points[draw_shots] > bare + 16 and points[draw_scatter] > 0


def test_the_commands(run: Callable[..., Ran], tmp_path: Path) -> None:
    for one in RESULTS:
        write_result(result_path(Path("results"), one.model, one.dataset, "probe", "default", one.shots, "0" * 8), one)
    for name in ("shots", "scaling", "scatter"):
        assert "18 results are drawn in fig.pdf" in run("plot", name, "--out", "fig.pdf").out
        rows = json.loads(run("plot", name, "--out", "fig.png", "--dataset", "cars", "--json").out)
        assert len(rows) == 9 and (tmp_path / "fig.png").read_bytes().startswith(b"\x89PNG")
    assert "takes results at two numbers" in run("plot", "scatter", "--out", "f.png", "--shots", "1").error
    assert "unknown data set 'bikes'" in run("plot", "shots", "--out", "f.png", "--dataset", "bikes").error
    assert "name a file that ends in" in run("plot", "shots", "--out", "f.doc").error
    table = run("results", "export", "--format", "latex", "--model", "net1000000", "--shots", "1,full")
    assert table.code == 0 and r"\multicolumn{2}{c}{cars}" in table.out
