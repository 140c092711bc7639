import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from probebench.study.answer import Estimate
from probebench.study.ask import study
from probebench.study.report import shown, write_report
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


def test_every_question_is_there_with_figures_of_both_kinds(report: Path) -> None:
    (section,) = json.loads((report / "study.json").read_text())
    answered = {answer["question"] for answer in section["answers"] if not answer["refused"]}
    assert answered == {"spread", "ranks", "scaling", "methods", "curation", "predict"}
    for question in answered:
        assert (report / "figures" / f"measured-{question}-1.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (report / "figures" / f"measured-{question}-1.svg").read_bytes()


def test_the_page_needs_nothing_else(report: Path) -> None:
    page = (report / "study.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "not enough matched pairs" in page


def test_the_markdown_names_figures_that_exist(report: Path) -> None:
    text = (report / "study.md").read_text()
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(named) == 6 and all((report / name).is_file() for name in named)
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables and all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables)


def test_answers_say_what_they_rest_on(report: Path) -> None:
    (section,) = json.loads((report / "study.json").read_text())
    for answer in section["answers"]:
        assert answer["refused"] == (not answer["basis"]["models"])


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


def test_measured_and_published_results_are_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    measured = results(generator, GRID[:6], truth, levels=["full"], datasets=["dtd"])
    others = results(generator, GRID[6:], truth, levels=["full"], datasets=["dtd"], provenance="published")
    sections = study([*measured, *others])
    assert [section.provenance for section in sections] == ["measured", "published"]
    for section, made in zip(sections, (measured, others), strict=True):
        named = {model for answer in section.answers for model in answer.basis.models}
        assert named <= {one.model for one in made}


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.1234, "points", "12.3"),
        (Estimate(0.1, 0.05, 0.15), "points", "10.0 [5.0, 15.0]"),
        (Estimate(None, 11.54, None), "multiple", "[11.5, ...]"),
        (Estimate(None, None, None), "multiple", "not bounded"),
        (None, "points", "not known"),
        (1e-9, "p", "< 0.001"),
        (2_700_000, "count", "2,700,000"),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, form: str, text: str) -> None:
    assert shown(value, form) == text  # type: ignore[arg-type]
