"""Result files: one JSON a run, and beside it the predictions that every score can be recomputed from."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from probebench.errors import ResultError, one_line
from probebench.files import write_whole
from probebench.fingerprint import file_sha256
from probebench.outside import explain, read_json
from probebench.registry.entry import Shots, Whole
from probebench.results.archive import OWN, Arrays, read_arrays
from probebench.results.packed import SUFFIX, Packed, is_packed, read_pack, write_pack
from probebench.results.predictions import PROBABILITIES, SCALED, Measure, Predictions
from probebench.results.schema import Result

# Said of a folder that holds nothing for a pack.
_NOTHING = ""


def result_path(out: Path, model: str, dataset: str, kind: str, protocol: str, shots: Shots, digest: str) -> Path:
    """Returns where a run's JSON lives: model/dataset/kind-protocol-shots-digest8.json."""
    return out / model / dataset.replace(":", "-") / f"{kind}-{protocol}-{shots}-{digest[:8]}.json"


def write_predictions(path: Path, predictions: Predictions) -> dict[str, str]:
    """Writes the predictions of the run whose JSON is ``path``, and returns their name and sha256."""
    target = path.with_suffix(".npz")
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "test_ids": np.array(predictions.test_ids),
        "y_true": predictions.y_true,
        "y_pred": predictions.y_pred,
        **predictions.measures,
        **own_arrays(predictions),
    }
    np.savez_compressed(buffer, **arrays)
    write_whole(target, buffer.getvalue())
    return {"file": target.name, "sha256": file_sha256(target)}


def write_result(path: Path, result: Result) -> None:
    """Writes a run's JSON; call it last, since a run counts as finished when this file is there."""
    write_whole(path, (result.model_dump_json(indent=1) + "\n").encode())


def read_result(path: Path) -> Result:
    """Reads a run's JSON, in a file of its own or in a pack.

    Raises:
        ResultError: It cannot be read, is damaged or of another schema.
    """
    again = "remove it and run eval again"
    try:
        content = _content(path)
        if (version := newer_schema(content)) is not None:
            raise ResultError(f"result {path} {version}")
        return Result.model_validate_json(content, strict=True)
    except ValidationError as error:
        told = explain(error, whole="result", most=3)
        raise ResultError(f"result {path} is damaged or of another schema ({told}); {again}") from error
    except OSError as error:
        raise ResultError(f"result {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ResultError(f"result {path} is damaged ({one_line(error, 100)}); {again}") from error


def _content(path: Path) -> bytes:
    if not is_packed(path):
        return read_json(path)
    try:
        return _packed(path).texts[path.name]
    except ResultError as error:
        raise _told(path, error) from error


def _packed(path: Path) -> Packed:
    """Returns the pack that a run lies in."""
    pack = read_pack(path.parent)
    if path.name not in pack.texts:
        raise ResultError(f"holds no {path.name}")
    return pack


def _told(path: Path, error: ResultError) -> ResultError:
    return ResultError(f"pack {path.parent} {error}; fetch it again, or remove it and run eval again")


class _Schema(BaseModel):
    schema_version: Annotated[int, Whole]


def newer_schema(content: bytes) -> str | None:
    """Says that a JSON text is of a schema that came after this version, as a predicate; None where it is not."""
    try:
        version = _Schema.model_validate_json(content).schema_version
    except ValidationError:
        return None
    if version <= 1:
        return None
    return f"is of schema {version}, and this version of probebench knows 1: upgrade probebench to read it"


def read_predictions(path: Path, result: Result) -> Predictions:
    """Reads the predictions of the run whose JSON is ``path``.

    Raises:
        ResultError: They are missing, damaged, or not those that the JSON names.
    """
    if result.predictions is None:
        raise ResultError(f"result {path} has no predictions: it was published, not measured")
    if is_packed(path):
        try:
            return _packed(path).predictions(path.name, result.predictions["sha256"])
        except ResultError as error:
            raise _told(path, error) from error
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
    (ids, y_true, y_pred), measures, own = read_arrays(file, expected)
    there = None if own is None else _typed(own)
    return _typed((ids, y_true, y_pred), measures, there)


def _typed(
    arrays: Arrays, measures: Mapping[str, Measure] = MappingProxyType({}), own: Predictions | None = None
) -> Predictions:
    ids, y_true, y_pred = arrays
    return Predictions(tuple(ids.tolist()), y_true.astype(np.int64), y_pred.astype(np.int64), measures, own)


def own_arrays(predictions: Predictions) -> dict[str, Any]:
    """Returns what a file of predictions holds of the own test part, where they are of another data set's."""
    if (own := predictions.own) is None:
        return {}
    return dict(zip(OWN, (np.array(own.test_ids), own.y_true, own.y_pred), strict=True))


def beside_file(out: Path, result: Result) -> Path:
    """Returns where the JSON of a measured result lies below a results folder, by the name of its predictions."""
    name = Path((result.predictions or {}).get("file", "")).with_suffix(".json").name
    folder = out / result.model / result.dataset.replace(":", "-")
    pack = folder.with_name(folder.name + SUFFIX)
    return (pack if pack.is_file() and not (folder / name).exists() else folder) / name


def result_files(out: Path) -> Iterator[Path]:
    """Lists the JSON of all runs under a results folder, in the order of their names; those of packs as if in folders.

    A pack that cannot be read is listed as one run, and whoever reads that hears why.
    """
    found = [path for path in out.glob("*/*/*.json") if not path.name.startswith(".") and path.parent.is_dir()]
    for pack in out.glob(f"*/*{SUFFIX}"):
        try:
            found += [pack / name for name in read_pack(pack).texts]
        except ResultError:
            found.append(pack / "?.json")
    return iter(sorted(found))


def pack_results(out: Path, *, probabilities: bool = True) -> Iterator[tuple[Path, str | None]]:
    """Packs the measured runs of each checkpoint on each data set into one file, and removes theirs.

    Runs that are added later lie beside the pack until the next call. What cannot be packed stays as it is, and so do
    runs on the test parts of other data sets.

    Args:
        out: A results folder.
        probabilities: Keep those of each test image, and the calibration that is computed from them; they take nearly
            all of a pack.

    Yields:
        Each folder, with why it stays, or None.
    """
    for folder in sorted({path.parent for path in out.glob("*/*/*.json") if path.parent.is_dir()}):
        if (why := _pack(folder, probabilities)) != _NOTHING:
            yield folder, why


def _without_probabilities(result: Result, predictions: Predictions) -> tuple[Result, Predictions]:
    kept = {name: values for name, values in predictions.measures.items() if name not in (*PROBABILITIES, *SCALED)}
    plain = result.model_copy(update={"calibration": None, "scaled_calibration": None})
    return plain, replace(predictions, measures=kept)


def _pack(folder: Path, probabilities: bool) -> str | None:
    pack = folder.with_name(folder.name + SUFFIX)
    names = {path.name: path for path in sorted(folder.glob("*.json"))}
    try:
        if pack.exists():
            names = {**{name: pack / name for name in read_pack(pack).texts}, **names}
        read = [(name, read_result(path), path) for name, path in names.items()]
        # A pack is of one test part.
        read = [one for one in read if one[1].test_dataset is None]
        held = [(name, result, read_predictions(path, result)) for name, result, path in read]
        if not probabilities:
            held = [(name, *_without_probabilities(result, predictions)) for name, result, predictions in held]
        runs = [(name, result.model_dump(mode="json"), predictions) for name, result, predictions in held]
    except (ResultError, OSError) as error:
        return str(error)
    if not runs:
        return _NOTHING
    _, _, first = runs[0]
    for name, _, one in runs:
        if one.test_ids != first.test_ids or not np.array_equal(one.y_true, first.y_true):
            return f"{name} is of other test images than {runs[0][0]}"
    write_pack(pack, runs)
    for name, _, _ in runs:
        for file in (folder / name, (folder / name).with_suffix(".npz")):
            file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return None
