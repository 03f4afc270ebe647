"""What measuring on several GPUs at once saves, and whether it changes any result.

Runs on a machine with GPUs, PyTorch, nsys and pytest-xdist; prints a table and writes the results
as JSON. With ``--simulated`` it tries itself on a stand-in nsys, without any GPU.

    python benchmarks/many_gpus.py --workers 0 1 2 --out benchmarks/results

The same tests are measured with ``-n 0``, ``-n 1``, ``-n 2``, ...; exact metrics (counts, bytes) of
every window of every test have to be the same in all of them.
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
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_nsys.catalogue import lookup

ROOT = Path(__file__).parents[1]
TIME = ("test", "gpu.kernel_time")

REAL = """
import pytest, time, torch

@pytest.fixture(scope="module")
def x():
    return torch.ones(1 << 20, device="cuda")

@pytest.mark.nsys(warmup=1, rounds=5)
@pytest.mark.parametrize("n", range({count}))
def test_it(x, n, nsys):
    with nsys.range("part"):
        for _ in range(1 + n % 7):
            x.mul_(1.0)
    x[: 1 + n % 5].cpu()
    torch.cuda.synchronize()
    time.sleep({seconds})
"""

SIMULATED = """
import pytest, simgpu, time

@pytest.mark.nsys(warmup=1, rounds=5)
@pytest.mark.parametrize("n", range({count}))
def test_it(n, nsys):
    with nsys.range("part"):
        for _ in range(1 + n % 7):
            simgpu.launch("mul", 10)
    simgpu.copy("d2h", 4 * (1 + n % 5))
    simgpu.synchronize()
    time.sleep({seconds})
"""


def simulated(folder: Path, gpus: int) -> dict[str, str]:
    """The environment of a machine with simulated GPUs, made in a folder."""
    sys.path.insert(0, str(ROOT))
    from tests.simgpu.standin import write_standin

    write_standin(folder, gpus=["NVIDIA H200"] * gpus, version="2023.3.1")
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "tests/simgpu/path"),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus))),
    }


def measured(folder: Path, workers: int, environment: dict[str, str]) -> tuple[float, Any]:
    """The seconds of a run with so many workers, and its results."""
    out = folder / f"out-{workers}.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--nsys", "--nsys-json", str(out)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"-n {workers} failed:\n{done.stdout}\n{done.stderr}")
    return seconds, json.loads(out.read_text())


def samples(results: Any, kind: str) -> dict[tuple[str, str, str], Any]:
    """The samples of each metric of a kind, by test, window and key."""
    return {
        (test["nodeid"], window["name"], metric["key"]): metric["samples"]
        for test in results["tests"]
        for window in test["windows"]
        for metric in window["metrics"]
        if lookup(metric["key"]).kind == kind
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.05, help="that a call waits")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--simulated", type=int, metavar="GPUS", help="try it without GPUs")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, str, str], Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pytest.ini").write_text("[pytest]\n")
        text = SIMULATED if arguments.simulated else REAL
        tests = text.format(count=arguments.tests, seconds=arguments.seconds)
        (folder / "test_it.py").write_text(tests)
        environment = dict(os.environ)
        if arguments.simulated:
            environment = simulated(folder, arguments.simulated)
        results: Any = None
        for workers in arguments.workers:
            seconds, results = measured(folder, workers, environment)
            exact = samples(results, "exact")
            first = first or exact
            differing = sorted(key for key in first | exact if first.get(key) != exact.get(key))
            timed = samples(results, "timed")
            wanted = (found for key, found in timed.items() if key[1:] == TIME)
            times = [value for found in wanted for process in found for value in process]
            rows.append(
                {
                    "workers": workers,
                    "seconds": round(seconds, 2),
                    "tests": len(results["tests"]),
                    "exact": len(exact),
                    "differing": [" ".join(key) for key in differing[:20]],
                    "kernel_time_median_ns": statistics.median(times),
                }
            )
            print(f"  -n {workers}: {seconds:.1f} s", flush=True)
    print("\n| workers | seconds | times as fast | exact metrics that differ | kernel time |")
    print("|---|---|---|---|---|")
    for row in rows:
        faster = rows[0]["seconds"] / row["seconds"]
        print(
            f"| -n {row['workers']} | {row['seconds']:.1f} | {faster:.2f} | "
            f"{len(row['differing'])} of {row['exact']} | "
            f"{row['kernel_time_median_ns'] / 1000:.2f} us |"
        )
    if arguments.out:
        document = {
            "date": datetime.date.today().isoformat(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "tests": arguments.tests,
            "seconds_of_a_call": arguments.seconds,
            "simulated_gpus": arguments.simulated,
            "rows": rows,
        }
        path = arguments.out / "many_gpus.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
    if any(row["differing"] for row in rows):
        raise SystemExit("exact metrics differ")


if __name__ == "__main__":
    main()
