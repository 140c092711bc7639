"""Retrieval on the command line: from images to its numbers, class by class, and to a board."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ran, make_images

Run = Callable[..., Ran]


pytestmark = pytest.mark.usefixtures("own")


@pytest.fixture
def images(tmp_path: Path) -> str:
    for part, each, seed in (("train", 12, 0), ("test", 10, 1)):
        make_images(tmp_path / "images" / part, each=each, seed=seed)
    return f"folder:{tmp_path / 'images'}"


def test_retrieval_as_typed(run: Run, images: str, tmp_path: Path) -> None:
    """Its four numbers are shown, by class too; a board of it is built and verified."""
    assert run("extract", "--model", "tiny", "--dataset", images).code == 0
    done = run("eval", "--probe", "retrieval", "--shots", "2,full", "--draws", "2")
    assert done.code == 0 and "retrieval v1" in done.out, done.err
    assert run("eval", "--probe", "logistic", "--shots", "2", "--draws", "2").code == 0
    for path in sorted((tmp_path / "results").rglob("retrieval-*.json")):
        told = json.loads(path.read_text())
        shown = run("results", "show", path.stem[-8:])
        assert shown.code == 0 and "classes that are found worst" in shown.out, shown.err
        for name, value in told["retrieval"].items():
            assert f"{name.replace('_', ' ')} {100 * value:.1f}" in shown.out
        whole = json.loads(run("results", "show", path.stem, "--top", "99", "--json").out)
        classes = whole["retrieval"]
        assert whole["result"] == told and sorted(one["label"] for one in classes) == list(range(len(classes)))
        assert classes == sorted(classes, key=lambda one: (one["average_precision"], one["label"]))
        share = sum(one["recall_at_5"] * one["images"] for one in classes) / told["n_test"]
        assert share == pytest.approx(told["retrieval"]["recall_at_5"])
    page = run("leaderboard", "build")
    assert page.code == 0 and '"Retrieval: retrieval v1"' in (tmp_path / "site" / "index.html").read_text()
    checked = json.loads(run("leaderboard", "verify", tmp_path / "results", "--json").out)
    faults = {one["what"] for one in checked["failures"] if "retrieval-" in one["file"]}
    assert len(faults) == 2 and all("is not in the registry" in one or one.startswith("2 draws") for one in faults)

    (probe,) = (tmp_path / "results").rglob("probe-*.json")
    assert "found worst" not in run("results", "show", probe.stem).out
    assert run("eval", "--probe", "retrieval", "--save-probes", "kept").code == 2
