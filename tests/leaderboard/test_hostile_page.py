"""What a submitter can write, put through every field and shown in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from probebench.leaderboard.site import build_site
from probebench.registry import Registry
from probebench.results.schema import Result
from tests.conftest import make_entry
from tests.leaderboard.browsing import PHONE, filters, opened, plots
from tests.results.make import checkpoint, result

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script><!--",
    "</style></title></textarea><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\u202eevil\u2066\u200f\u0000",
    "{{ 7 * 7 }} {% raw %} ${alert(1)}",
    "__proto__",
    "constructor",
    "&lt;b&gt; &quot;",
    "a \ufffe \u0085 \x1b[31m b",
    "x" * 10_000,
    "\u05d0" * 10_000,
    "a\u0301\u0302\u0303" * 500,
]


def hostile_results(texts: list[str]) -> Iterator[Result]:
    for text in texts:
        facts = checkpoint(
            **dict.fromkeys(("title", "method", "objective", "labels", "curation", "architecture", "layer"), text),
            sources=[{"name": text, "samples": 5}, {"name": text, "samples": 10**15}],
        )
        for kind, shots in (("probe", 5), ("probe", "full"), ("finetune", "full")):
            changes: dict[str, Any] = dict.fromkeys(("model", "dataset", "protocol", "mode", "backend", "dtype"), text)
            yield result(**changes, checkpoint=facts, kind=kind, shots=shots)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain = result(dataset="digits", shots="full", model="plain")
    return build_site([*hostile_results(HOSTILE), plain], tmp_path_factory.mktemp("hostile"))


def untouched(tab: Page) -> bool:
    """Says that no element came from a text: the page has only the kinds of element that it makes itself."""
    return bool(
        tab.evaluate(
            """() => !document.querySelector("img, iframe, object, embed, base, [onerror], [onload], [onmouseover]")
                && ![...document.querySelectorAll("a")].some(
                    (one) => !/^(https?:|#|index.html$)/.test(one.getAttribute("href")))
                && document.scripts.length === 12"""
        )
    )


@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_nothing_runs_and_the_layout_holds(chromium: Browser, page: Path, device: dict[str, Any]) -> None:
    width = device.get("viewport", {"width": 1400})["width"]
    with opened(chromium, page, **device) as tab:
        places = tab.evaluate("() => PB.data.settings.map((_, place) => String(place))")
        # Half of the views on either device.
        if device:
            filters(tab)
        for place in places[::2] if device else places[1::2]:
            tab.locator("#protocol").select_option(place)
            plots(tab)
            assert untouched(tab)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            heights = tab.evaluate(
                "() => [...document.querySelectorAll('.tabulator-row')].map((row) => row.offsetHeight)"
            )
            assert len(set(heights)) <= 1


def test_every_card_opens_and_shows_its_text_as_text(chromium: Browser, page: Path) -> None:
    with opened(chromium, page, **PHONE) as tab:
        keys = tab.evaluate("() => PB.data.entrants.map((one) => one.key)")
        assert len(set(keys)) == len(HOSTILE) + 1
        for number, key in enumerate(keys):
            tab.evaluate("(key) => { location.hash = new URLSearchParams({ card: key }); }", key)
            tab.wait_for_function(
                "(n) => document.querySelector('dialog[open] dd')?.textContent === PB.data.entrants[n].id", arg=number
            )
            assert untouched(tab)
            assert tab.evaluate("document.getElementById('card').scrollWidth") <= 390
            assert len(tab.locator("#card-title").inner_text()) <= 1000


def test_a_text_in_the_address_stays_text(chromium: Browser, page: Path) -> None:
    attack = "#q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&card=%3Cscript%3E&set=__proto__&cols=constructor:1"
    with opened(chromium, page, attack) as tab:
        assert untouched(tab)
        expect(tab.locator("#q")).to_have_value("<img src=x onerror=alert(1)>")


def test_a_link_that_is_no_web_page_is_no_link(chromium: Browser, tmp_path: Path) -> None:
    entry = make_entry(tmp_path, id="net", name="net", uri="user")
    entries = {
        "net": entry.model_copy(
            update={
                "paper": "javascript:alert(1)",
                "url": " JavaScript:alert(1)//https://",
                "license": HOSTILE[0],
                "pretraining": entry.pretraining.model_copy(
                    update={"sources": Registry.load(environ={}).checkpoints["resnet50_tv_in1k"].pretraining.sources}
                ),
            }
        )
    }
    made = build_site([result(shots="full")], tmp_path / "site", entries=entries)
    with opened(chromium, made, "#card=net") as tab:
        card = tab.get_by_role("dialog")
        expect(card.get_by_text("javascript:alert(1)", exact=True)).to_be_visible()
        expect(card.get_by_text(HOSTILE[0])).to_be_visible()
        expect(card.locator("a")).to_have_count(0)


def test_a_spreadsheet_takes_no_formula_from_a_name(chromium: Browser, tmp_path: Path) -> None:
    named = result(shots="full", checkpoint=checkpoint(title='=HYPERLINK("http://x","y")'))
    made = build_site([named], tmp_path)
    with opened(chromium, made) as tab:
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name="Download CSV").click()
        waiting.value.save_as(tmp_path / "board.csv")
    assert "\"'=HYPERLINK(" in (tmp_path / "board.csv").read_text()
