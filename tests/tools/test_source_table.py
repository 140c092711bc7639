from pathlib import Path

from probebench.registry import Registry
from probebench.tools.dataset_table import with_table
from probebench.tools.source_table import shared_table, source_table

SUITES = ("mini", "mini_again")
PAGE = Path(__file__).parents[2] / "docs" / "sources.md"


def test_the_page_has_the_tables_of_the_entries(shipped: Registry) -> None:
    page = PAGE.read_text(encoding="utf-8")
    specs = shipped.sources.values()
    assert with_table(page, source_table(specs), "registry/sources") == page
    shared = shared_table(specs, [name for suite in SUITES for name in shipped.suites[suite].datasets])
    assert with_table(page, shared, "what registry/sources share") == page


def test_every_source_and_set_has_its_picture(shipped: Registry) -> None:
    suites = [("datasets", shipped.suites[suite].datasets) for suite in SUITES]
    for page, names in (("sources", tuple(shipped.sources)), *suites):
        text = (PAGE.parent / f"{page}.md").read_text(encoding="utf-8")
        for name in names:
            assert f"(sheets/{name}.png)" in text, name
            assert 0 < (PAGE.parent / "sheets" / f"{name}.png").stat().st_size < 150_000
