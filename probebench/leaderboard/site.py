"""Writes the leaderboard page: one file that works from file:// and without a network; and its rows as tables."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from probebench.files import write_whole
from probebench.leaderboard.answer import Claim, answer, forest, order
from probebench.leaderboard.downloads import as_csv, as_json
from probebench.leaderboard.page import page_data
from probebench.leaderboard.reproduction import Reproduction
from probebench.plots.page import header, look
from probebench.registry.schema import CheckpointSpec, DatasetSpec
from probebench.results.overlap import Sources
from probebench.results.predictions import Predictions
from probebench.results.schema import Result

_STATIC = Path(__file__).parent / "static"
_STYLES = ("vendor/tabulator.min.css", "board.css")
_THEMES = (
    '<label class="theme">Colours <select id="theme"><option value="">as the system</option>'
    '<option value="light">light</option><option value="dark">dark</option></select></label>'
)
_SCRIPTS = (
    *("vendor/tabulator.min.js", "vendor/d3.min.js", "vendor/plot.min.js"),
    *("model.js", "table.js", "plots.js", "answer.js", "card.js", "compare.js", "cards.js", "main.js"),
)


def build_site(
    results: Sequence[Result],
    out: Path,
    predictions: Callable[[Result], Predictions | None] | None = None,
    entries: Mapping[str, CheckpointSpec] | None = None,
    versions: Mapping[str, int] | None = None,
    datasets: Mapping[str, DatasetSpec] | None = None,
    reproductions: Sequence[Reproduction] = (),
    sources: Sources | None = None,
    claims: Sequence[Claim] = (),
    study: str | None = None,
) -> Path:
    """Writes ``index.html``, ``board.csv`` and ``board.json`` into a folder and returns the first's path.

    What a submitter can write reaches the page as JSON only, and its scripts make text of it. A content security policy
    lets no other script run and nothing load.

    Args:
        results: All of them, in any order.
        out: The folder.
        predictions: Gives a result's predictions; without them no ties are shown.
        entries: Checkpoints of the registry by id, for their links and licences.
        versions: The present version of each protocol; results of older ones are shown and not ranked.
        datasets: Entries of data sets by id.
        reproductions: What was run again; with any, that alone is ranked until a reader asks for the rest.
        sources: Entries of sources by id, for what a checkpoint has seen before.
        claims: What the study says of the results, as in ``study.json``.
        study: Address of its report, as seen from the page.

    Raises:
        OSError: The folder is full or cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    data = page_data(results, predictions, entries, versions, datasets, reproductions, sources)
    templates = Environment(
        loader=PackageLoader("probebench.leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdict = data.pop("verdict")
    write_whole(out / "board.csv", as_csv(data))
    write_whole(out / "board.json", as_json(data, claims))
    data["claims"], data["order"] = forest(claims), order(claims)
    pages = {"Board": "index.html", **({"Study": study} if study else {})}
    scripts = [(_STATIC / name).read_text(encoding="utf-8") for name in _SCRIPTS] if results else []
    page = templates.get_template("board.html").render(
        has_results=bool(results),
        answer=answer(claims) if claims else {"question": "", "sentence": verdict, "beside": ""},
        study=study,
        header=header("Board", pages, _THEMES if results else ""),
        style="\n".join([look(), *((_STATIC / name).read_text(encoding="utf-8") for name in _STYLES)]),
        scripts=scripts,
        script_hashes=[_source_hash(script) for script in scripts] or ["'none'"],
        data=_embedded(data),
    )
    target = out / "index.html"
    write_whole(target, page.encode())
    return target


def _embedded(data: Mapping[str, Any]) -> str:
    """Returns JSON that no text in it can end: the signs of tags and entities are written as escapes."""
    text = json.dumps(data, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _source_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
