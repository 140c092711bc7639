"""Writes what the shipped results say into docs/findings.md, and the figures beside it.

python -m probebench.tools.findings_table docs/findings.md
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from probebench.api.report import run_study, shipped_results
from probebench.study.claims import Claim
from probebench.study.figures import drawings
from probebench.tools.dataset_table import with_table

MADE_FROM = "leaderboard/results, by probebench study"


def findings_table(claims: Iterable[Claim]) -> str:
    """Returns the claims of measured results as a Markdown table, one row each, in the study's order."""
    rows = ["| question | verdict | answer, with its 95% interval | rests on |", "| --- | --- | --- | --- |"]
    for claim in claims:
        level = f" ({claim.level})" if claim.level else ""
        answer = claim.sentence if claim.estimate else f"It takes {claim.missing}."
        rows.append(f"| {claim.question}{level} | **{claim.verdict}** | {_plain(answer)} | {claim.basis} |")
    return "\n".join(rows) + "\n"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(path: Path) -> None:
    """Writes the table into the page, and each claim's figure into a folder named as the page."""
    leading = [claim for claim in run_study(shipped_results()).leading if claim.track.provenance == "measured"]
    path.write_text(with_table(path.read_text(encoding="utf-8"), findings_table(leading), MADE_FROM), encoding="utf-8")
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    for older in folder.glob("*.png"):
        older.unlink()
    for drawing in drawings(leading, "measured"):
        (folder / f"{drawing.name.removeprefix('measured-')}.png").write_bytes(drawing.png)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
