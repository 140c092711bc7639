"""How quick the leaderboard page is in Chromium: ``python benchmarks/page.py [--checkpoints 1000] [--datasets 10]``.

Prints milliseconds: first paint and the table's being ready after opening from the disk, and, from a press of the mouse
to the next painted frame, sorting by each of several columns, searching, and switching the number of shots. The median
of ``--rounds``, and the largest.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from probebench.leaderboard.site import build_site
from tests.leaderboard.many import many_results

# Two frames: the first is drawn after the work, the second says that it has been. Where the work waits for something
# itself, the line that counts the rows is written when it is done.
PAINTED = """async ([act, counted]) => {
    const start = performance.now();
    const done = new Promise((seen) => {
        if (!counted) seen();
        else new MutationObserver(seen).observe(document.getElementById("count"), { childList: true });
    });
    eval(act)();
    await done;
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    return performance.now() - start;
}"""
CLICK = """() => [...document.querySelectorAll('#table .tabulator-col.tabulator-sortable')]
    .find((one) => one.querySelector('.tabulator-col-title').textContent === %r).click()"""
SEARCH = "() => { const q = document.getElementById('q'); q.value = %r; q.dispatchEvent(new Event('input')); }"
SHOTS = "() => { const s = document.getElementById('shots'); s.value = %r; s.dispatchEvent(new Event('change')); }"


def measure(tab: Page, address: str) -> dict[str, float]:
    """Opens the page and returns each measure in milliseconds."""
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]", state="attached")
    found: dict[str, float] = tab.evaluate(
        """() => ({
            "first paint": performance.getEntriesByName("first-contentful-paint")[0].startTime,
            "table ready": performance.getEntriesByName("ready")[0].startTime,
        })"""
    )
    for title in ("Checkpoint", "Params", "1 shot"):
        found[f"sort by {title}"] = max(tab.evaluate(PAINTED, [CLICK % title, False]) for _ in range(2))
    found["search, 80 ms of it a wait for more letters"] = tab.evaluate(PAINTED, [SEARCH % "laion", True])
    found["other shots"] = tab.evaluate(PAINTED, [SHOTS % "10", True])
    return found


def main() -> None:
    """Builds the page of made-up results and measures it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=1000)
    parser.add_argument("--datasets", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    results = many_results(asked.checkpoints, asked.datasets)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        start = time.perf_counter()
        page = build_site(results, Path(folder))
        print(
            f"{len(results)} results: built in {time.perf_counter() - start:.1f} s, {page.stat().st_size / 1e6:.1f} MB"
        )
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=sandbox)
        print(f"Chromium {browser.version}, {os.cpu_count()} cores")
        rounds = []
        for _ in range(asked.rounds):
            context = browser.new_context(viewport={"width": 1400, "height": 900}, bypass_csp=True)
            rounds.append(measure(context.new_page(), page.as_uri()))
            context.close()
        for name in rounds[0]:
            values = [one[name] for one in rounds]
            print(f"{name}: median {statistics.median(values):.0f} ms, largest {max(values):.0f} ms")


if __name__ == "__main__":
    main()
