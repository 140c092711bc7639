"""The page in a real Chromium, from the disk and without a network; of 1,000 checkpoints where the number counts."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.leaderboard.browsing import PHONE, choose, header, opened, plots, ready, serious, shown, titles

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(chromium: Browser, middle: Path) -> Iterator[Page]:
    with opened(chromium, middle) as page:
        yield page


def test_all_rows_are_there_best_first_and_few_are_drawn(chromium: Browser, large: Path) -> None:
    with opened(chromium, large) as tab:
        rows = shown(tab)
        assert len(rows) == 1000
        assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
        assert rows[0]["mean"] == max(row["mean"] for row in rows)
        assert titles(tab)[:3] == [row["title"] for row in rows[:3]]
        assert len(titles(tab)) < 100
        expect(tab.locator("#count")).to_have_text("1000 of 1000 checkpoints, 1000 ranked")


def test_a_heading_sorts_by_pointer_and_by_keyboard(tab: Page) -> None:
    one_shot = header(tab, "1 shot")
    one_shot.click()
    expect(one_shot).to_have_attribute("aria-sort", "descending")
    scores = [row["c1"] for row in shown(tab)]
    assert scores == sorted(scores, reverse=True)
    one_shot.focus()
    tab.keyboard.press("Enter")
    expect(one_shot).to_have_attribute("aria-sort", "ascending")
    scores = [row["c1"] for row in shown(tab)]
    assert scores == sorted(scores)
    assert titles(tab)[0] == shown(tab)[0]["title"]


def test_unknown_facts_come_last_in_either_direction(tab: Page) -> None:
    for _ in range(2):
        header(tab, "Params").click()
        values = [row["parameters"] for row in shown(tab)]
        assert values[-1] is None and values[0] is not None
        known = [value for value in values if value is not None]
        assert None not in values[: len(known)]


def test_search_and_filters_join(tab: Page) -> None:
    tab.get_by_label("Search").fill("laion checkpoint")
    expect(tab.locator("#count")).to_have_text("25 of 200 checkpoints, 25 ranked")
    choose(tab, "Method").select_option("supervised")
    choose(tab, "Architecture").select_option("timm/resnet50")
    rows = shown(tab)
    assert rows and all((row["method"], row["arch"]) == ("supervised", "timm/resnet50") for row in rows)
    assert all("LAION" in row["title"] for row in rows)
    tab.get_by_role("button", name="Reset").click()
    expect(tab.locator("#count")).to_have_text("200 of 200 checkpoints, 200 ranked")
    choose(tab, "Source").select_option("WIT")
    assert {row["source"].split(" ")[0] for row in shown(tab)} == {"WIT"}


def test_filter_by_parameters_leaves_out_unknown_ones(tab: Page) -> None:
    tab.get_by_label("Parameters in millions, from").fill("24")
    tab.get_by_label("Parameters in millions, to").fill("30")
    expect(tab.locator("#count")).to_have_text("40 of 200 checkpoints, 40 ranked")
    assert {row["arch"] for row in shown(tab)} == {"timm/convnext_tiny"}


def test_nothing_found_is_said(tab: Page) -> None:
    tab.get_by_label("Search").fill("no such thing")
    expect(tab.get_by_text("No checkpoint passes the filters.")).to_be_visible()
    expect(tab.locator("#count")).to_have_text("0 of 200 checkpoints, 0 ranked")


def test_columns_hide_and_come_back(tab: Page) -> None:
    tab.get_by_text("Columns").click()
    box = tab.get_by_role("checkbox", name="Architecture")
    box.uncheck()
    expect(header(tab, "Architecture")).to_be_hidden()
    box.check()
    expect(header(tab, "Architecture")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(box).to_be_hidden()


def test_switches_change_the_view(tab: Page) -> None:
    choose(tab, "Shots").select_option("5")
    expect(header(tab, "Mean of 2, 5 shots")).to_be_visible()
    five = shown(tab)
    choose(tab, "Data set").select_option(label="cassava")
    expect(header(tab, "Score, 5 shots")).to_be_visible()
    assert [row["rank"] for row in shown(tab)][:2] == [1, 2]
    assert shown(tab)[0]["mean"] != five[0]["mean"]
    choose(tab, "Protocol").select_option(label="Fine-tuned (full): quick v1")
    expect(header(tab, "Score, full")).to_be_visible()


def test_the_address_holds_the_whole_state(tab: Page) -> None:
    choose(tab, "Protocol").select_option(label="Linear probe: default v1")
    choose(tab, "Shots").select_option("10")
    expect(header(tab, "Mean of 2, 10 shots")).to_be_visible()
    choose(tab, "Method").select_option("image-image")
    tab.get_by_label("Search").fill("cc")
    tab.get_by_text("Columns").click()
    tab.get_by_role("checkbox", name="Source").uncheck()
    header(tab, "1 shot").click()
    choose(tab, "Colours").select_option("dark")
    tab.wait_for_function("location.hash.includes('q=cc')")
    before, address = shown(tab), tab.url
    tab.reload()
    ready(tab)
    assert shown(tab) == before and tab.url == address
    expect(choose(tab, "Method")).to_have_value("image-image")
    expect(choose(tab, "Shots")).to_have_value("10")
    expect(header(tab, "Source")).to_be_hidden()
    expect(header(tab, "1 shot")).to_have_attribute("aria-sort", "descending")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_an_address_of_nonsense_opens_the_first_view(chromium: Browser, middle: Path) -> None:
    nonsense = "#protocol=x&shots=-1&metric=y&set=z&sort=__proto__:asc&cols=title:0,a:1&card=none&pmin=x&theme=red"
    with opened(chromium, middle, nonsense) as tab:
        assert len(shown(tab)) == 200
        expect(header(tab, "Checkpoint")).to_be_visible()


def test_a_card_opens_and_closes_by_keyboard(tab: Page) -> None:
    tab.locator("#table .open").first.focus()
    for _ in range(40):
        tab.keyboard.press("ArrowDown")
    focused = shown(tab)[40]["title"]
    expect(tab.locator("#table .open:focus")).to_have_text(focused)
    tab.keyboard.press("Enter")
    card = tab.get_by_role("dialog")
    expect(card.get_by_role("heading", name=focused)).to_be_focused()
    expect(card.locator("figure svg")).to_have_count(2)
    expect(card.get_by_role("rowheader")).to_have_text(["caltech101", "cassava"])
    model = shown(tab)[40]["key"]
    assert f"probebench eval --model {model} --dataset caltech101,cassava --input-size 96" in card.inner_text()
    assert f"card={model}" in tab.url
    tab.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(tab.locator("#table .open:focus")).to_have_text(focused)
    assert "card=" not in tab.url


def test_an_address_opens_a_card(chromium: Browser, middle: Path) -> None:
    with opened(chromium, middle, "#card=checkpoint_0007") as tab:
        expect(tab.get_by_role("dialog")).to_be_visible()
        tab.get_by_role("button", name="Close").click()
        expect(tab.get_by_role("dialog")).to_be_hidden()


def test_downloads_hold_what_the_table_shows(tab: Page, tmp_path: Path) -> None:
    choose(tab, "Method").select_option("supervised")
    header(tab, "1 shot").click()
    rows = shown(tab)
    for button, name in (("Download CSV", "board.csv"), ("Download JSON", "board.json")):
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name=button).click()
        waiting.value.save_as(tmp_path / name)
    with (tmp_path / "board.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    whole: dict[str, Any] = json.loads((tmp_path / "board.json").read_text())
    assert [row["id"] for row in table] == [row["key"] for row in rows] == [row["id"] for row in whole["rows"]]
    assert [float(row["mean"]) for row in table] == [row["mean"] / 100 for row in rows]
    assert [row["Linear probe: default v1, 1 shot"] for row in whole["rows"]] == [row["c1"] / 100 for row in rows]
    assert whole["view"] == {
        "protocol": "Linear probe: default v1",
        "shots": "full",
        "metric": "own",
        "results": "all",
        "data_set": "mean",
    }


def test_plots_follow_the_filters(chromium: Browser, large: Path) -> None:
    with opened(chromium, large) as tab:
        plots(tab)
        figures = tab.locator(".plots figure svg")
        expect(figures).to_have_count(4)
        dots = tab.locator("#plot-size svg circle")
        expect(dots).to_have_count(1000)
        choose(tab, "Source").select_option("WIT")
        expect(dots).to_have_count(125)
        expect(tab.locator("#plot-spread figcaption")).to_contain_text("Not enough matched pairs")


@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(chromium: Browser, small: Path, device: dict[str, Any]) -> None:
    with opened(chromium, small, color_scheme="light", bypass_csp=True, **device) as tab:
        plots(tab)
        assert not serious(tab)
        tab.emulate_media(color_scheme="dark")
        assert not serious(tab)
        tab.locator("#table .open").first.click()
        expect(tab.get_by_role("dialog").locator("figure svg").first).to_be_visible()
        assert not serious(tab)
        tab.emulate_media(color_scheme="light")
        assert not serious(tab)


def test_a_phone_scrolls_the_table_and_not_the_page(chromium: Browser, large: Path) -> None:
    with opened(chromium, large, **PHONE) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        expect(header(tab, "Checkpoint")).to_be_visible()
        expect(header(tab, "Architecture")).to_be_hidden()
        tab.locator("#table .open").first.click()
        assert tab.evaluate("document.getElementById('card').scrollWidth") <= 390


def test_the_first_tab_stop_skips_to_the_table(tab: Page) -> None:
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to the table")).to_be_focused()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "results"
    assert "#" not in tab.url


def test_dark_and_light_by_system_and_by_switch(chromium: Browser, small: Path) -> None:
    def paper(tab: Page) -> str:
        colour: str = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    with opened(chromium, small, color_scheme="dark") as tab:
        dark = paper(tab)
        choose(tab, "Colours").select_option("light")
        assert paper(tab) == "rgb(255, 255, 255)" != dark
        choose(tab, "Colours").select_option("")
        assert paper(tab) == dark
