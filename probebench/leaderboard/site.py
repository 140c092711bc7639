"""Writes the leaderboard page: one file that works from file:// and without a network."""

from collections.abc import Sequence
from pathlib import Path

from probebench.leaderboard.board import answers, board_rows, shots_columns
from probebench.results.schema import CheckpointFacts, Result
from probebench.results.store import write_whole

_STATIC = Path(__file__).parent / "static"


def build_site(results: Sequence[Result], out: Path) -> Path:
    """Writes ``index.html`` into a folder and returns its path.

    Everything that a submitter can write is escaped.

    Raises:
        OSError: The folder is full or cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    rows = board_rows(results)
    templates = Environment(
        loader=PackageLoader("probebench.leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["percent"] = lambda score: f"{100 * score:.1f}"
    comparable, verdict = answers(rows)
    page = templates.get_template("board.html").render(
        rows=[(row, sources_text(row.facts)) for row in rows],
        columns=shots_columns(rows),
        shots_label=shots_label,
        comparable=comparable,
        verdict=verdict,
        style=(_STATIC / "board.css").read_text(),
        scripts=[(_STATIC / name).read_text() for name in ("sortable.min.js", "sortable.a11y.min.js")],
    )
    target = out / "index.html"
    write_whole(target, page.encode())
    return target


def shots_label(shots: int | str) -> str:
    """Returns "full", "1 shot" or "5 shots"."""
    return str(shots) if shots == "full" else f"{shots} shot{'' if shots == 1 else 's'}"


def sources_text(facts: CheckpointFacts) -> str:
    """Returns the pre-training sources with their sizes, such as "LAION-2B-en" or "ImageNet-1k (1.28M)"."""
    parts = [
        source.name if source.samples == "unknown" else f"{source.name} ({_short(source.samples)})"
        for source in facts.sources
    ]
    return " + ".join(parts) or "none"


def _short(count: int) -> str:
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)
