import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from probebench.errors import ResultError
from probebench.results.predictions import Predictions
from probebench.results.store import (
    read_predictions,
    read_result,
    result_files,
    result_path,
    write_predictions,
    write_result,
)
from tests.results.make import result

PREDICTIONS = Predictions(("a", "b", "ü"), np.array([0, 1, 2]), np.array([[0, 1, 1], [0, 0, 2]]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = result_path(tmp_path, "net", "folder:x-1", "probe", "default", 5, "abcdef0123")
    write_result(path, result(predictions=write_predictions(path, PREDICTIONS)))
    return path


def test_a_result_reads_back(path: Path, tmp_path: Path) -> None:
    assert path == tmp_path / "net" / "folder-x-1" / "probe-default-5-abcdef01.json"
    assert list(result_files(tmp_path)) == [path]
    read = read_predictions(path, read_result(path))
    assert read.test_ids == PREDICTIONS.test_ids
    assert np.array_equal(read.y_pred, PREDICTIONS.y_pred) and np.array_equal(read.y_true, PREDICTIONS.y_true)
    assert {found.suffix for found in path.parent.iterdir()} == {".json", ".npz"}


def test_the_same_predictions_are_the_same_bytes(path: Path, tmp_path: Path) -> None:
    assert write_predictions(tmp_path / "again.json", PREDICTIONS)["sha256"] == read_result(path).predictions["sha256"]  # type: ignore[index]


@pytest.mark.parametrize("content", ["", "{}", "not JSON", '{"schema_version": 0}', '{"schema_version": "2"'])
def test_damaged_results_are_refused_in_one_line(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ResultError, match="run eval again") as caught:
        read_result(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        *(("mean", "0.5"), ("mean", True), ("shots", "5"), ("n_test", True), ("n_test", 3.0), ("input_size", "224")),
        *(("schema_version", True), ("schema_version", 1.0)),
    ],
)
def test_no_value_of_a_result_stands_for_one_of_another_type(path: Path, field: str, other: object) -> None:
    told = json.loads(path.read_text())
    assert field in told
    path.write_text(json.dumps(told | {field: other}))
    with pytest.raises(ResultError, match=rf"\({field}: [^()]*(\(or \"full\"\))?\); "):
        read_result(path)


def test_a_result_of_a_newer_schema_is_not_called_damaged(path: Path) -> None:
    """Whoever removes it on our advice has lost what a newer version made."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2, "new": True}))
    with pytest.raises(ResultError, match="is of schema 2, and this version of probebench knows 1: upgrade") as caught:
        read_result(path)
    assert "damaged" not in str(caught.value) and "remove" not in str(caught.value)


@pytest.mark.parametrize("how", ["gone", "changed", "cut"])
def test_predictions_that_are_not_the_results_are_refused(path: Path, how: str) -> None:
    file = path.with_suffix(".npz")
    own = read_result(path)
    if how == "gone":
        file.unlink()
    elif how == "changed":
        write_predictions(path, Predictions(PREDICTIONS.test_ids, PREDICTIONS.y_true, PREDICTIONS.y_pred + 1))
    else:
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ResultError, match="missing or not those of"):
        read_predictions(path, own)


def test_a_name_cannot_lead_out_of_the_folder(path: Path) -> None:
    own = read_result(path)
    values = json.loads(path.read_text())
    values["predictions"]["file"] = "../../" + own.predictions["file"]  # type: ignore[index]
    path.write_text(json.dumps(values))
    assert read_predictions(path, read_result(path)).test_ids == PREDICTIONS.test_ids


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": 1.2},
        {"mean": float("nan")},
        {"weights_digest": None},
        {"predictions": None},
        {"trials": []},
        {"surprise": 1},
        {"selection": "luck"},
        {"shots": -1},
    ],
    ids=str,
)
def test_the_schema_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        result(**changes)


def test_published_results_may_have_no_digests() -> None:
    published = result(provenance="published", weights_digest=None, trials=[], predictions=None, n_test=None)
    assert published.provenance == "published"
    with pytest.raises(ResultError, match="has no predictions"):
        read_predictions(Path("x.json"), published)
