import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from probebench.study.ask import QUESTIONS, study
from probebench.study.report import write_report
from tests.study.make import Pretraining, results

GRID = [
    Pretraining(source, size, method, objective, curation=curation)
    for source, curation in (("LAION", "clip-score"), ("YFCC", "filtered"), ("Shutterstock", "source-selected"))
    for size in (1_000_000, 3_000_000, 10_000_000)
    for method, objective in (("language-image", "clip"), ("image-image", "simclr"))
]


def truth(one: Pretraining, dataset: str, shots: int | str) -> float:
    grown = 0.02 * float(np.log10(one.samples / 1e6))
    return 0.5 + grown + 0.03 * (one.source == "LAION") + 0.2 * (shots == "full")


def written(folder: Path, **changes: object) -> Path:
    generator = np.random.default_rng(0)
    made = results(generator, GRID, truth, levels=[1, "full"], datasets=["dtd", "pets", "eurosat"], **changes)  # type: ignore[arg-type]
    write_report(study(made), folder)
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"))


def test_the_claims_are_there_with_figures_of_both_kinds(report: Path) -> None:
    plain = json.loads((report / "study.json").read_text())
    assert {claim["id"] for claim in plain["claims"]} == set(QUESTIONS)
    page = (report / "study.html").read_text()
    for claim in plain["claims"]:
        if claim["leading"] and claim["estimate"]:
            assert claim["question"] in page
    for name in ("best-source-few-shot", "data-multiple-full", "image-vs-language", "few-shot-predicts-full"):
        assert (report / "figures" / f"measured-{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (report / "figures" / f"measured-{name}.svg").read_bytes()


def test_the_page_needs_nothing_else(report: Path) -> None:
    page = (report / "study.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "Cannot be asked of these results" in page


def test_the_markdown_names_figures_that_exist(report: Path) -> None:
    text = (report / "study.md").read_text()
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(named) >= 5 and all((report / name).is_file() for name in named)
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables and all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables)


def test_the_same_results_write_the_same_bytes(report: Path, tmp_path: Path) -> None:
    again = written(tmp_path)
    for path in sorted(report.rglob("*.*")):
        assert path.read_bytes() == (again / path.relative_to(report)).read_bytes(), path.name


def test_what_a_submitter_writes_is_escaped(tmp_path: Path) -> None:
    hostile = '</td><script>alert(1)</script>|`"'
    grid = [Pretraining(f"{hostile}{number}") for number in range(3)]
    made = results(np.random.default_rng(0), grid, lambda *_: 0.5, levels=[1, "full"], datasets=["dtd", hostile])
    write_report(study(made), tmp_path)
    tags: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.add(tag)

    Tags().feed((tmp_path / "study.html").read_text())
    assert "script" not in tags
    assert "<script>" not in (tmp_path / "study.md").read_text()
