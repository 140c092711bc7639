"""A real Chromium, and pages for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from probebench.leaderboard.site import build_site
from tests.leaderboard.many import many_results

# Root may not use Chromium's sandbox; the pages under test are our own.
SANDBOX = ["--no-sandbox"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no Chromium: apt-get install chromium, or leave these tests out with: pytest -m 'not browser'")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=SANDBOX)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 1,000 checkpoints on two data sets."""
    return build_site(many_results(1000, 2), tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="session")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More checkpoints than are drawn at once, and a page that opens sooner."""
    return build_site(many_results(200, 2), tmp_path_factory.mktemp("middle"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few more checkpoints than are drawn at once: axe-core walks every element."""
    return build_site(many_results(60, 2), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(many_results(4, 2), tmp_path_factory.mktemp("few"))
