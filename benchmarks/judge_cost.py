"""What ``pytest-nsys judge`` costs beside a replay of the same recording by pytest.

    python -m benchmarks.judge_cost --out benchmarks/results

The recordings of the examples are judged both ways in turn, each in a process of its own, by this
Python with all its plugins. The figure is the ratio of medians of processor time, which other work
on the machine disturbs less than time on the clock; that is told, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RECORDINGS = {
    "6 tests, which pass": (EXAMPLES, "recordings/h200", "../baselines"),
    "6 tests, of which 4 fail": (EXAMPLES, "recordings/h200-slips", "../baselines"),
    "a server, which passes": (EXAMPLES / "servers", "recordings/h200", "baselines"),
}


def surroundings(*packages: str) -> dict[str, Any]:
    """When and where figures were measured: the day, versions, processors, and their load."""
    named = {name: version(name) for name in (*packages, "pytest-nsys")}
    return {
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), **named},
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def took(folder: Path, module: str, *arguments: str) -> tuple[float, float]:
    """Seconds of processors, and on the clock."""
    command = [sys.executable, "-m", module, *arguments]
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    clock, after = time.perf_counter() - began, os.times()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    own = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return own, clock


def measure(folder: Path, recording: str, baselines: str, runs: int) -> dict[str, Any]:
    """Medians of both ways, and their ratio."""
    replay = ("pytest", "-q", "-p", "no:cacheprovider", "--nsys-baseline")
    ways = {
        "replay": (*replay, f"--nsys-replay={recording}"),
        "judge": ("pytest_nsys", "judge", recording, f"--baseline-dir={baselines}"),
    }
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for run in range(runs + 1):
        for way, command in ways.items():
            found = took(folder, *command)
            if run:  # the first one fills caches
                times[way].append(found)
    processor, clock = (
        {way: statistics.median(one[n] for one in found) for way, found in times.items()}
        for n in range(2)
    )
    return {
        "processor_s": {way: round(seconds, 2) for way, seconds in processor.items()},
        "clock_s": {way: round(seconds, 2) for way, seconds in clock.items()},
        "shortest_clock_s": {way: round(min(t for _, t in times[way]), 2) for way in ways},
        "ratio": round(processor["judge"] / processor["replay"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    results = {
        **surroundings("pytest", "pandas"),
        "runs": given.runs,
        "recordings": {name: measure(*of, given.runs) for name, of in RECORDINGS.items()},
    }
    text = json.dumps(results, indent=1)
    print(text)
    if given.out:
        (given.out / "judge_cost.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
