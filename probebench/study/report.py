"""Writes the study down: one HTML page that needs nothing else, Markdown with figures beside it, and JSON."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from probebench.files import write_whole
from probebench.study.answer import Answer, Estimate, Form, Value, as_json
from probebench.study.ask import Section
from probebench.study.figures import Drawing, draw

# A page of a thousand pairs reads no better for the last nine hundred; the JSON has all of them.
_ROWS = 60
_HEADINGS = {
    "measured": "Measured here",
    "published": "Published by others",
}


def write_report(sections: Sequence[Section], out: Path) -> list[Path]:
    """Writes ``study.html``, ``study.md``, ``study.json`` and the figures, and returns the three files.

    Raises:
        OSError: The folder is full or cannot be written.
    """
    parts = [_part(section) for section in sections]
    for drawing in (drawing for part in parts for _, drawing in part["answers"] if drawing):
        for ending, content in (("svg", drawing.svg), ("png", drawing.png)):
            write_whole(out / "figures" / f"{drawing.name}.{ending}", content)
    texts = {
        "study.html": _template("study.html", escape=True).render(parts=parts),
        "study.md": _template("study.md", escape=False).render(parts=parts),
        "study.json": json.dumps(as_json(list(sections)), indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        write_whole(out / name, text.encode())
    return [out / name for name in texts]


def _part(section: Section) -> dict[str, Any]:
    counts: dict[str, int] = {}
    answers: list[tuple[Answer, Drawing | None]] = []
    for answer in section.answers:
        counts[answer.question] = number = counts.get(answer.question, 0) + 1
        answers.append((answer, draw(answer, f"{section.provenance}-{answer.question}-{number}")))
    return {"heading": _HEADINGS[section.provenance], "section": section, "answers": answers}


def _template(name: str, *, escape: bool) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("probebench.study"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown,
        "cells": _cells,
        "cut": lambda rows: rows[:_ROWS],
        "base64": lambda content: base64.b64encode(content).decode(),
        "md": _markdown,
    }
    return environment.get_template(name)


def _cells(row: dict[str, Value], columns: Sequence[tuple[str, str, Form]]) -> Iterator[tuple[str, Form]]:
    for key, _, form in columns:
        yield shown(row[key], form), form


def shown(value: Value, form: Form) -> str:
    """Returns a value as people read it; an interval follows in brackets, an open end as three dots."""
    if value is None:
        return "not known"
    if isinstance(value, str):
        return value
    if isinstance(value, Estimate):
        if value.value is None and value.low is None and value.high is None:
            return "not bounded"
        middle = f"{_number(value.value, form)} " if value.value is not None else ""
        ends = [_number(end, form) if end is not None else "..." for end in (value.low, value.high)]
        return f"{middle}[{ends[0]}, {ends[1]}]"
    return _number(value, form)


def _number(value: float, form: Form) -> str:
    if form == "points":
        return f"{100 * value:.1f}"
    if form == "count":
        return f"{value:,}"
    if form == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:.3g}" if form == "multiple" else f"{value:.2f}"


def _markdown(text: str) -> str:
    """Escapes what Markdown or HTML would read as markup, and what would end a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", re.sub(r"\s+", " ", text))
