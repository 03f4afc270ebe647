"""What a run costs once, whatever it measures: beside plain pytest and nsys's own run of the test.

    python -m benchmarks.fixed_costs --out benchmarks/results            # GPU, PyTorch, nsys
    python -m benchmarks.fixed_costs --cpu --out benchmarks/results      # nsys alone

One small test of PyTorch is run in every way, one after another, several times. With ``--cpu`` a
module that waits for some seconds stands for PyTorch, and the test does nothing. ``--nsys`` names
another nsys, or a stand-in for it (see `tests.simgpu.standin`; without pyarrow, as it takes seconds
to export to Parquet).

Then (``--ahead``) the test is measured with and without processes that are started ahead of their
turn, alternately: unless those disturb what is measured, the two differ by no more than each does
from itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.judge_cost import surroundings
from pytest_nsys.capture.nsys import NsysTool, export_command, find_nsys, profile_command
from pytest_nsys.trace.schema import TABLES

GPU_TEST = """
import pytest, torch

@pytest.fixture(scope="module")
def x():
    return torch.ones(1 << 20, device="cuda")

@pytest.mark.nsys
def test_it(x):
    for _ in range(20):
        x.mul_(1.0)
"""
CPU_TEST = """
import heavy, pytest

@pytest.mark.nsys(allow_empty=True)
def test_it():
    total = 0
    for n in range(200_000):
        total += n
"""
HEAVY = "import time\ntime.sleep({seconds})\n"
"""Waits: so it takes as long beside other work on few processors as PyTorch's on many."""

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
TARGETS = {
    "gate_over_nsys_s": 1.0,
    "three_over_one": 1.6,
    "replay_over_collect_s": 0.7,
}
COMPARED = ("gpu.kernel_time", "wall.time")


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return took


def ways(nsys: NsysTool, folder: Path) -> dict[str, list[list[str]]]:
    """The commands of each way, which count together."""
    kind = "parquetdir" if _has_parquet(nsys) else "sqlite"
    report, export = folder / "own.nsys-rep", folder / f"own.{kind}"
    measured = [*PYTEST, f"--nsys-executable={nsys.path}"]
    return {
        "plain": [[*PYTEST]],
        "collect": [[*PYTEST, "--collect-only"]],
        "nsys": [
            profile_command(nsys, report.with_suffix(""), [*PYTEST]),
            export_command(nsys, report, export, kind, TABLES),
        ],
        "record_3": [[*measured, "--nsys-update", "--nsys-processes=3"]],
        "record_1": [[*measured, "--nsys-update", "--nsys-processes=1"]],
        "recording": [[*measured, "--nsys", "--nsys-record=recording", "-o", "nsys_confirm=0"]],
        "gate": [[*measured, "--nsys-baseline", "--nsys-tolerance=500%"]],
        "replay": [
            [*PYTEST, "--nsys-replay=recording", "--nsys-baseline", "--nsys-tolerance=500%"]
        ],
    }


def _has_parquet(nsys: NsysTool) -> bool:
    return nsys.can_select_tables and importlib.util.find_spec("pyarrow") is not None


def costs(nsys: NsysTool, folder: Path, repeats: int) -> dict[str, Any]:
    runs: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        for way, commands in ways(nsys, folder).items():
            if way == "recording":
                shutil.rmtree(folder / "recording", ignore_errors=True)
            took = sum(seconds(command, folder) for command in commands)
            if repeat:  # the first one fills caches
                runs.setdefault(way, []).append(round(took, 3))
                print(f"  {way:<10} {took:6.2f} s", flush=True)
    median = {way: round(statistics.median(times), 2) for way, times in runs.items()}
    return {
        "runs_s": runs,
        "median_s": median,
        "ratios": {
            "gate_over_nsys": round(median["gate"] / median["nsys"], 2),
            "gate_over_nsys_s": round(median["gate"] - median["nsys"], 2),
            "three_over_one": round(median["record_3"] / median["record_1"], 2),
            "replay_over_collect": round(median["replay"] / median["collect"], 2),
            "replay_over_collect_s": round(median["replay"] - median["collect"], 2),
        },
    }


def ahead(nsys: NsysTool, folder: Path, repeats: int) -> dict[str, Any]:
    """Samples of processes that had others started beside them, and of those that had not."""
    samples: dict[str, dict[str, list[list[float]]]] = {"ahead": {}, "in turn": {}}
    for repeat in range(repeats):
        # A B, then B A, so that a drift hits both alike.
        for way in sorted(samples, reverse=bool(repeat % 2)):
            shutil.rmtree(folder / "baselines", ignore_errors=True)
            update = ["--nsys-update", "--nsys-processes=3", f"--nsys-executable={nsys.path}"]
            option = f"nsys_ahead={str(way == 'ahead').lower()}"
            seconds([*PYTEST, *update, "-o", option, "--nsys-rounds=20"], folder)
            (file,) = (folder / "baselines").glob("*/test_it.py/test_it.json")
            found = json.loads(file.read_text(encoding="utf-8"))["windows"]["test"]["samples"]
            for metric in COMPARED:
                samples[way].setdefault(metric, []).extend(found[metric])
    return {metric: compared(*(samples[way][metric] for way in samples)) for metric in COMPARED}


def compared(some: list[list[float]], others: list[list[float]]) -> dict[str, Any]:
    """How far the medians of processes lie apart, between the two ways and within each.

    The difference in standard errors: up to 2 or so is what chance gives to two that are the same.
    """
    medians = [[statistics.median(rounds) for rounds in way] for way in (some, others)]
    middles = [statistics.median(way) for way in medians]
    errors = [statistics.stdev(way) / math.sqrt(len(way)) for way in medians]
    error = math.hypot(*errors)
    return {
        "processes": [len(some), len(others)],
        "medians": middles,
        "difference_percent": round(100 * (middles[0] / middles[1] - 1), 3) if middles[1] else 0.0,
        "spread_percent": [
            round(100 * statistics.stdev(way) / statistics.mean(way), 3) if any(way) else 0.0
            for way in medians
        ],
        "difference_in_errors": round((middles[0] - middles[1]) / error, 2) if error else 0.0,
    }


def write_project(folder: Path, heavy_s: float | None) -> None:
    on_cpu = heavy_s is not None
    ini = ["[pytest]", *(["nsys_device = cpu"] if on_cpu else [])]
    (folder / "pytest.ini").write_text("\n".join(ini) + "\n", encoding="utf-8")
    (folder / "test_it.py").write_text(CPU_TEST if on_cpu else GPU_TEST, encoding="utf-8")
    if on_cpu:
        (folder / "heavy.py").write_text(HEAVY.format(seconds=heavy_s), encoding="utf-8")


def device(on_cpu: bool) -> str:
    if on_cpu:
        return "none"
    import torch

    return torch.cuda.get_device_name(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="folder of fixed_costs.json")
    parser.add_argument("--name", default="fixed_costs", help="of the file, without .json")
    parser.add_argument("--nsys", help="the nsys to use")
    parser.add_argument("--cpu", action="store_true", help="without GPU and PyTorch")
    parser.add_argument("--heavy-s", type=float, default=4.0, help="what stands for PyTorch takes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ahead", type=int, default=0, metavar="N", help="pairs of runs for A/A")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or all is compiled anew in each process
    nsys = find_nsys(given.nsys)
    with tempfile.TemporaryDirectory(prefix="fixed-costs-") as temporary:
        folder = Path(temporary)
        write_project(folder, given.heavy_s if given.cpu else None)
        results = {
            **surroundings("pytest", "pandas"),
            "device": device(given.cpu),
            **costs(nsys, folder, given.repeats),
        }
        results["versions"]["nsys"] = nsys.version_text
        if given.ahead:
            results["ahead"] = ahead(nsys, folder, given.ahead)
    text = json.dumps(results, indent=1)
    print(text)
    for name, limit in TARGETS.items():
        found = results["ratios"][name]
        print(f"{name:<22} {found:6.2f}  {'within' if found <= limit else 'BEYOND'} {limit:g}")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{given.name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
