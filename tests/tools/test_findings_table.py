from pathlib import Path

from probebench.api.report import run_study, shipped_results
from probebench.tools.dataset_table import with_table
from probebench.tools.findings_table import MADE_FROM, findings_table

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_the_page_has_the_claims_of_the_shipped_results() -> None:
    leading = [claim for claim in run_study(shipped_results()).leading if claim.track.provenance == "measured"]
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, findings_table(leading), MADE_FROM) == page
    assert len(leading) >= 13
