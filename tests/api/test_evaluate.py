import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import probebench as pb
from probebench.errors import ProbebenchError, ResultError
from probebench.results.export import COLUMNS, encode, tidy_row
from probebench.results.schema import Result
from tests.api.making import Tiny, folder, items, transform
from tests.cli.test_finetune import RECIPE
from tests.conftest import Ran, write_entry
from tests.results.make import result


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pb.Features:
    monkeypatch.chdir(tmp_path)
    return pb.extract(Tiny(), items(each=12), transform=transform)


def test_results_of_a_module_as_a_table(features: pb.Features, run: Callable[..., Ran]) -> None:
    found = pb.evaluate(features, shots=["full", 1], draws=2, protocol=["default", "knn"])
    assert len(found) == 4 and all(path.is_file() for path in found.paths)
    frame = found.to_frame()
    assert list(frame.columns) == [*COLUMNS, "counts", "path"]
    assert frame["counts"].all() and set(frame["model"]) == {"tiny"} and set(frame["architecture"]) == {"module/Tiny"}
    assert frame.sort_values("shots")["shots"].tolist() == [1, 1, "full", "full"]
    assert (frame["low"] <= frame["mean"]).all() and frame["path"].tolist() == [str(path) for path in found.paths]
    stored = pb.load_results().sort_values(["protocol", "shots"])
    assert stored["mean"].tolist() == frame.sort_values(["protocol", "shots"])["mean"].tolist()
    listed = json.loads(run("results", "export", "--format", "json").out)
    assert [row["mean"] for row in listed] == pb.load_results()["mean"].tolist()
    assert len(found[1:]) == 3 and found[1:].paths == found.paths[1:] and "tiny" in repr(found)
    stamps = [path.stat().st_mtime_ns for path in found.paths]
    again = pb.evaluate("tiny", dataset=features.dataset, shots=[1, "full"], draws=2, protocol="*nn")
    assert {path.stat().st_mtime_ns for path in again.paths} <= set(stamps)


def test_the_exports_columns_are_those_of_a_row() -> None:
    assert tuple(tidy_row(result())) == COLUMNS
    assert encode([result()], "csv").decode().splitlines()[0] == ",".join(COLUMNS)


def test_which_result_counts_and_failed_ones(tmp_path: Path) -> None:
    few, many = result(backend="sklearn"), result(backend="torch")
    failed = result(model="other", mean=None, ci95=None, ci95_covers=None)
    rows: list[tuple[Path, Result]] = [(Path(str(place)), one) for place, one in enumerate((few, many, failed))]
    frame = pb.Results(rows).to_frame()
    assert frame["counts"].tolist() == [False, True, True]
    assert frame["mean"].isna().tolist() == [False, False, True]
    assert pb.Results([]).to_frame().empty and repr(pb.Results([])) == "Results(none)"


def test_what_cannot_be_evaluated_is_told_in_one_line(features: pb.Features) -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: pb.evaluate(features, shots=0), "shots= takes positive"),
        (lambda: pb.evaluate(features, shots=[1, True]), "shots= takes positive"),
        (lambda: pb.evaluate(features, draws=0), "draws= takes"),
        (lambda: pb.evaluate(features, protocol="defualt"), "unknown protocol"),
        (lambda: pb.evaluate(features, protocol="quick"), "fine-tunes"),
        (lambda: pb.evaluate(features, dataset="digits"), "dataset=, layer= and input_size= are for checkpoints by id"),
        (lambda: pb.evaluate([]), "features= takes"),
        (lambda: pb.evaluate("tiny", dataset="digits"), "no features of tiny on digits"),
        (lambda: pb.zeroshot(features, templates="a photo"), "needs {} once"),
        (lambda: pb.zeroshot(features), "text can be compared with projected ones only"),
        (lambda: pb.finetune("tiny", "digits"), "is a module of a Python session"),
    ]
    for call, line in cases:
        with pytest.raises(ProbebenchError, match=line) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_what_can_be_done_is_done_before_a_failure_is_told(features: pb.Features) -> None:
    with pytest.raises(pb.UnfinishedError, match=r"no features of tiny on digits.*\(and 1 more\)") as caught:
        pb.evaluate("tiny", dataset=["digits", "fashion_mnist", features.dataset], shots=1, draws=1)
    assert len(pb.load_results()) == 1
    (done,), (_, other) = caught.value.done, caught.value.problems
    assert done.dataset == features.dataset and "on fashion_mnist" in other


def test_a_failed_trial_is_a_failure_and_its_result_is_there(
    features: pb.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probebench.probes import torch_

    def fails(*_: object) -> None:
        raise ValueError("it broke")

    monkeypatch.setattr(torch_, "fit_paths", fails)
    with pytest.raises(pb.UnfinishedError, match=r"2 of 2 trials failed, so there is no score: .*it broke") as caught:
        pb.evaluate(features, shots=2, draws=2, backend="torch")
    assert [one.mean for one in caught.value.done] == [None]


def test_what_a_reader_should_know_is_a_warning_and_a_line(features: pb.Features, run: Callable[..., Ran]) -> None:
    with pytest.warns(pb.ProbebenchWarning, match="3 classes have too few training images"):
        pb.evaluate(features, shots=10, draws=1)
    ran = run("eval", "--model", "tiny", "--shots", "10", "--draws", "1")
    assert "warning: tiny on memory:images-" in ran.err and "3 classes have too few training images" in ran.err


def test_everything_cached_is_evaluated_where_nothing_is_named(features: pb.Features) -> None:
    pb.extract(Tiny(seed=1), items(each=12), transform=transform, name="other")
    found = pb.evaluate(probe="knn", shots=1, draws=1)
    assert [(one.model, one.kind) for one in found] == [("other", "knn"), ("tiny", "knn")]
    assert len(pb.evaluate(dataset=features.dataset, probe="knn", shots=1, draws=1)) == 2


def test_an_engine_that_is_not_there_is_one_line(
    features: pb.Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path / "images")
    monkeypatch.setitem(sys.modules, "ray", None)
    calls: list[Callable[..., object]] = [
        lambda engine: pb.extract("efficientnet_lite0_random", place, engine=engine, input_size=32),
        lambda engine: pb.evaluate(features, engine=engine),
        lambda engine: pb.finetune("efficientnet_lite0_random", place, engine=engine),
    ]
    for call in calls:
        with pytest.raises(pb.UsageError, match=r"pip install 'probebench\[ray\]'"):
            call("ray")
        with pytest.raises(pb.UsageError, match="engine= takes 'local' or 'ray', not 'spark'"):
            call("spark")


def test_two_checkpoints_side_by_side(features: pb.Features) -> None:
    other = pb.extract(Tiny(seed=1), items(each=12), transform=transform, name="other")
    pb.evaluate([features, other], shots=[1, 2], draws=2)
    frame = pb.compare(features, "other").to_frame()
    assert frame["shots"].tolist() == [1, 2] and set(frame["first"]) == {"tiny"}
    assert ((frame["low"] <= frame["difference"]) & (frame["difference"] <= frame["high"])).all()
    with pytest.raises(pb.UsageError, match="no results of 'othr' in results; did you mean other"):
        pb.compare("tiny", "othr")
    apart = [(Path(name), result(model=name, dataset=name)) for name in ("tiny", "other")]
    with pytest.raises(pb.UsageError, match="share no draws"):
        pb.compare("tiny", "other", results=pb.Results(apart))


def test_study_and_page_of_results(features: pb.Features, tmp_path: Path) -> None:
    with pytest.raises(pb.UsageError, match="does not exist"):
        pb.run_study()
    found = pb.evaluate(features, shots=1, draws=1)
    assert pb.run_study(found).asked[0].results == 1 and not (tmp_path / "study").exists()
    pb.run_study(["results"], out="study")
    assert (tmp_path / "study" / "study.html").is_file()
    assert pb.build_leaderboard(found, out=tmp_path / "site") == tmp_path / "site" / "index.html"
    found.paths[0].with_suffix(".npz").unlink()
    with pytest.raises(ResultError, match="missing"):
        pb.evaluate(features, shots=1, draws=1)
    found.paths[0].write_text("{}")
    with pytest.warns(UserWarning, match="damaged or of another schema"):
        assert pb.load_results().empty


def test_finetune_gives_what_the_command_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran], capsys: pytest.CaptureFixture[str]
) -> None:
    write_entry(tmp_path / "own")
    (tmp_path / "own" / "protocols").mkdir()
    (tmp_path / "own" / "protocols" / "short.toml").write_text(RECIPE.format(id="short"))
    monkeypatch.setenv("PROBEBENCH_REGISTRY", str(tmp_path / "own"))
    place = folder(tmp_path / "images")
    found = pb.finetune("tiny", place, protocol="short", shots=1, mode="linear", workers=0, progress=True)
    (only,) = found
    assert only.kind == "finetune" and only.shots == 1 and "images" in capsys.readouterr().err
    ran = run("finetune", "--model", "tiny", "--dataset", f"folder:{place}", "--protocol", "short", "--shots", "1",
              "--mode", "linear", "--dry-run")  # fmt: skip
    assert "nothing to train" in ran.out
