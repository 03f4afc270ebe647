"""What a large page costs: the HTML report of many tests opened in chromium, beside that of few.

    python -m benchmarks.page_cost --out benchmarks/results

Pages of real comparisons, with all tests passed and with all failed, whose details are on the page,
are opened in turn, as files, until their load event has ended. The figure is the ratio of medians:
how much longer ten times as many tests take.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from pytest_nsys.report.html.render import write_html
from tests.support.page_samples import many

FEW, MANY = 50, 500
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def opened_ms(browser: Browser, page: Path) -> float:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.as_uri())
    took: float = tab.evaluate(LOADED)
    context.close()
    return took


def measure(browser: Browser, folder: Path, runs: int) -> dict[str, dict[str, Any]]:
    """Per kind of page, sizes, medians and their ratio."""
    pages = {}
    for kind, failed in (("passed", False), ("failed", True)):
        for tests in (FEW, MANY):
            pages[kind, tests] = folder / f"{kind}-{tests}.html"
            write_html(many(failed=tests if failed else 0, tests=tests), pages[kind, tests])
    times: dict[tuple[str, int], list[float]] = {key: [] for key in pages}
    for number in range(runs + 1):
        for key, page in pages.items():
            took = opened_ms(browser, page)
            if number:  # the first one starts what the others find started
                times[key].append(took)
    found: dict[str, dict[str, Any]] = {}
    for kind in ("passed", "failed"):
        few, much = (statistics.median(times[kind, tests]) for tests in (FEW, MANY))
        found[kind] = {
            "bytes": {tests: pages[kind, tests].stat().st_size for tests in (FEW, MANY)},
            "opened_ms": {FEW: round(few, 1), MANY: round(much, 1)},
            "ratio": round(much / few, 2),
        }
    return found


def run(about: str | None, name: str, what: str, runs: int, measure: Callable[..., object]) -> None:
    """The command of a benchmark of pages.

    Args:
        about: its module's docstring.
        name: the file of its results, without ending.
        what: what it measures.
        runs: how often each page is opened where nobody says.
        measure: measures with a browser, an empty folder, and so many runs.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=runs)
    given = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        results = {
            "date": datetime.date.today().isoformat(),
            "versions": {
                "python": platform.python_version(),
                "chromium": browser.version,
                "pytest-nsys": version("pytest-nsys"),
            },
            "runs": given.runs,
            what: measure(browser, Path(folder), given.runs),
        }
        browser.close()
    text = json.dumps(results, indent=1)
    print(text)
    if given.out:
        (given.out / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    run(__doc__, "page_cost", "pages", 30, measure)
