"""The page in a real Chromium, from the disk and without a network; of 1,000 checkpoints where the number counts."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.leaderboard.browsing import PHONE, choose, filters, header, opened, plots, ready, serious, shown, titles

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
    scores = [row["c0"] for row in shown(tab)]
    assert scores == sorted(scores, reverse=True)
    one_shot.focus()
    tab.keyboard.press("Enter")
    expect(one_shot).to_have_attribute("aria-sort", "ascending")
    scores = [row["c0"] for row in shown(tab)]
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
    filters(tab)
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
    expect(header(tab, "Mean of 2, 5 shots")).to_be_visible()
    five = shown(tab)
    choose(tab, "Data set").select_option(label="cassava")
    expect(header(tab, "Score, 5 shots")).to_be_visible()
    assert [row["rank"] for row in shown(tab)][:2] == [1, 2]
    assert shown(tab)[0]["mean"] != five[0]["mean"]
    choose(tab, "Protocol").select_option(label="Fine-tuned (full): quick v1")
    expect(header(tab, "Score, full")).to_be_visible()
    expect(tab.locator("#chips")).to_have_text("")


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
    expect(card.locator("figure > svg")).to_have_count(2)
    expect(card.get_by_role("rowheader")).to_have_text(["caltech101", "cassava"])
    model = shown(tab)[40]["key"]
    assert f"probebench eval --model {model} --dataset caltech101,cassava --input-size 96" in card.inner_text()
    assert f"card={model}" in tab.url
    tab.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(tab.locator("#table .open:focus")).to_have_text(focused)
    assert "card=" not in tab.url


def test_arrow_keys_keep_their_row_where_drawing_takes_it_away(tab: Page) -> None:
    tab.locator("#table .open").first.focus()
    tab.keyboard.press("ArrowDown")
    focus = tab.locator("#table .open:focus")
    for place in (100000, 0):
        tab.locator("#table .tabulator-tableholder").evaluate("(holder, place) => { holder.scrollTop = place; }", place)
        expect(focus).to_have_count(0 if place else 1)
    expect(focus).to_have_text(shown(tab)[1]["title"])
    tab.keyboard.press("ArrowDown")
    expect(focus).to_have_text(shown(tab)[2]["title"])


def test_the_table_is_not_drawn_anew_when_it_comes_into_view(chromium: Browser, middle: Path) -> None:
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    with opened(chromium, middle, viewport={"width": 1400, "height": 250}) as tab:
        button = tab.locator("#table .open").first
        expect(button).not_to_be_in_viewport()
        # Whoever presses a button before the next frame would press one that is gone at its release.
        button.evaluate("(button) => { button.scrollIntoView({ block: 'center' }); button.focus(); }")
        tab.evaluate(frames)
        expect(button).to_be_focused()
        # As a phone's address bar does, which changes nothing of the table.
        tab.evaluate("() => { window.dispatchEvent(new Event('resize')); }")
        tab.evaluate(frames)
        expect(button).to_be_focused()


def test_a_window_of_another_size_shows_what_a_page_opened_so_shows(chromium: Browser, middle: Path) -> None:
    def laid(tab: Page) -> Any:
        return tab.evaluate(
            """() => ["#table", "#table .tabulator-tableholder", "#table .tabulator-row", "#table .open"].map((one) => {
                const { x, y, width, height } = document.querySelector(one).getBoundingClientRect();
                return [x, y + scrollY, width, height].map(Math.round);
            })"""
        )

    small, large = ViewportSize(width=390, height=500), ViewportSize(width=1400, height=1000)
    with opened(chromium, middle, viewport=large) as tab:
        expected, rows = laid(tab), titles(tab)
    for begin in (small, ViewportSize(width=1000, height=500)):
        with opened(chromium, middle, viewport=begin) as tab:
            tab.set_viewport_size(large)
            expect(tab.locator("#table .tabulator-row").nth(len(rows) - 1)).to_be_attached()
            assert laid(tab) == expected
            assert titles(tab)[: len(rows)] == rows


def test_an_address_opens_a_card(chromium: Browser, middle: Path) -> None:
    with opened(chromium, middle, "#card=checkpoint_0007") as tab:
        expect(tab.get_by_role("dialog")).to_be_visible()
        tab.get_by_role("button", name="Close").click()
        expect(tab.get_by_role("dialog")).to_be_hidden()


def test_downloads_hold_what_the_table_shows(tab: Page, tmp_path: Path) -> None:
    choose(tab, "Method").select_option("supervised")
    tab.keyboard.press("Escape")
    header(tab, "1 shot").click()
    rows = shown(tab)
    for button, name in (("Download CSV", "board.csv"), ("Download JSON", "board.json")):
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name=button).click()
        waiting.value.save_as(tmp_path / name)
    with (tmp_path / "board.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    whole: dict[str, Any] = json.loads((tmp_path / "board.json").read_text())
    assert [row["key"] for row in table] == [row["key"] for row in rows] == [row["key"] for row in whole["rows"]]
    assert [float(row["mean"]) for row in table] == [row["mean"] / 1e4 for row in rows]
    assert [row["Linear probe: default v1, 1 shot"] for row in whole["rows"]] == [row["c0"] / 1e4 for row in rows]
    assert whole["view"] == {
        "protocol": "Linear probe: default v1",
        "shots": 5,
        "metric": "own",
        "results": "all",
        "input_px": "all",
        "data_set": "mean",
    }


def test_plots_follow_the_filters(chromium: Browser, large: Path) -> None:
    with opened(chromium, large) as tab:
        plots(tab)
        figures = tab.locator(".plots figure > svg")
        # Every size of the made-up checkpoints is another, so there is no spread at equal size, and no depth.
        expect(figures).to_have_count(3)
        dots = tab.locator("#plot-size > svg path")
        every = dots.count()
        assert every >= 1000
        choose(tab, "Source").select_option("WIT")
        expect(dots).not_to_have_count(every)
        expect(tab.locator("#plot-size .key li")).to_have_count(1)


@pytest.mark.parametrize("device", [{}, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(chromium: Browser, small: Path, device: dict[str, Any]) -> None:
    with opened(chromium, small, color_scheme="light", bypass_csp=True, **device) as tab:
        plots(tab)
        assert not serious(tab)
        tab.emulate_media(color_scheme="dark")
        assert not serious(tab)
        tab.locator("#table .open" if not device else "#cards .open").first.click()
        expect(tab.get_by_role("dialog").locator("figure > svg").first).to_be_visible()
        assert not serious(tab)
        tab.emulate_media(color_scheme="light")
        assert not serious(tab)


def test_a_phone_shows_cards_and_a_table_on_demand(chromium: Browser, large: Path) -> None:
    with opened(chromium, large, **PHONE) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        cards = tab.locator("#cards li")
        expect(cards).to_have_count(50)
        box = cards.first.bounding_box()
        assert box is not None and box["y"] < 400
        assert cards.first.locator(".open").inner_text() == shown(tab)[0]["title"]
        tab.get_by_role("button", name="Show 50 more").click()
        expect(cards).to_have_count(100)
        cards.nth(60).click()
        expect(tab.get_by_role("dialog")).to_be_visible()
        tab.get_by_role("button", name="Close").click()
        tab.get_by_role("button", name="Show as a table").click()
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


def test_groups_of_columns_fold(tab: Page) -> None:
    expect(header(tab, "10 shots")).to_be_visible()
    fold = tab.get_by_role("button", name="Few labels")
    fold.click()
    expect(header(tab, "10 shots")).to_be_hidden()
    expect(header(tab, "1 shot")).to_be_visible()
    expect(fold).to_have_attribute("aria-expanded", "false")
    tab.reload()
    ready(tab)
    expect(header(tab, "10 shots")).to_be_hidden()
    tab.get_by_role("button", name="Few labels").click()
    expect(header(tab, "10 shots")).to_be_visible()


def test_chips_take_filters_away(tab: Page) -> None:
    choose(tab, "Method").select_option("supervised")
    filters(tab)
    tab.get_by_label("Parameters in millions, from").fill("24")
    expect(tab.locator(".chip")).to_have_count(2)
    tab.get_by_role("button", name="Remove the filter method supervised").click()
    expect(tab.locator(".chip")).to_have_count(1)
    assert {row["method"] for row in shown(tab)} > {"supervised"}


def test_two_to_six_checkpoints_side_by_side(tab: Page) -> None:
    boxes = tab.locator("#table .pick")
    now = tab.locator("#compare-now")
    expect(now).to_be_hidden()
    boxes.nth(0).check()
    expect(now).to_be_disabled()
    boxes.nth(1).check()
    rows = shown(tab)[:2]
    tab.get_by_role("button", name="Compare 2").click()
    dialog = tab.get_by_role("dialog")
    for row in rows:
        expect(dialog.locator(".chosen")).to_contain_text(row["title"])
    keys = [row["key"] for row in rows]
    assert f"probebench results compare {keys[0]} {keys[1]}" in dialog.inner_text()
    expect(dialog.locator("figure > svg")).to_have_count(2)
    expect(dialog.get_by_role("rowheader", name="Method")).to_be_visible()
    tab.get_by_role("button", name="Close").click()
    assert f"compare={keys[0]}" in tab.url
    for number in range(2, 6):
        boxes.nth(number).check()
    expect(boxes.nth(6)).to_be_disabled()


@pytest.mark.parametrize("width", [1440, 1024, 390])
@pytest.mark.parametrize("rows", ["few", "small", "large"])
def test_no_name_is_cut_and_the_first_result_is_on_the_first_screen(
    chromium: Browser, rows: str, width: int, request: pytest.FixtureRequest
) -> None:
    phone = width < 700
    height = 844 if phone else 900 if width > 1100 else 768
    device = {**(PHONE if phone else {}), "viewport": {"width": width, "height": height}}
    with opened(chromium, request.getfixturevalue(rows), color_scheme="light", **device) as tab:
        place = "#cards li" if phone else "#table .tabulator-row"
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            first = tab.locator(place).first.bounding_box()
            assert first is not None and first["y"] < (400 if phone else height - 40)
            cut: list[str] = tab.evaluate(
                """(place) => [...document.querySelectorAll(`${place} .names, ${place} .names *`)].filter((one) =>
                    (one.clientWidth && one.scrollWidth > one.clientWidth + 1) ||
                    (one.matches(".names") && one.scrollHeight > one.clientHeight + 1))
                    .map((one) => one.textContent)""",
                place,
            )
            assert not cut
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_plot_is_downloaded_in_its_colours(tab: Page, tmp_path: Path) -> None:
    plots(tab)
    for form, begins in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name=f"Download “Accuracy against shots” as {form}").click()
        waiting.value.save_as(tmp_path / form)
        content = (tmp_path / form).read_bytes()
        assert content.startswith(begins) and b"var(--" not in content
