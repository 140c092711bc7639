import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from probebench.leaderboard.site import build_site, shots_label, sources_text
from probebench.results.schema import CheckpointFacts
from tests.results.make import checkpoint, result

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE--",
    "\u202eevil\u200f",
    "</style><script>1</script>",
    "{{ 7 * 7 }}",
    "x" * 10_000,
]


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


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_what_a_submitter_writes_is_escaped(tmp_path: Path, text: str) -> None:
    plain = tags(build_site([result()], tmp_path).read_text())
    facts = checkpoint(title=text, architecture=text, sources=[{"name": text, "samples": 5}])
    page = build_site([result(model=text, dataset=text, checkpoint=facts)], tmp_path).read_text()
    hostile = tags(page)
    assert hostile.tags == plain.tags
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert "49" not in re.findall(r"<bdi[^>]*>([^<]*)</bdi>", page)


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    page = build_site([result()], tmp_path)
    assert page == tmp_path / "index.html"
    assert not [value for name, value in tags(page.read_text()).attributes if name in ("src", "href")]
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_scores_intervals_and_gaps_are_shown(tmp_path: Path) -> None:
    results = [
        result(model="a", shots=1, mean=0.532),
        result(model="a", shots=5, mean=0.777),
        result(model="b", shots=5, mean=None, ci95=None),
    ]
    page = build_site(results, tmp_path).read_text()
    assert "53.2" in page and "70.0–90.0" in page
    assert "not run" in page and "failed" in page
    assert page.index("1 shot") < page.index("5 shots")
    assert "cannot say which pre-training data" in page


def test_an_empty_board_says_so(tmp_path: Path) -> None:
    assert "There are no results yet." in build_site([], tmp_path).read_text()


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (1281167, "A (1.28M)"),
        (400_000_000, "A (400M)"),
        (2_320_000_000, "A (2.32B)"),
        (900, "A (900)"),
        ("unknown", "A"),
    ],
)
def test_sizes_are_short(samples: int | str, text: str) -> None:
    facts = CheckpointFacts.model_validate(checkpoint(sources=[{"name": "A", "samples": samples}]))
    assert sources_text(facts) == text
    assert sources_text(CheckpointFacts.model_validate(checkpoint(method="none", sources=[]))) == "none"


def test_labels() -> None:
    assert [shots_label(shots) for shots in (1, 5, "full")] == ["1 shot", "5 shots", "full"]
