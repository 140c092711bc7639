import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from probebench.leaderboard.answer import answer, forest, order
from probebench.leaderboard.downloads import COLUMNS
from probebench.leaderboard.site import build_site
from tests.results.make import checkpoint, result

HOSTILE = ["<script>alert(1)</script>", '"><img src=x>', "</script><script>1</script>", "<!--", "]]>", "{{ 7 * 7 }}"]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    return parser


def scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_submitter_writes_makes_no_tag(tmp_path: Path, text: str) -> None:
    plain = tags(build_site([result()], tmp_path).read_text())
    facts = checkpoint(title=text, architecture=text, sources=[{"name": text, "samples": 5}])
    page = build_site([result(model=text, dataset=text, protocol=text, checkpoint=facts)], tmp_path).read_text()
    assert tags(page).tags == plain.tags
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["entrants"][0]["title"] == text


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page = build_site([result()], tmp_path)
    assert page == tmp_path / "index.html"
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "board.csv", "board.json"}
    links = [value for name, value in tags(page.read_text()).attributes if name in ("src", "href")]
    assert links == ["#results"]
    assert len(page.read_bytes()) < 1_500_000


def test_the_policy_lets_the_pages_own_scripts_run_and_no_other(tmp_path: Path) -> None:
    page = build_site([result()], tmp_path).read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    allowed = set(re.findall(r"sha256-[A-Za-z0-9+/=]+", policy))
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts(page)]
    assert allowed == {f"sha256-{digest}" for digest in digests}
    assert "default-src 'none'" in policy and "unsafe" not in policy.partition("script-src")[2]


def test_an_empty_board_says_so(tmp_path: Path) -> None:
    page = build_site([], tmp_path).read_text()
    assert "There are no results yet." in page and not scripts(page)


def test_licences_lie_beside_what_is_bundled() -> None:
    import probebench.leaderboard

    vendor = Path(probebench.leaderboard.__file__).parent / "static" / "vendor"
    bundled = {path.name.split(".")[0] for path in vendor.iterdir() if not path.name.startswith("LICENSE")}
    assert {path.name.removeprefix("LICENSE.") for path in vendor.glob("LICENSE.*")} == bundled


def test_the_rows_are_tables_for_others(tmp_path: Path) -> None:
    named = result(checkpoint=checkpoint(title="=1+1"), mean=0.81234, ci95=(0.7, 0.9))
    claims = _claims(("best-source", "confirmed", 2.0))
    build_site([named, result(shots="full", mean=0.9)], tmp_path, claims=claims, study="study/study.html")
    with (tmp_path / "board.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["shots"], row["score"], row["low"], row["rank"]) for row in rows] == [
        ("1", "0.81234", "0.7", "1"),
        ("full", "0.9", "0.7", "1"),
    ]
    assert rows[0]["title"] == "'=1+1" and tuple(rows[0]) == COLUMNS
    whole = json.loads((tmp_path / "board.json").read_text())
    assert whole["claims"] == claims and whole["rows"][0]["score"] == 0.81234
    assert "study/study.html" in [value for name, value in tags((tmp_path / "index.html").read_text()).attributes]


def _claims(*said: tuple[str, str, float | None]) -> list[dict[str, Any]]:
    common = {"provenance": "measured", "leading": True, "level": None, "group": "clip", "missing": "three sources"}
    return [
        {
            **common,
            **{"id": name, "question": f"{name}?", "verdict": verdict, "sentence": f"{name} is {verdict}."},
            "estimate": value and {"value": value, "low": value - 1, "high": value + 1, "unit": "points"},
        }
        for name, verdict, value in said
    ]


@pytest.mark.parametrize(
    ("claims", "sentence", "beside"),
    [
        (
            [
                ("ranking", "confirmed", 3.0),
                ("source-matters", "no effect", 0.1),
                ("best-source", "contradicted", -3.0),
            ],
            "best-source is contradicted.",
            "2 more of 3 questions are answered",
        ),
        ([("source-matters", "no effect", 0.1)], "source-matters is no effect.", "No effect, of clip."),
        ([("best-source", "not answerable", None)], "do not say yet", "It takes three sources."),
    ],
)
def test_the_first_sentence_is_the_answer(claims: Any, sentence: str, beside: str) -> None:
    said = answer(_claims(*claims))
    assert sentence in said["sentence"] and beside in said["beside"]


@pytest.mark.parametrize(
    ("matters", "agree", "said"),
    [
        ("confirmed", 0.12, "Data sets agree little on the order of sources (rank correlation 0.12): their mean"),
        ("confirmed", 0.8, ""),
        ("confirmed", None, ""),
        ("no effect", 0.12, ""),
    ],
)
def test_the_order_of_sources_is_told_where_means_hide_it(matters: str, agree: float | None, said: str) -> None:
    claims = _claims(("source-matters", matters, 2.2), ("ranking-carries-over", "not answerable", agree))
    told = order([claim | {"level": "few-shot"} for claim in claims])
    assert told.startswith(said) and bool(told) == bool(said)
    assert order([]) == order([claim | {"level": "few-shot"} for claim in claims[:1]]) == ""


def test_claims_are_drawn_where_they_have_a_size_and_an_interval() -> None:
    claims = _claims(("ranking", "confirmed", 3.0), ("fades", "not answerable", None))
    claims[0]["level"] = "few-shot"
    (drawn,) = forest(claims)
    assert drawn == {
        "label": "One checkpoint leads, few labels", "verdict": "confirmed", "value": 3.0, "low": 2.0, "high": 4.0
    }  # fmt: skip
