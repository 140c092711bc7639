"""The board as tables for others to use: ``board.csv`` and ``board.json``, one row a score."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

# Of board.csv, and the keys of a row of board.json, in this order (docs/leaderboard.md).
COLUMNS = (
    *("key", "id", "title", "method", "objective", "source", "images", "labels", "curation", "architecture"),
    *("parameters", "layer", "input_px", "dtype", "data_set", "kind", "protocol", "shots", "metric"),
    *("score", "low", "high", "rank", "note", "draws", "seen_before"),
)
# A spreadsheet takes a text that starts so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a row for each checkpoint, data set, way of measuring and number of shots of a page's data.

    Ranks are those of all checkpoints that are reported, on that data set alone.
    """
    for view in data["views"]:
        if view["metric"] != "own" or view["tier"] == "reproduced" or view["px"]:
            continue
        setting = data["settings"][view["setting"]]
        for dataset, lines in view["single"].items():
            for number, rank, mean, low, high, _, note, draws in lines:
                said = data["entrants"][number]
                values = (
                    *(said[name] for name in ("key", "id", "title", "method", "objective", "source", "samples")),
                    *(said[name] for name in ("labels", "curation", "arch", "parameters", "layer", "px", "dtype")),
                    *(data["datasets"][dataset]["name"], setting["kind"], setting["name"], view["shots"]),
                    *(data["datasets"][dataset]["metric"], *map(_share, (mean, low, high))),
                    *(rank, data["notes"][note], draws, said["overlap"][dataset]),
                )
                yield dict(zip(COLUMNS, values, strict=True))


def _share(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def as_csv(data: Mapping[str, Any]) -> bytes:
    """Returns the rows as CSV; no text in it is a formula."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(data):
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return stream.getvalue().encode()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_json(data: Mapping[str, Any], claims: Any) -> bytes:
    """Returns the rows and the study's claims as JSON."""
    return (json.dumps({"claims": claims, "rows": list(rows(data))}, indent=1, default=str) + "\n").encode()
