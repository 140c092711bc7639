"""Where a result errs: from the command line and from Python, with pictures and without."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import probebench as pb
from probebench.api.mistakes import result_id
from probebench.results.store import read_predictions
from tests.conftest import Ran, write_entry

Run = Callable[..., Ran]


def _hard_to_tell_apart(place: Path) -> None:
    rng = np.random.default_rng(0)
    for split, each in (("train", 8), ("test", 12)):
        for label, centre in enumerate((110, 120, 130)):
            (place / split / f"class_{label}").mkdir(parents=True)
            for number in range(each):
                grey = rng.normal(centre, 60, (16, 16, 1)).clip(0, 255) + rng.normal(0, 8)
                pixels = np.repeat(grey, 3, axis=2).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / split / f"class_{label}" / f"{number}.png")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pb.Results:
    write_entry(tmp_path / "own")
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    _hard_to_tell_apart(tmp_path / "images")
    features = pb.extract("tiny", tmp_path / "images")
    return pb.evaluate(features, shots=[2, "full"], draws=3, protocol=["default", "knn"])


def test_python_and_command_line_say_the_same(results: pb.Results, run: Run, tmp_path: Path) -> None:
    place = next(i for i, one in enumerate(results) if one.kind == "probe" and one.shots == 2)
    one, path = results[place], results.paths[place]
    found = pb.mistakes(one)
    stored = read_predictions(path, one)
    right = (stored.y_pred == stored.y_true).mean(axis=0)
    frame = found.classes()
    for label, accuracy in zip(frame["label"], frame["accuracy"], strict=True):
        assert accuracy == pytest.approx(right[stored.y_true == label].mean())
    assert found.matrix.sum() == pytest.approx(one.n_test) and len(found.class_names) == len(found.matrix)

    said = json.loads(run("results", "show", result_id(path), "--json", "--top", "2").out)
    assert said["result"] == one.model_dump(mode="json") and len(said["classes"]) == min(2, len(frame))
    assert said["classes"][0]["name"] == frame["name"][0]
    shown = run("results", "show", "--shots", "2", "--protocol", "default").out
    assert "temperature-scaled" in shown and "log-loss" in shown and frame["name"][0] in shown
    assert one.calibration and f"{one.calibration.log_loss:.4f}" in shown
    # Several are listed with the ids that show one.
    listed = run("results", "show").out
    assert all(result_id(one) in listed for one in results.paths)
    assert json.loads(run("results", "show", "--json").out)[0]["id"] in listed


def test_a_gallery_has_the_images(results: pb.Results, run: Run, tmp_path: Path) -> None:
    ids = {one.protocol: result_id(path) for path, one in zip(results.paths, results, strict=True) if one.shots == 2}
    for name in ("default", "knn"):
        done = run("results", "gallery", ids[name], "--file", f"{name}.html", "--limit", "5")
        assert done.code == 0, done.err
        page = (tmp_path / f"{name}.html").read_text()
        wrong = pb.mistakes(ids[name])
        count = int((wrong.predictions.y_pred != wrong.predictions.y_true).any(axis=0).sum())
        assert f"{min(5, count)} of {count} test images" in page
        assert len(re.findall('src="data:image/(png|jpeg);base64,', page)) == min(5, count)
        assert "http" not in page.replace("http-equiv", "")
        assert ("the surest first" in page) == (name == "default")
    # Where the images have gone, the page says so and is still written.
    (tmp_path / "images").rename(tmp_path / "gone")
    assert run("results", "gallery", ids["default"], "--file", "bare.html").code == 0
    assert "Without pictures" in (tmp_path / "bare.html").read_text()
    assert "img src" not in (tmp_path / "bare.html").read_text()


def test_an_image_that_cannot_be_read_is_shown_without_its_picture(
    results: pb.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.datasets.base import FileImages
    from probebench.errors import DatasetError

    def torn(self: FileImages, position: int) -> None:
        raise DatasetError(f"image {position} cannot be read")

    wrong = next(one for one in results if one.mean is not None and one.mean < 1)
    monkeypatch.setattr(FileImages, "load", torn)
    with pytest.warns(pb.ProbebenchWarning, match="cannot be read: shown without its picture"):
        page = pb.mistakes(wrong, results=results).gallery("torn.html", limit=2).read_text()
    assert "no image" in page and "<img" not in page


def test_names_are_text_on_the_page(tmp_path: Path) -> None:
    from probebench.plots.gallery import draw_gallery
    from probebench.results.mistakes import WrongImage

    one = WrongImage(position=0, id="<b>x", true=0, predicted=1, wrong=1.0, p_predicted=0.9, p_true=0.1)
    page = draw_gallery([one], ["<script>", "b"], title="<i>", sentence="s", load=None, why="<u>")
    assert not re.search("<(b|i|u|script)>", page) and "&lt;script&gt;" in page


def test_a_confusion_matrix_is_drawn(results: pb.Results, run: Run, tmp_path: Path) -> None:
    name = result_id(results.paths[0])
    done = run("plot", "confusion", name, "--out", "c.png")
    assert done.code == 0 and (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG"), done.err
    pairs = json.loads(run("plot", "confusion", name, "--out", "c.svg", "--json").out)
    assert pairs == pb.mistakes(results[0]).confusions().to_dict("records")


def test_errors_are_one_line(results: pb.Results, run: Run, tmp_path: Path) -> None:
    with pytest.raises(pb.UsageError, match="no result 'x' among 4"):
        pb.mistakes("x")
    with pytest.raises(pb.UsageError, match="png"):
        pb.mistakes(results[0]).plot("c.gif")
    with pytest.raises(pb.UsageError, match="positive"):
        pb.mistakes(results[0]).gallery("e.html", limit=0)
    other = results[0].model_copy(update={"model": "another"})
    with pytest.raises(pb.UsageError, match="none of these results"):
        pb.mistakes(other)
    for line in (["show", "x"], ["gallery", "x"], ["show", "--model", "nobody"]):
        done = run("results", *line)
        assert done.code == 2 and done.err.count("\n") == 1, done.err
    assert run("plot", "confusion", "x", "--out", "c.png").code == 2
    results.paths[0].with_suffix(".npz").unlink()
    done = run("results", "show", result_id(results.paths[0]))
    assert done.code == 1 and "predictions" in done.err and done.err.count("\n") == 1


def test_draws_that_failed_are_left_out(results: pb.Results, tmp_path: Path) -> None:
    from probebench.results.store import write_predictions, write_result

    place = next(i for i, one in enumerate(results) if len(one.trials) == 3)
    one, path = results[place], results.paths[place]
    stored = read_predictions(path, one)
    y_pred = stored.y_pred.copy()
    y_pred[1] = -1
    failed = one.trials[1].model_copy(update={"error": "it broke down", "test_score": None})
    changed = dataclasses.replace(stored, y_pred=y_pred)
    broken = one.model_copy(
        update={
            "trials": [one.trials[0], failed, one.trials[2]],
            "mean": None,
            "predictions": write_predictions(path, changed),
        }
    )
    write_result(path, broken)
    found = pb.mistakes(result_id(path))
    assert len(found.predictions.y_pred) == 2 and (found.predictions.y_pred >= 0).all()
    assert found.matrix.sum() == pytest.approx(one.n_test)
