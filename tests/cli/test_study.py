import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probebench.results.store import result_path, write_result
from tests.conftest import Ran
from tests.study.make import SOURCES, Pretraining, results

Run = Callable[..., Ran]


def write(folder: Path, count: int = 3, **changes: object) -> None:
    grid = [Pretraining(source) for source in SOURCES[:count]]
    made = results(np.random.default_rng(0), grid, lambda *_: 0.6, levels=[1, "full"], datasets=["dtd"], **changes)  # type: ignore[arg-type]
    for one in made:
        write_result(result_path(folder, one.model, one.dataset, one.kind, one.protocol, one.shots, "0" * 8), one)


def test_no_folder_and_no_results_are_one_line_each(run: Run, tmp_path: Path) -> None:
    missing = run("study")
    assert missing.code == 2 and "results folder results does not exist" in missing.error
    (tmp_path / "empty").mkdir()
    empty = run("study", "--results", "empty")
    assert empty.code == 2 and "no results with a score in empty" in empty.error


def test_a_damaged_result_is_named_and_passed_over(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results")
    damaged = next((tmp_path / "results").glob("*/*/*.json"))
    damaged.write_text("{")
    done = run("study", "--json")
    assert done.code == 0 and damaged.name in done.err
    assert json.loads(done.out)["results"][0]["results"] == 5
    (told,) = [one for one in json.loads(done.out)["dropped"] if one["why"].startswith("damaged")]
    assert told["what"].endswith(damaged.name)


def test_predictions_that_are_damaged_are_named(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results", predictions={"file": "gone.npz", "sha256": "0" * 64})
    done = run("study", "--json")
    assert done.code == 0 and done.err.count("until then its score is taken as it is told") == 6


def test_a_file_in_the_way_of_the_report_is_one_line(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results")
    (tmp_path / "file").write_text("")
    done = run("study", "--out", "file/below")
    assert done.code == 1 and "a file stands where a folder should be" in done.error and "name another" in done.error


def test_results_of_an_older_version_of_their_protocol_are_told_of_in_one_line(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results")
    listed = run("results", "list")
    assert listed.code == 0 and "6 cells of an older version of the protocol, shown and never ranked" in listed.out
    assert "default v1, now v" in listed.out


def test_one_checkpoint_answers_nothing_and_is_no_error(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results", count=1)
    done = run("study")
    assert done.code == 0 and done.out.count("cannot be asked of these results") == 1
    assert "ranking (it takes two checkpoints)" in done.out
    assert "Cannot be asked" in (tmp_path / "study" / "study.md").read_text()


def test_a_tolerance_that_is_no_factor_is_one_line(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results")
    for wrong in ("0.5", "nan", "inf"):
        done = run("study", "--size-tolerance", wrong)
        assert done.code == 2 and "is a factor" in done.error


def test_several_folders_are_read_and_the_report_is_written(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", provenance="published", predictions=None, weights_digest=None)
    done = run("study", "--results", "one", "--results", "two", "--out", "out")
    assert done.code == 0, done.err
    assert "Measured here: 6 results, 6 scores" in done.out and "Published by others: 6 results" in done.out
    assert (tmp_path / "out" / "study.html").is_file()


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export_writes_one_row_a_result(run: Run, tmp_path: Path, form: str) -> None:
    write(tmp_path / "results")
    done = run("results", "export", "--format", form, "--file", "table")
    assert done.code == 0, done.err
    if form == "parquet":
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(tmp_path / "table").to_pylist()
    else:
        text = (tmp_path / "table").read_text()
        rows = json.loads(text) if form == "json" else list(csv.DictReader(text.splitlines()))
    assert len(rows) == 6
    assert {row["shots"] for row in rows} == {"1", "full"} and {row["dataset"] for row in rows} == {"dtd"}


def test_export_without_pyarrow_or_results_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    assert "no results in empty" in run("results", "export", "--format", "csv", "--out", "empty").error
    write(tmp_path / "results")
    assert "--file" in run("results", "export", "--format", "parquet").error
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "pip install pyarrow" in run("results", "export", "--format", "parquet", "--file", "x").error


def test_import_then_study(run: Run, tmp_path: Path) -> None:
    header = "loss arch us ds us_epochs us_lr us_bs us_wd ds_epochs ds_lr ds_bs ds_wd zero 1 5 10 20 full 100 200"
    lines = [
        f"CLIP RN50 {source} CIFAR100 16 0.001 1024 0.1 128 {rate} 128 0.1 20 {score} {score + 10} 50 0 80 - -"
        for source, score in (("LAION2.7m", 30), ("CC3m", 20), ("WIT2.7m", 10))
        for rate in ("0.001", "0.003")
    ]
    text = "\n".join([header, *lines]).replace(" ", "\t").replace("-", "")
    (tmp_path / "table.csv").write_text(text)
    done = run("results", "import", "table.csv", "--map", "entezari2023")
    assert done.code == 0, done.err
    assert "33 published results of 3 checkpoints on 1 data sets" in done.out and "6 of them failed" in done.out
    told = run("study", "--json")
    assert told.code == 0, told.err
    claims = json.loads(told.out)["claims"]
    matters = next(one for one in claims if one["id"] == "source-matters" and one["level"] == "few-shot")
    assert [row["range"] for row in matters["per_shots"]] == pytest.approx([20, 20, 0])
    assert matters["basis"]["settings"] == 2 and matters["provenance"] == "published"
    listed = run("results", "list", "--json")
    assert {one["provenance"] for one in json.loads(listed.out)} == {"published"}


def test_an_unknown_map_or_table_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a\n1\n")
    assert "did you mean entezari2023?" in run("results", "import", "table.csv", "--map", "entezari").error
    assert "nothing.csv" in run("results", "import", "nothing.csv", "--map", "entezari2023").error
    done = run("results", "import", "table.csv", "--map", "entezari2023")
    assert done.code == 1 and "line 1, column 'a'" in done.error
