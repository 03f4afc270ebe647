"""What a suite of 10,000 measured tests costs the controller, and what its reports cost a reader.

    python -m benchmarks.many_tests --out benchmarks/results [--tests 10000] [--few 1000]

A made-up project on the simulated GPU, with the stand-in for nsys. Each kind of run is made with
few and with many tests; processor time and memory are those of the controller's process, and what a
test adds is the difference of the two by the tests that lie between: the slope. Of a cost that
grows faster than the tests, ``growth`` is above 1: the slope between few and many by that between
a tenth of few and few. The page is opened in chromium beside that of 100 tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.judge_cost import surroundings
from benchmarks.page_cost import LOADED
from tests.simgpu.standin import write_standin

ROOT = Path(__file__).resolve().parents[1]
IN_A_FILE = 100
TEST = """
import pytest, simgpu

SIZES = [f"void layer_norm_kernel<float, {{size}}>(float const*, float*)" for size in (128, 256)]

{mark}
@pytest.mark.parametrize("n", range({count}))
def test_kernel(n):
    address = simgpu.malloc(1 << 20)
    simgpu.copy("h2d", 4096)
    simgpu.launch(SIZES[n % 2], 20 + n % 7)
    simgpu.launch("void gemm<float>(float*)", 15)
    simgpu.launch(f"triton_poi_fused_{{n % 50}}", 10)
    simgpu.synchronize()
    simgpu.free(address)
"""
REPORTS = ["--nsys-json=run.json", "--nsys-html=run.html", "--nsys-markdown=run.md"]
RUNS = {
    "plain": [],
    "update": ["--nsys-update"],
    "gate": ["--nsys-baseline"],
    "record": ["--nsys-baseline", "--nsys-record=recording"],
    "replay": ["--nsys-baseline", "--nsys-replay=recording"],
    "reports": ["--nsys-baseline", "--nsys-replay=recording", *REPORTS, "--junitxml=run.xml"],
}
LONG_TASKS = """
window.__longest = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) window.__longest = Math.max(window.__longest, one.duration);
}).observe({type: "longtask", buffered: true});
"""


def make_project(folder: Path, tests: int, mark: str = "@pytest.mark.nsys") -> Path:
    """A project of so many tests, with its nsys in its folder."""
    folder.mkdir(parents=True)
    write_standin(folder)
    (folder / "pytest.ini").write_text("[pytest]\nnsys_processes = 1\nnsys_confirm = 0\n")
    for start in range(0, tests, IN_A_FILE):
        text = TEST.format(mark=mark, count=min(IN_A_FILE, tests - start))
        (folder / f"test_{start // IN_A_FILE:03}.py").write_text(text)
    return folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """In which that project's nsys and GPU are found, and the plugin of suites."""
    paths = [ROOT / "tests/simgpu/path", ROOT / "benchmarks"]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        **variables,
    }


def run(folder: Path, name: str) -> dict[str, float]:
    """What a run took."""
    meter = folder / "meter.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "suite_plugin"]
    done = subprocess.run(
        [*command, *RUNS[name]],
        cwd=folder,
        env=environment(folder, SUITE_METER=str(meter)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    took: dict[str, float] = json.loads(meter.read_text())
    print(f"{folder.name} tests, {name}: {took}", flush=True)
    return took


def opened(page: Path) -> dict[str, float]:
    """How long a page takes to open, its longest task, and that of a search in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page()
        tab.set_default_timeout(300_000)
        tab.add_init_script(LONG_TASKS)
        tab.goto(page.as_uri())
        took = tab.evaluate(LOADED)
        tab.wait_for_timeout(500)
        opening = tab.evaluate("window.__longest")
        tab.evaluate("window.__longest = 0")
        search = tab.locator("input[type=search]").first
        if search.count():
            search.fill("test_kernel[7]")
            tab.wait_for_timeout(1000)
        searching = tab.evaluate("window.__longest")
        browser.close()
    return {"opened_ms": took, "longest_task_ms": opening, "longest_of_search_ms": searching}


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=1_000)
    given = parser.parse_args()
    sizes = [given.few // 10, given.few, given.tests]
    took: dict[str, dict[int, dict[str, float]]] = {name: {} for name in RUNS}
    written: dict[int, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for tests in sizes:
            folder = make_project(Path(temporary, str(tests)), tests)
            for name in RUNS:
                took[name][tests] = run(folder, name)
            files = [*folder.glob("run.*"), folder / "recording/recording.json"]
            written[tests] = {file.name: file.stat().st_size for file in files}
        pages = {tests: opened(Path(temporary, str(tests), "run.html")) for tests in sizes}
    least, few, many = sizes

    def slope(name: str, what: str, one: int, other: int) -> float:
        return (took[name][other][what] - took[name][one][what]) / (other - one)

    plain = slope("plain", "processor_s", few, many)
    results: dict[str, Any] = {
        **surroundings("pytest"),
        "tests": {"few": few, "many": many},
        "runs": took,
        "plain_ms_per_test": round(plain * 1e3, 2),
        "ms_per_test_over_plain": {
            name: round((slope(name, "processor_s", few, many) - plain) * 1e3, 2)
            for name in RUNS
            if name != "plain"
        },
        "growth": {
            name: round(
                slope(name, "processor_s", few, many) / slope(name, "processor_s", least, few), 2
            )
            for name in RUNS
            if name != "plain"
        },
        "kb_per_test": {name: round(slope(name, "peak_mb", few, many) * 1e3) for name in RUNS},
        "bytes_per_test": {
            name: round((written[many][name] - written[few][name]) / (many - few))
            for name in written[many]
        },
        "page": pages,
        "page_ratio": round(pages[many]["opened_ms"] / pages[least]["opened_ms"], 1),
    }
    text = json.dumps(results, indent=1)
    print(text)
    if given.out:
        (given.out / "many_tests.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
