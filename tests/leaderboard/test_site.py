import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

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
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    links = [value for name, value in tags(page.read_text()).attributes if name in ("src", "href")]
    assert links == ["#results"]
    assert len(page.read_bytes()) < 2_000_000


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
