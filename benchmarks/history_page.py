"""What the page of a long history costs: to make it, its size, and to open it in chromium.

    python -m benchmarks.history_page --out benchmarks/results

Invented histories of a year of nights: of 50 tests, of 500, and of 125 on four devices. Making the
page is beside reading the same lines with `json` alone; opening it, until its load event has ended,
beside opening that of 50 tests.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks.page_cost import opened_ms, run
from pytest_nsys.cli.main import main as command
from tests.support.histories import Suite

DEVICES = ("nvidia-h200", "nvidia-h100", "nvidia-b200", "nvidia-l40s")
SUITES = {
    "50 tests": Suite(50, 365),
    "500 tests": Suite(500, 365),
    "125 tests on 4 devices": Suite(125, 365, DEVICES),
}


def made_s(history: Path, page: Path) -> float:
    """Processor time of the command, in this process."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        command(["history", str(history), f"--html={page}"])
    return time.process_time() - start


def read_s(history: Path) -> float:
    start = time.process_time()
    for path in history.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            json.loads(line)
    return time.process_time() - start


def measure(browser: Browser, folder: Path, runs: int) -> dict[str, dict[str, Any]]:
    """Per history its size, and that of its page; how long they take, in seconds and as ratios."""
    found: dict[str, dict[str, Any]] = {}
    pages = {name: folder / f"{number}.html" for number, name in enumerate(SUITES)}
    for name, suite in SUITES.items():
        history = suite.write(folder / name)
        made, read = made_s(history, pages[name]), read_s(history)
        found[name] = {
            "lines": suite.tests * suite.runs * len(suite.devices),
            "page_bytes": pages[name].stat().st_size,
            "made_s": round(made, 1),
            "beside_json": round(made / read, 1),
        }
        shutil.rmtree(history)
    times: dict[str, list[float]] = {name: [] for name in pages}
    for number in range(runs + 1):
        for name, page in pages.items():
            took = opened_ms(browser, page)
            if number:  # the first one starts what the others find started
                times[name].append(took)
    first = statistics.median(times["50 tests"])
    for name, took in times.items():
        middle = statistics.median(took)
        found[name] |= {"opened_ms": round(middle, 1), "ratio": round(middle / first, 2)}
    return found


if __name__ == "__main__":
    run(__doc__, "history_page", "histories", 20, measure)
