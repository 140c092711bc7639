"""What tests do in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request, expect

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1400, "height": 900}}
# Long enough for a busy machine: a page of 1,000 rows waits behind other tests.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
AXE = Path(__file__).with_name("assets") / "axe.min.js"


@contextmanager
def opened(chromium: Browser, page: Path, hash_text: str = "", **options: Any) -> Iterator[Page]:
    """Opens a page from the disk without a network, and closes it with no error said or dialog shown."""
    context = chromium.new_context(offline=True, **({**DESKTOP, **options}))
    tab = context.new_page()
    faults: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    def asked(dialog: Dialog) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def requested(request: Request) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            faults.append(request.url)

    tab.on("console", said)
    tab.on("dialog", asked)
    tab.on("request", requested)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.set_default_timeout(PATIENCE_MS)
    tab.goto(page.as_uri() + hash_text)
    ready(tab)
    yield tab
    context.close()
    assert not faults


def ready(tab: Page) -> None:
    tab.wait_for_selector("body[data-ready]", state="attached")


def titles(tab: Page) -> list[str]:
    """Returns the checkpoints of the rows that are drawn, from the top."""
    found: list[str] = tab.evaluate(
        """() => [...document.querySelectorAll("#table .tabulator-row")]
            .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
            .map((row) => row.querySelector(".open").textContent)"""
    )
    return found


def shown(tab: Page) -> list[dict[str, Any]]:
    """Returns the rows that the filters leave, in the table's order."""
    rows: list[dict[str, Any]] = tab.evaluate("() => PB.table.shown().map(({ line, along, sets, ...row }) => row)")
    return rows


def header(tab: Page, title: str) -> Locator:
    return tab.locator("#table .tabulator-col.tabulator-sortable", has=tab.get_by_text(title, exact=True)).first


def choose(tab: Page, label: str) -> Locator:
    if label in ("Method", "Source", "Architecture"):
        filters(tab)
    return tab.get_by_role("combobox", name=label, exact=True)


def filters(tab: Page) -> None:
    """Opens the filters that are folded."""
    if tab.locator("#more:not([open])").count():
        tab.locator("#more > summary").click()


def plots(tab: Page) -> None:
    """Scrolls to the plots, which are drawn when they are seen."""
    tab.evaluate("() => document.getElementById('plots-title').scrollIntoView()")
    tab.wait_for_selector("body[data-plots]", state="attached")


def serious(tab: Page) -> list[str]:
    """Returns axe-core's serious and critical faults, each with the first place that it names."""
    tab.evaluate(AXE.read_text())
    faults: list[str] = tab.evaluate(
        """() => axe.run().then((found) => found.violations
            .filter((one) => ["serious", "critical"].includes(one.impact))
            .map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 200)} ${one.nodes[0].failureSummary}`))"""
    )
    return faults
