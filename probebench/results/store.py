"""Result files: one JSON a run, and beside it the predictions that every score can be recomputed from."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from probebench.arrays import Labels
from probebench.errors import ResultError, one_line
from probebench.files import write_whole
from probebench.fingerprint import file_sha256
from probebench.outside import read_json
from probebench.registry.entry import Shots
from probebench.results.archive import read_arrays
from probebench.results.schema import Result


@dataclass(frozen=True)
class Predictions:
    """Test ids (N,), true labels (N,) and predicted labels (trials, N); -1 in a trial that failed."""

    test_ids: tuple[str, ...]
    y_true: Labels
    y_pred: Labels


def result_path(out: Path, model: str, dataset: str, kind: str, protocol: str, shots: Shots, digest: str) -> Path:
    """Returns where a run's JSON lives: model/dataset/kind-protocol-shots-digest8.json."""
    return out / model / dataset.replace(":", "-") / f"{kind}-{protocol}-{shots}-{digest[:8]}.json"


def write_predictions(path: Path, predictions: Predictions) -> dict[str, str]:
    """Writes the predictions of the run whose JSON is ``path``, and returns their name and sha256."""
    target = path.with_suffix(".npz")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, test_ids=np.array(predictions.test_ids), y_true=predictions.y_true, y_pred=predictions.y_pred
    )
    write_whole(target, buffer.getvalue())
    return {"file": target.name, "sha256": file_sha256(target)}


def write_result(path: Path, result: Result) -> None:
    """Writes a run's JSON; call it last, since a run counts as finished when this file is there."""
    write_whole(path, (result.model_dump_json(indent=1) + "\n").encode())


def read_result(path: Path) -> Result:
    """Reads a run's JSON.

    Raises:
        ResultError: It cannot be read, is damaged or of another schema.
    """
    again = "remove it and run eval again"
    try:
        return Result.model_validate_json(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(
            f"result {path} is damaged or of another schema ({where}: {first['msg']}); {again}"
        ) from error
    except OSError as error:
        raise ResultError(f"result {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ResultError(f"result {path} is damaged ({one_line(error, 100)}); {again}") from error


def read_predictions(path: Path, result: Result) -> Predictions:
    """Reads the predictions of the run whose JSON is ``path``.

    Raises:
        ResultError: They are missing, damaged, or not those that the JSON names.
    """
    if result.predictions is None:
        raise ResultError(f"result {path} has no predictions: it was published, not measured")
    file = path.parent / Path(result.predictions["file"]).name
    if not file.is_file() or file_sha256(file) != result.predictions["sha256"]:
        raise ResultError(f"predictions {file} are missing or not those of {path.name}; remove both and run eval again")
    try:
        return predictions_of(file)
    except ResultError as error:
        raise ResultError(f"predictions {file} are damaged ({error}); remove both and run eval again") from error


def predictions_of(file: Path, expected: tuple[int, int] | None = None) -> Predictions:
    """Reads predictions, trusting nothing in the file; ``expected`` is how many trials and images it must hold.

    Raises:
        ResultError: It holds anything else; the line names no file.
    """
    ids, y_true, y_pred = read_arrays(file, expected)
    return Predictions(tuple(ids.tolist()), y_true.astype(np.int64), y_pred.astype(np.int64))


def beside_file(out: Path, result: Result) -> Path:
    """Returns where the JSON of a measured result lies below a results folder, by the name of its predictions."""
    name = Path((result.predictions or {}).get("file", "")).name
    return out / result.model / result.dataset.replace(":", "-") / Path(name).with_suffix(".json")


def result_files(out: Path) -> Iterator[Path]:
    """Lists the JSON files of all runs under a results folder, in the order of their names."""
    return iter(sorted(path for path in out.glob("*/*/*.json") if not path.name.startswith(".")))
