"""Packs: all runs of one checkpoint on one data set in one small file, MODEL/DATASET.zip.

A pack holds

    results.jsonl   the runs' JSON, a line each, in the order of their names (those of their predictions)
    test_ids.json   the test images, which all runs share
    y_true.npy      their labels (images,)
    y_pred.npy      (images, trials of all runs), the images in the order of their labels, in the smallest integers

and, where runs have measures (``results/predictions.py``),

    measures.json   the names of the measures of each run that has some
    NAME.npy        float32 (images, trials of the runs that have it), the images likewise

Predictions of one image lie side by side, and so do images of one class: alike values compress. A run in a pack is
named by a path as of a folder, MODEL/DATASET.zip/NAME.json; the digest in its JSON is that of its arrays.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probebench.arrays import Labels
from probebench.errors import ResultError
from probebench.files import write_whole
from probebench.outside import JSON_VALUES
from probebench.results.archive import opened_archive, read_measures, read_packed
from probebench.results.predictions import MEASURES, Measure, Predictions

SUFFIX = ".zip"
_MEMBERS = ("results.jsonl", "test_ids.json", "y_true.npy", "y_pred.npy")
_OPTIONAL = ("measures.json", *(f"{name}.npy" for name in MEASURES))
# Packs that are kept unpacked in memory, some 300 kB each of ten thousand images in 27 trials; and lists of test
# images, which are the same in all packs of a data set.
_KEPT, _KEPT_IDS = 1024, 32


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What a pack holds.

    Attributes:
        texts: The JSON text of each run, by its file's name.
        trials: The columns of ``y_pred`` of each run, likewise.
        test_ids: The test images.
        y_true: Their labels (images,).
        y_pred: Predictions (images, trials of all runs).
        measures: Those of each run that has some, by name (trials, images).
        sound: Names of runs whose arrays are known to be those that their JSON names.
    """

    texts: Mapping[str, bytes]
    trials: Mapping[str, slice]
    test_ids: tuple[str, ...]
    y_true: Labels
    y_pred: Labels
    measures: Mapping[str, Mapping[str, Measure]] = field(default_factory=dict)
    sound: set[str] = field(default_factory=set)

    def predictions(self, name: str, digest: str) -> Predictions:
        """Returns the predictions of one run.

        Raises:
            ResultError: They have another digest.
        """
        predicted = self.y_pred[:, self.trials[name]].T.astype(np.int64)
        found = Predictions(self.test_ids, self.y_true, predicted, self.measures.get(name, {}))
        if name not in self.sound and found.digest != digest:
            raise ResultError(f"holds other predictions of {name} than its result names")
        self.sound.add(name)
        return found


def is_packed(path: Path) -> bool:
    """Says whether the path of a run lies in a pack."""
    return path.parent.suffix == SUFFIX


def read_pack(path: Path) -> Packed:
    """Reads a pack, trusting nothing in it.

    Raises:
        ResultError: It cannot be read, is damaged, or holds anything else; the line names no file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ResultError(f"cannot be read ({error.strerror})") from error
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=_KEPT)
def _read(path: Path, modified: int, size: int) -> Packed:
    with opened_archive(path, SUFFIX, _MEMBERS, _OPTIONAL) as archive:
        lines = archive.read("results.jsonl").splitlines()
        ids = _ids(archive.read("test_ids.json"))
        y_true, columns = read_packed(archive)
        if len(ids) != len(y_true):
            raise ResultError(f"names {len(ids)} images, and has {len(y_true)} labels")
        texts: dict[str, bytes] = {}
        trials: dict[str, slice] = {}
        stop = 0
        for line in lines:
            if line.count(b",") > JSON_VALUES:
                raise ResultError("a result has more values than any has")
            said = json.loads(line)
            file, count = said["predictions"]["file"], len(said["trials"])
            name = Path(file).with_suffix(".json").name
            if name in texts or Path(name).with_suffix(".npz").name != file:
                raise ResultError(f"a run's predictions are called {ascii(file)[:80]}")
            texts[name], trials[name] = line, slice(stop, stop + count)
            stop += count
        if stop != columns.shape[1] or list(texts) != sorted(texts):
            raise ResultError(f"holds {columns.shape[1]} trials, and its results tell of {stop}, in another order")
        labels = y_true.astype(np.int64)
        counts = {name: place.stop - place.start for name, place in trials.items()}
        measures = _measures(archive, counts, labels)
    return Packed(
        texts=texts,
        trials=trials,
        test_ids=ids,
        y_true=labels,
        y_pred=_back(columns, labels),
        measures=measures,
    )


def _measures(archive: zipfile.ZipFile, counts: Mapping[str, int], labels: Labels) -> dict[str, dict[str, Measure]]:
    """Returns the measures of each run that has some; ``counts`` are the runs' trials, in the order of their names."""
    stored = read_measures(archive, None)
    named = json.loads(archive.read("measures.json")) if "measures.json" in archive.namelist() else {}
    if not isinstance(named, dict) or not set(named) <= set(counts):
        raise ResultError("measures.json names runs that the pack does not hold")
    found: dict[str, dict[str, Measure]] = {name: {} for name in named}
    for measure, columns in stored.items():
        runs = [name for name in counts if measure in named.get(name, ())]
        if columns.shape != (len(labels), sum(counts[name] for name in runs)):
            raise ResultError(f"holds {measure} of shape {columns.shape}, and not what its runs take")
        ends = np.cumsum([counts[name] for name in runs])[:-1]
        for name, part in zip(runs, np.split(_back(columns, labels).T, ends), strict=True):
            found[name][measure] = np.ascontiguousarray(part)
    if any(set(named[name]) != set(found[name]) for name in named):
        raise ResultError("measures.json names measures that the pack does not hold")
    return found


def _back(columns: npt.NDArray[Any], labels: Labels) -> npt.NDArray[Any]:
    """Returns columns (images, trials) in the images' own order."""
    found = np.empty_like(columns)
    found[_order(labels)] = columns
    return found


@lru_cache(maxsize=_KEPT_IDS)
def _ids(content: bytes) -> tuple[str, ...]:
    ids = json.loads(content)
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise ResultError("test_ids.json is no list of ids")
    return tuple(ids)


def write_pack(path: Path, runs: Sequence[tuple[str, Mapping[str, object], Predictions]]) -> None:
    """Writes a pack; the same runs give the same bytes.

    Args:
        path: MODEL/DATASET.zip.
        runs: Name, JSON values and predictions of each, all of the same test images.
    """
    runs = sorted(runs, key=lambda run: run[0])
    first = runs[0][2]
    lines, rows = [], []
    for name, values, predictions in runs:
        file = Path(name).with_suffix(".npz").name
        said = {**values, "predictions": {"file": file, "sha256": predictions.digest}}
        lines.append(json.dumps(said, separators=(",", ":")))
        rows.append(predictions.y_pred)
    order = _order(first.y_true)
    columns = np.vstack(rows)[:, order].T
    members = {
        "results.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "test_ids.json": json.dumps(first.test_ids, indent=0).encode(),
        "y_true.npy": _bytes(_smallest(first.y_true)),
        "y_pred.npy": _bytes(_smallest(columns)),
    }
    named = {name: sorted(predictions.measures) for name, _, predictions in runs if predictions.measures}
    if named:
        members["measures.json"] = json.dumps(named).encode()
    for measure in MEASURES:
        if parts := [own.measures[measure] for _, _, own in runs if measure in own.measures]:
            members[f"{measure}.npy"] = _bytes(np.vstack(parts)[:, order].T.astype("<f4"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            # The moment of a member stays that of the format's beginning.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    write_whole(path, buffer.getvalue())


def _order(y_true: Labels) -> Labels:
    return np.argsort(y_true, kind="stable")


def _smallest(values: Labels) -> npt.NDArray[Any]:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return values.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))


def _bytes(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values))
    return buffer.getvalue()
