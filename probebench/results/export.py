"""Results as one tidy table."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from probebench.errors import UsageError
from probebench.results.cells import source_samples
from probebench.results.schema import Calibration, Result, Retrieval

# Of a logistic probe's probabilities, as fitted and temperature-scaled.
CALIBRATION = tuple(f"{which}{name}" for which in ("", "scaled_") for name in Calibration.model_fields)
RETRIEVAL = tuple(Retrieval.model_fields)
COLUMNS = (
    *("provenance", "model", "method", "objective", "sources", "samples", "samples_seen", "labels", "curation"),
    *("architecture", "layer", "input_size", "dtype", "weights_digest", "dataset", "dataset_fingerprint"),
    *(
        "kind",
        "mode",
        "protocol",
        "protocol_version",
        "backend",
        "shots",
        "labels_spent",
        "selection",
        "draws",
        "chosen",
    ),
    *("metric", "n_test", "mean", "low", "high"),
    *CALIBRATION,
    *("test_dataset", "own_mean", "drop", "drop_low", "drop_high"),
    *RETRIEVAL,
)


def tidy_row(result: Result) -> dict[str, Any]:
    """Returns one result as a flat row; what is not known is None.

    ``chosen`` holds the hyper-parameters as JSON: those of every trial, or the setting of a published result.
    """
    facts = result.checkpoint
    low, high = result.ci95 or (None, None)
    drop_low, drop_high = (result.shift.drop_ci95 if result.shift else None) or (None, None)
    settings = [trial.chosen for trial in result.trials] or result.environment.get("settings", {})
    return {
        "provenance": result.provenance,
        "model": result.model,
        "method": facts.method,
        "objective": facts.objective,
        "sources": " + ".join(sorted(source.name for source in facts.sources)),
        "samples": source_samples(facts) if facts.sources else 0,
        "samples_seen": None if facts.samples_seen == "unknown" else facts.samples_seen,
        "labels": facts.labels,
        "curation": facts.curation,
        "architecture": facts.architecture,
        "layer": facts.layer,
        "input_size": result.input_size,
        "dtype": result.dtype,
        "weights_digest": result.weights_digest,
        "dataset": result.dataset,
        "dataset_fingerprint": result.dataset_fingerprint,
        "kind": result.kind,
        "mode": result.mode,
        "protocol": result.protocol,
        "protocol_version": result.protocol_version,
        "backend": result.backend,
        "shots": str(result.shots),
        "labels_spent": result.labels_spent,
        "selection": result.selection,
        "draws": len(result.trials),
        "chosen": json.dumps(settings, sort_keys=True),
        "metric": result.metric,
        "n_test": result.n_test,
        "mean": result.mean,
        "low": low,
        "high": high,
        **_calibration(result),
        "test_dataset": result.test_dataset,
        "own_mean": result.shift.own_mean if result.shift else None,
        "drop": result.shift.drop if result.shift else None,
        "drop_low": drop_low,
        "drop_high": drop_high,
        **{name: getattr(result.retrieval, name, None) for name in RETRIEVAL},
    }


def _calibration(result: Result) -> dict[str, float | None]:
    fitted, scaled = (one.model_dump() if one else {} for one in (result.calibration, result.scaled_calibration))
    values = fitted | {f"scaled_{name}": value for name, value in scaled.items()}
    return {name: values.get(name) for name in CALIBRATION}


def encode(results: Sequence[Result], form: str) -> bytes:
    """Returns the table of at least one result as "csv", "json" or "parquet".

    Raises:
        UsageError: Parquet was asked for and pyarrow is not installed.
    """
    rows = [tidy_row(result) for result in results]
    if form == "json":
        return (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode()
    if form == "parquet":
        return _parquet(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("parquet needs pyarrow; run pip install pyarrow, or take --format csv") from error
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), stream)
    return stream.getvalue()
