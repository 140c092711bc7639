"""What a column of the page takes, tried on a copy of the tree: its value and its line."""

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from probebench.results.store import result_path, write_result
from tests.leaderboard.browsing import header, opened
from tests.results.make import result
from tests.trees import Tree

pytestmark = pytest.mark.browser


def test_a_column_takes_two_files(tmp_path: Path, home: Path, chromium: Browser) -> None:
    write_result(result_path(tmp_path / "results", "net", "digits", "probe", "default", 1, "0" * 64), result())
    tree = Tree.copy(tmp_path / "tree")
    tree.insert("probebench/leaderboard/card.py", '        "provenance": ', '        "colour_of": "blue",\n')
    line = '    { field: "colour_of", name: "Colour", width: 94 },\n'
    tree.insert("probebench/leaderboard/static/model.js", '    { field: "provenance"', line)
    assert tree.differing() == ["probebench/leaderboard/card.py", "probebench/leaderboard/static/model.js"]

    tree.run(home, "leaderboard", "build")
    with opened(chromium, tmp_path / "site" / "index.html", "#cols=colour_of:0") as tab:
        expect(header(tab, "Colour")).to_be_hidden()
        tab.get_by_text("Columns").click()
        tab.get_by_role("checkbox", name="Colour").check()
        expect(header(tab, "Colour")).to_be_visible()
        with tab.expect_download() as waiting:
            tab.get_by_role("button", name="Download CSV").click()
        waiting.value.save_as(tmp_path / "board.csv")
        tab.locator("#table .open").click()
        expect(tab.get_by_role("dialog").locator("dl")).to_contain_text("Colourblue")
    with (tmp_path / "board.csv").open(newline="", encoding="utf-8") as file:
        assert [row["colour_of"] for row in csv.DictReader(file)] == ["blue"]
