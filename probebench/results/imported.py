"""Reads tables of published figures into results: one a hyper-parameter setting, with where in the table it stands."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probebench.errors import ResultError
from probebench.fingerprint import fingerprint
from probebench.outside import read_json
from probebench.results.cells import size_text
from probebench.results.mapping import MethodWord, Role, SourceWord, TableMap, find_word, read_source
from probebench.results.schema import Result
from probebench.results.store import result_files, result_path, write_result
from probebench.results.table import Figure, Problems, TableRow, cell_text, figures, number, rows

# What rows say in words that a map translates.
_WORDS: tuple[Role, ...] = ("method", "architecture", "source", "dataset", "shots")


def import_table(table: Path, table_map: TableMap) -> list[Result]:
    """Reads every figure of a table; blank cells are passed over, and failed runs have no score.

    Equal figures of the zero-shot column count once: the transfer's hyper-parameters have no part in them.

    Raises:
        ResultError: The file cannot be read, columns are missing or unknown to the map, or cells have words or numbers
            that the map cannot place; all of them are named at once.
    """
    problems = Problems(table)
    seen: Counter[str] = Counter()
    results: list[Result] = []
    words: dict[Role, set[str]] = defaultdict(set)
    facts_of: dict[str, dict[str, Any]] = {}
    for row in rows(table, table_map, problems):
        for role in _WORDS:
            words[role].add(cell_text(row, role, table_map)[0].casefold())
        checkpoint = _checkpoint(row, table_map, problems)
        dataset = _dataset(row, table_map, problems)
        found = list(figures(row, table_map, problems))
        if problems.found or checkpoint is None or dataset is None:
            continue
        model = _model_id(row, table_map)
        if facts_of.setdefault(model, checkpoint) != checkpoint:
            problems.add(row.line, "model", f"{model} names two checkpoints; give the map's model another column")
        word = _method(row, table_map)
        for figure in found:
            if word is None or (table_map.wide and figure.column in word.without):
                continue
            facts = _facts(row, figure, table_map, word, model, dataset, checkpoint)
            identity = fingerprint([facts, figure.text if figure.shots == 0 else None])
            seen[identity] += 1
            if figure.shots != 0 or seen[identity] == 1:
                place = {"table": table.name, "line": row.line, "column": figure.column, "repeat": seen[identity]}
                results.append(_result(facts, figure, place, table_map))
    problems.stop_if_any()
    if not table_map.partial:
        _check_words(table, table_map, words, {result.dataset for result in results})
    if not results:
        raise ResultError(f"table {table} has no figures in the columns that the map names")
    return results


def _check_words(table: Path, table_map: TableMap, words: dict[Role, set[str]], datasets: set[str]) -> None:
    """Raises a ResultError for the keys of a map that nothing in the table matches."""
    idle = [f"test_images.{name}" for name in table_map.test_images if name not in datasets]
    idle += [f"methods.{word}" for word in table_map.methods if word.casefold() not in words["method"]]
    idle += [
        f"architectures.{word}" for word in table_map.architectures if word.casefold() not in words["architecture"]
    ]
    idle += [f"datasets.{word}" for word in table_map.datasets if word.casefold() not in words["dataset"]]
    names = {id(read[0]) for word in words["source"] if (read := read_source(table_map.sources, word))}
    idle += [f"sources.{word}" for word, meaning in table_map.sources.items() if id(meaning) not in names]
    if not table_map.wide:
        idle += [f"shots.{word}" for word in table_map.shots if word.casefold() not in words["shots"]]
    if idle:
        raise ResultError(
            f"table {table}: nothing in it matches {', '.join(idle)} of the map; "
            "write them as the table does, remove them, or say partial = true in the map"
        )


def write_imported(results: list[Result], out: Path) -> list[Path]:
    """Writes one file for each result, and removes what the same table wrote before and holds no longer."""
    before = set(_written(results, out))
    paths = []
    for result in results:
        identity = result.model_dump(mode="json", exclude=None if result.kind == "zeroshot" else {"mean"})
        identity["environment"]["imported"].pop("line")
        digest = fingerprint(identity)
        path = result_path(out, result.model, result.dataset, result.kind, result.protocol, result.shots, digest)
        write_result(path, result)
        paths.append(path)
    for path in before - set(paths):
        path.unlink()
    return paths


def _written(results: list[Result], out: Path) -> Iterator[Path]:
    """Lists the results below a folder that came from the same table under the same map."""
    origins = {_origin(result.environment, result.protocol) for result in results}
    for path in result_files(out):
        try:
            held = json.loads(read_json(path))
        except (OSError, ValueError):
            continue
        # A damaged file is for whoever reads it to tell of.
        if (
            isinstance(held, dict)
            and held.get("provenance") == "published"
            and isinstance(held.get("environment"), dict)
        ):
            if _origin(held["environment"], held.get("protocol")) in origins:
                yield path


def _origin(environment: dict[str, Any], protocol: object) -> tuple[object, ...]:
    imported = environment.get("imported")
    told = imported if isinstance(imported, dict) else {}
    return protocol, told.get("table"), told.get("title")


def _method(row: TableRow, table_map: TableMap) -> MethodWord | None:
    return find_word(table_map.methods, cell_text(row, "method", table_map)[0])


def _source(row: TableRow, table_map: TableMap, problems: Problems) -> tuple[SourceWord, Any] | None:
    text, column = cell_text(row, "source", table_map)
    read = read_source(table_map.sources, text)
    if read is None:
        problems.add(row.line, column, f"unknown source {text!r}")
        return None
    given, samples_column = cell_text(row, "samples", table_map)
    if given:
        count = number(given)
        if count is None or count < 0:
            problems.add(row.line, samples_column, f"{given!r} is no number of samples")
            return None
        return read[0], round(count)
    return read


def _checkpoint(row: TableRow, table_map: TableMap, problems: Problems) -> dict[str, Any] | None:
    text, column = cell_text(row, "method", table_map)
    method = _method(row, table_map)
    if method is None:
        problems.add(row.line, column, f"unknown method {text!r}")
    architecture, column = cell_text(row, "architecture", table_map)
    if table_map.architectures and find_word(table_map.architectures, architecture) is None:
        problems.add(row.line, column, f"unknown architecture {architecture!r}")
    source = _source(row, table_map, problems)
    epochs_text, column = cell_text(row, "epochs", table_map)
    epochs = number(epochs_text)
    if epochs_text and epochs is None:
        problems.add(row.line, column, f"{epochs_text!r} is no number of epochs")
    if method is None or source is None:
        return None
    word, samples = source
    untrained = "none" in (method.method, word.method)
    size = f" ({size_text(samples)})" if isinstance(samples, int) else ""
    how = "untrained" if untrained else f"{text} on {word.name}{size}"
    known = isinstance(samples, int) and epochs is not None
    return {
        "title": f"{architecture}, {how} ({table_map.paper})",
        "method": "none" if untrained else method.method,
        "objective": "none" if untrained else method.objective,
        "sources": [] if untrained else [{"name": word.name, "samples": samples}],
        "samples_seen": 0 if untrained else round(samples * (epochs or 0)) if known else "unknown",
        "labels": "none" if untrained else cell_text(row, "labels", table_map)[0] or method.labels or word.labels,
        "curation": "none" if untrained else cell_text(row, "curation", table_map)[0] or word.curation,
        "architecture": find_word(table_map.architectures, architecture) or architecture,
        "layer": "unknown",
        "features": "unknown",
    }


def _dataset(row: TableRow, table_map: TableMap, problems: Problems) -> str | None:
    text, column = cell_text(row, "dataset", table_map)
    dataset = find_word(table_map.datasets, text) or ("" if table_map.strict else _slug(text))
    if not dataset:
        problems.add(row.line, column, f"unknown data set {text!r}")
    return dataset or None


def _slug(text: str) -> str:
    """Returns a name that can be a folder's."""
    return re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_.")


def _model_id(row: TableRow, table_map: TableMap) -> str:
    return _slug(re.sub(r"\{([^{}]+)\}", lambda match: row.cells.get(match[1], ""), table_map.model)) or "unnamed"


def _facts(
    row: TableRow,
    figure: Figure,
    table_map: TableMap,
    word: MethodWord,
    model: str,
    dataset: str,
    checkpoint: dict[str, Any],
) -> dict[str, Any]:
    """Returns what a figure is of: everything but its score and its place in the table."""
    zero = figure.shots == 0
    counted = number(cell_text(row, "n_test", table_map)[0])
    images = table_map.test_images.get(dataset, {}).get(str(figure.shots))
    return {
        "kind": "zeroshot" if zero else word.kind or table_map.kind,
        "mode": "zeroshot" if zero else word.mode or table_map.mode,
        "model": model,
        "checkpoint": checkpoint,
        "dataset": dataset,
        "shots": figure.shots,
        "n_test": round(counted) if counted else images,
        "settings": {} if zero else {name: row.cells[name] for name in table_map.settings},
        "pretraining": {name: row.cells[name] for name in table_map.pretraining},
    }


def _result(facts: dict[str, Any], figure: Figure, place: dict[str, Any], table_map: TableMap) -> Result:
    settings, pretraining = facts["settings"], facts["pretraining"]
    imported = place | {"title": table_map.title, "paper": table_map.paper, "url": table_map.url}
    if figure.score is None:
        imported |= {"failed": figure.text}
    return Result.model_validate(
        {name: value for name, value in facts.items() if name not in ("settings", "pretraining")}
        | {
            "provenance": "published",
            "weights_digest": None,
            "dataset_fingerprint": None,
            "train_fingerprint": None,
            "feature_key": None,
            "input_size": None,
            "dtype": None,
            "protocol": table_map.protocol,
            "protocol_version": 1,
            "backend": None,
            "labels_spent": None,
            "selection": "fixed" if facts["kind"] == "zeroshot" else table_map.selection,
            "trials": [],
            "short_classes": [],
            "metric": table_map.metric,
            "skipped_ids": [],
            "mean": figure.score,
            "ci95": None,
            "ci95_covers": None,
            "predictions": None,
            "environment": {"imported": imported, "settings": settings, "pretraining": pretraining},
            "timings": {},
        }
    )
