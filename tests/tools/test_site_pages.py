"""What the documentation site makes of links and names; ``make site`` itself is a step of its own."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import probebench.probes

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("place", "text", "shown"),
    [
        ("docs/probes.md", "[a](../benchmarks/README.md)", "[a](/project/measurements.md)"),
        ("docs/probes.md", "[a](study.md#noise-of-a-score)", "[a](/study.md#noise-of-a-score)"),
        ("docs/probes.md", "[registry/protocols](../registry/protocols)", "registry/protocols"),
        ("docs/probes.md", "[these](../registry/protocols)", "these (`registry/protocols`)"),
        ("docs/probes.md", "[a](https://arxiv.org/abs/2302.13602)", "[a](https://arxiv.org/abs/2302.13602)"),
        ("docs/probes.md", "[a](#protocols)", "[a](#protocols)"),
        ("docs/leaderboard.md", "![a](leaderboard.png)", "![a](leaderboard.png)"),
        ("CONTRIBUTING.md", "[a](docs/probes.md)", "[a](/probes.md)"),
        ("CONTRIBUTING.md", "[a](docs/nowhere.md)", "[a](docs/nowhere.md)"),
    ],
)
def test_links_lead_to_pages_of_the_site(pages: ModuleType, place: str, text: str, shown: str) -> None:
    assert pages.with_links(text, DOCS.parent / place) == shown


def test_every_public_name_is_shown(pages: ModuleType) -> None:
    page = pages.with_public_names((DOCS / "reference" / "probes.md").read_text())
    for name in probebench.probes.__all__:
        assert re.search(rf"^\.\. auto(class|function):: probebench\.probes\.{name}$", page, re.MULTILINE)
    front = pages.with_public_names((DOCS / "reference" / "probebench.md").read_text())
    for name in getattr(probebench, "__all__", []):
        if not name.startswith("__"):
            assert f":: probebench.{name}\n" in front


def test_every_page_is_in_the_contents() -> None:
    listed = set(re.findall(r"^(\w[\w/]*)$", (DOCS / "index.md").read_text(), re.MULTILINE))
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")} - {"index"} <= listed


def test_a_broken_link_of_the_built_site_is_named(pages: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "index.html").write_text("<a href='nowhere'>left alone</a>")
    (tmp_path / "one.html").write_text("<h1 id='top'></h1><a href='#top'></a><a href='https://arxiv.org'></a>")
    (tmp_path / "two.html").write_text(
        "<a href='one.html#top'></a><a href='board/index.html#/view'></a><a href='one.html#no'></a><img src='no.png'>"
    )
    site = list(pages.broken_links(tmp_path))
    assert site == ["two.html: one.html#no leads nowhere", "two.html: no.png leads nowhere"]
