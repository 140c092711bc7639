"""The rows and figures of somebody else's table, and everything that is wrong with it at once."""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probebench.errors import ResultError
from probebench.registry.entry import Shots
from probebench.results.mapping import Role, TableMap, find_word

_SHOWN = 100


@dataclass
class Problems:
    """What is wrong with a table, each thing once, with the first place where it stands."""

    table: Path
    found: dict[str, str] = field(default_factory=dict)

    def add(self, line: int, column: str, what: str) -> None:
        """Notes one thing."""
        self.found.setdefault(f"column {column!r}: {what}", f"line {line}, column {column!r}: {what}")

    def stop_if_any(self) -> None:
        """Raises a ResultError that lists all that was noted."""
        if not self.found:
            return
        told = list(self.found.values())
        rest = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        raise ResultError(f"table {self.table}: {'; '.join(told[:_SHOWN])}{rest}; mend the table, or say it in the map")


@dataclass(frozen=True)
class TableRow:
    """Cells by heading, and the line they stand on."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Figure:
    """One cell with a score in it, or with the sign of a failed run (score None)."""

    column: str
    text: str
    shots: Shots
    score: float | None


def rows(table: Path, table_map: TableMap, problems: Problems) -> Iterator[TableRow]:
    """Reads a table row by row; empty lines are passed over.

    Raises:
        ResultError: The file is no text, is empty, or has columns that the map does not know or lacks some it needs.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResultError(f"table {table} is not UTF-8 text; save it as UTF-8") from error
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    if not header_line:
        raise ResultError(f"table {table} is empty")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=table_map.separator(header_line))
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(header, reader.line_num, table_map, problems)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.add(reader.line_num, "all", f"{len(cells)} cells where the heading has {len(header)}")
                continue
            yield TableRow(reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})
    except csv.Error as error:
        raise ResultError(f"table {table} line {reader.line_num}: {error}") from error


def _check_header(header: list[str], line: int, table_map: TableMap, problems: Problems) -> None:
    named = set(table_map.named)
    optional = {*table_map.ignore, *(table_map.shots if table_map.wide else ())}
    for name in header:
        if name not in named:
            problems.add(line, name, "the map does not know this column (list it under ignore to pass it over)")
    for name, count in Counter(header).items():
        if count > 1:
            problems.add(line, name, "this heading occurs twice")
    for name in sorted(named - optional - set(header)):
        problems.add(line, name, "the table lacks this column")
    if table_map.wide and not set(table_map.shots) & set(header):
        problems.add(line, "shots", "the table has none of the map's columns of scores")
    problems.stop_if_any()


def cell_text(row: TableRow, role: Role, table_map: TableMap) -> tuple[str, str]:
    """Returns what a row says of a role, and the column that says it."""
    column = table_map.columns.get(role)
    if column is not None:
        return row.cells[column], column
    return table_map.constants.get(role, ""), role


def figures(row: TableRow, table_map: TableMap, problems: Problems) -> Iterator[Figure]:
    """Reads all figures of a row; blank cells are passed over."""
    if table_map.wide:
        found = [(name, row.cells[name], shots) for name, shots in table_map.shots.items() if name in row.cells]
    else:
        word, column = cell_text(row, "shots", table_map)
        told = find_word(table_map.shots, word)
        if told is None:
            told = "full" if word.casefold() == "full" else int(word) if word.isascii() and word.isdigit() else None
        if told is None:
            problems.add(row.line, column, f"unknown number of shots {word!r}")
            return
        found = [(table_map.columns["score"], row.cells[table_map.columns["score"]], told)]
    for column, text, shots in found:
        if not text or text.casefold() in {one.casefold() for one in table_map.blank}:
            continue
        if _failed(text, table_map):
            yield Figure(column, text, shots, None)
            continue
        score = number(text)
        top = 100.0 if table_map.scale == "percent" else 1.0
        if score is None:
            problems.add(row.line, column, f"{text!r} is no number")
        elif not 0 <= score <= top:
            problems.add(row.line, column, f"{text!r} is not within 0 and {top:g} (the map's scale)")
        else:
            # Rounded as a figure in percent would be written: 11.045 / 100 is not 0.11045 in binary.
            yield Figure(column, text, shots, round(score / top, 12))


def _failed(text: str, table_map: TableMap) -> bool:
    value = number(text)
    return any(
        text.casefold() == word.casefold() or (value is not None and value == number(word)) for word in table_map.failed
    )


def number(text: str) -> float | None:
    """Reads a plain finite number; None where the text is none."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
