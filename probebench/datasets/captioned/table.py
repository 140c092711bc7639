"""The table of a folder of captioned images: captions.csv, with the columns file, caption and label."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from probebench.errors import DatasetError, did_you_mean, one_line
from probebench.files import write_whole

TABLE = "captions.csv"
_NEEDED, _KNOWN = ("file", "caption"), ("file", "caption", "label", "concepts", "split")
# Faults that a line tells.
_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image.

    Attributes:
        file: Its name below the folder, with "/".
        caption: It in words.
        label: Its class in words; None where the table has no such column.
        concepts: Names and code points of what it shows.
        split: The split that it is in; None where the table has no such column.
    """

    file: str
    caption: str
    label: str | None = None
    concepts: tuple[str, ...] = ()
    split: str | None = None

    @property
    def id(self) -> str:
        """The image's id in a drawn data set: its file without the ending."""
        return str(PurePosixPath(self.file).with_suffix(""))


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Writes a table whole; columns that no row needs are left out."""
    rows = list(rows)
    columns = [name for name in _KNOWN if name in _NEEDED or any(getattr(row, name) for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = {**row.__dict__, "concepts": " ".join(row.concepts)}
        writer.writerow([values[name] or "" for name in columns])
    write_whole(path, text.getvalue())


def read_table(folder: Path) -> list[Row]:
    """Reads the table of a folder.

    Raises:
        DatasetError: It is missing, not UTF-8, lacks a column, or rows are wrong: one line with their numbers, as a
            spreadsheet counts them (the names of the columns are row 1).
    """
    path = folder / TABLE
    records = _records(path)
    columns = [name.strip() for name in records[0]] if records else []
    _check_columns(path, columns)
    check = _Check(folder, [dict(zip(columns, record, strict=False)) for record in records[1:]])
    rows: list[Row] = []
    for number, record in enumerate(records[1:], start=2):
        if len(record) != len(columns):
            fields = f"has {len(record)} fields where the first row has {len(columns)}"
            check.fault(number, f"{fields} (a comma in a caption needs quotes around the caption)")
            continue
        rows.append(check.row(number, {name: value.strip() for name, value in zip(columns, record, strict=True)}))
    if not records[1:]:
        raise DatasetError(f"{path} names no images; write a row file,caption,label for each")
    if check.faults:
        raise DatasetError(f"{path}: {check}")
    return rows


def _records(path: Path) -> list[list[str]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing: a table with the columns file, caption and label") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        kind = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "another encoding"
        raise DatasetError(f"{path}: row {row} is not UTF-8 but {kind}; save it as CSV in UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        # A spreadsheet may leave empty rows at the end.
        records = list(reader)
        while records and not any(value.strip() for value in records[-1]):
            records.pop()
        return records
    except csv.Error as error:
        raise DatasetError(
            f"{path}: row at line {reader.line_num} is no CSV ({one_line(error, 80)}); mend its quotes"
        ) from error


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in _NEEDED:
        if name not in columns:
            found = ", ".join(columns)[:100] or "none"
            near = did_you_mean(name, [one for one in columns if one not in _KNOWN])
            hint = "; write commas between them" if len(columns) == 1 and any(mark in found for mark in ";\t") else near
            raise DatasetError(f"{path}: row 1 has no column {name!r} (its columns: {found}){hint}")
    if twice := sorted({name for name in columns if columns.count(name) > 1 and name in _KNOWN}):
        raise DatasetError(f"{path}: row 1 has the column {twice[0]!r} twice; remove one")


@dataclass
class _Check:
    """Checks rows, and gathers what is wrong with them."""

    folder: Path
    records: list[dict[str, str]]
    faults: list[str] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _folders: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A table of which no row has a label has none.
        self._labelled = any(record.get("label", "").strip() for record in self.records)

    def fault(self, number: int, what: str) -> None:
        self.faults.append(f"row {number} {what}")

    def row(self, number: int, values: Mapping[str, str]) -> Row:
        file = values["file"]
        name = PurePosixPath(file)
        if not file:
            self.fault(number, "names no file")
        elif name.is_absolute() or ".." in name.parts:
            self.fault(number, f"names {file[:80]!r}, which is not below the folder of the table")
        elif not self._there(name):
            self.fault(number, f"names {file[:80]!r}, which is not there")
        elif file in self._seen:
            self.fault(number, f"names {file[:80]!r}, as row {self._seen[file]} does")
        self._seen.setdefault(file, number)
        if not values["caption"]:
            self.fault(number, "has an empty caption")
        if self._labelled and not values["label"]:
            self.fault(number, "has an empty label, where others have one")
        return Row(
            file=file,
            caption=values["caption"],
            label=values["label"] if self._labelled else None,
            concepts=tuple(values.get("concepts", "").split()),
            split=values.get("split") or None,
        )

    def _there(self, name: PurePosixPath) -> bool:
        """Looks into each folder once, which is faster than asking for each file."""
        parent = str(name.parent)
        if parent not in self._folders:
            try:
                entries = os.scandir(self.folder / parent)
                self._folders[parent] = frozenset(entry.name for entry in entries if entry.is_file())
            except (OSError, ValueError):
                self._folders[parent] = frozenset()
        return name.name in self._folders[parent]

    def __str__(self) -> str:
        told = "; ".join(self.faults[:_TOLD])
        more = len(self.faults) - _TOLD
        return told + (f"; and {more} more faults" if more > 0 else "")
