"""Writes the study down: one HTML page that needs nothing else, Markdown with figures beside it, and JSON."""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probebench.files import write_whole
from probebench.plots.page import header, look
from probebench.registry.entry import Shots
from probebench.results.cells import shots_text
from probebench.study.ask import Study
from probebench.study.claims import Claim
from probebench.study.figures import Drawing, drawings

# A page of a thousand rows reads no better for the last nine hundred; the JSON has all of them.
_ROWS = 40
HEADINGS = {"measured": "Measured here", "published": "Published by others"}
# Tables that only a figure draws.
_DRAWN = frozenset({"curve", "points", "pairs"})


def write_report(study: Study, out: Path, board: str | None = None) -> list[Path]:
    """Writes ``study.html``, ``study.md``, ``study.json`` and the figures, and returns the three files.

    Args:
        study: The answers.
        out: The folder.
        board: Address of the leaderboard's page, as seen from the report.

    Raises:
        OSError: The folder is full or cannot be written.
    """
    parts = [_part(study, asked.provenance) for asked in study.asked]
    for drawing in (drawing for part in parts for drawing in part["figures"]):
        for ending, content in (("svg", drawing.svg), ("png", drawing.png)):
            write_whole(out / "figures" / f"{drawing.name}.{ending}", content)
    pages = {**({"Board": board} if board else {}), "Study": "study.html"}
    texts = {
        "study.html": _template("study.html", escape=True).render(
            parts=parts, look=look(), header=header("Study", pages)
        ),
        "study.md": _template("study.md", escape=False).render(parts=parts),
        "study.json": json.dumps(study.as_dict(), indent=1, ensure_ascii=False, default=str) + "\n",
    }
    for name, text in texts.items():
        write_whole(out / name, text.encode())
    return [out / name for name in texts]


def _part(study: Study, provenance: str) -> dict[str, Any]:
    leading = [claim for claim in study.leading if claim.track.provenance == provenance]
    return {
        "heading": HEADINGS[provenance],
        "asked": next(one for one in study.asked if one.provenance == provenance),
        "answered": [claim for claim in leading if claim.estimate],
        "refusals": refusals(leading),
        "figures": drawings(leading, provenance),
        "others": [claim for claim in study.others if claim.track.provenance == provenance],
        "dropped": [one for one in study.dropped if one.provenance == provenance],
    }


def refusals(claims: Iterable[Claim]) -> list[tuple[str, str]]:
    """Returns what the questions that cannot be asked of these results lack, once each: (what it takes, questions)."""
    lacking: dict[str, list[str]] = {}
    for claim in claims:
        if claim.estimate is None:
            lacking.setdefault(claim.missing or "", []).append(claim.id)
    return [(missing, ", ".join(dict.fromkeys(names))) for missing, names in lacking.items()]


def tables(claim: Claim) -> list[tuple[str, list[str], list[list[str]]]]:
    """Returns what stands behind a claim as tables of text: (title, headings, rows)."""
    held: dict[str, Sequence[dict[str, Any]]] = {"by number of shots": claim.per_shots, **claim.details}
    found = []
    for title, rows in held.items():
        if rows and title not in _DRAWN:
            keys = list(dict.fromkeys(key for row in rows for key in row))
            found.append((title, keys, [[_text(key, row.get(key)) for key in keys] for row in rows[:_ROWS]]))
    return found


def _text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "shots":
        shots: Shots = value
        return shots_text(shots)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


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
        "base64": _base64,
        "md": _markdown,
        "tables": tables,
    }
    return environment.get_template(name)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _markdown(text: object) -> str:
    """Escapes what Markdown or HTML would read as markup, and what would end a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", re.sub(r"\s+", " ", str(text)))


__all__ = ["HEADINGS", "Drawing", "refusals", "tables", "write_report"]
