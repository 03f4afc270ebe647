"""What profiling adds to a test: one capture for all of them, against the obvious other ways.

Runs on a machine with a GPU, PyTorch and nsys; prints a table and writes the results as JSON.

    python benchmarks/per_test_cost.py --out benchmarks/results

A run of N tests takes fixed + N x cost. Both are found from runs with few and with many tests,
with and without profiling, alternated; the added cost per test is the difference of the slopes
and contains all that grows with the number of tests: running, NVTX, export and analysis. The other
ways are measured on 10 of the same tests in the same run: nsys start and stop around each test,
and a process of its own under nsys for each.
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

TEST = """
import pytest, torch

@pytest.fixture(scope="module")
def x():
    return torch.ones(1 << 16, device="cuda")

@pytest.mark.nsys(warmup=0, rounds=1)
@pytest.mark.parametrize("n", range({count}))
def test_it(x, n):
    x.mul_(1.0)
    x.add_(1.0)
    torch.cuda.synchronize()
"""

START_STOP = """
import subprocess, sys, time, torch
nsys, count = sys.argv[1], int(sys.argv[2])
x = torch.ones(1 << 16, device="cuda")
times = []
for n in range(count):
    began = time.monotonic()
    subprocess.run([nsys, "start", "--session=bench", "-f", "true", "-o", f"range-{n}"],
                   check=True, stdout=subprocess.DEVNULL)
    x.mul_(1.0); x.add_(1.0); torch.cuda.synchronize()
    subprocess.run([nsys, "stop", "--session=bench"], check=True, stdout=subprocess.DEVNULL)
    times.append(time.monotonic() - began)
print("TIMES", *times)
"""


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return seconds, done.stdout


def pytest_seconds(folder: Path, count: int, *args: str) -> float:
    (folder / "test_it.py").write_text(TEST.format(count=count))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    seconds = timed(command, folder)[0]
    print(f"  {count} tests {' '.join(args) or 'plain'}: {seconds:.2f} s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", type=int, default=10, help="tests for the other ways")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pytest.ini").write_text("[pytest]\n")
        pytest_seconds(folder, 1)  # warms the disk cache
        runs: dict[str, list[float]] = {"plain": [], "profiled": []}
        runs |= {"plain_few": [], "profiled_few": []}
        for _ in range(arguments.repeats):
            runs["plain_few"].append(pytest_seconds(folder, arguments.few))
            runs["profiled_few"].append(pytest_seconds(folder, arguments.few, "--nsys"))
            runs["plain"].append(pytest_seconds(folder, arguments.tests))
            runs["profiled"].append(pytest_seconds(folder, arguments.tests, "--nsys"))
        median = {name: statistics.median(values) for name, values in runs.items()}
        more = arguments.tests - arguments.few
        plain = (median["plain"] - median["plain_few"]) / more
        profiled = (median["profiled"] - median["profiled_few"]) / more
        fixed = (median["profiled_few"] - arguments.few * profiled) - (
            median["plain_few"] - arguments.few * plain
        )

        from pytest_nsys.capture.nsys import find_nsys

        nsys = find_nsys()
        script = folder / "start_stop.py"
        script.write_text(START_STOP)
        _, out = timed(
            [
                str(nsys.path),
                "profile",
                "--start-later=true",
                "--session-new=bench",
                "--trace=cuda,nvtx",
                "--sample=none",
                "--cpuctxsw=none",
                "--wait=primary",
                "-f",
                "true",
                "-o",
                "bench",
                sys.executable,
                str(script),
                str(nsys.path),
                str(arguments.others),
            ],
            folder,
        )
        line = next(line for line in out.splitlines() if line.startswith("TIMES"))
        start_stop = statistics.median(map(float, line.split()[1:]))
        single = pytest_seconds(folder, 1)
        each = []
        for number in range(arguments.others):
            seconds, _ = timed(
                [
                    str(nsys.path),
                    "profile",
                    "--trace=cuda,nvtx",
                    "--sample=none",
                    "--cpuctxsw=none",
                    "-f",
                    "true",
                    "-o",
                    f"single-{number}",
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                ],
                folder,
            )
            each.append(seconds)
        process = statistics.median(each)

    import torch

    results = {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(0),
        "cpus": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "nsys": nsys.version_text,
        },
        "tests": arguments.tests,
        "runs_s": runs,
        "plain_ms_per_test": plain * 1e3,
        "added_ms_per_test": (profiled - plain) * 1e3,
        "fixed_s": fixed,
        "nsys_start_stop_ms_per_test": start_stop * 1e3,
        "one_nsys_per_test_ms": process * 1e3,
        "one_nsys_per_test_added_ms": (process - single) * 1e3,
    }
    added = results["added_ms_per_test"]
    print(f"{results['device']}, nsys {nsys.version_text}, {arguments.tests} one-round tests")
    print(f"  plain pytest                    {plain * 1e3:10.2f} ms a test")
    print(f"  pytest-nsys adds                {added:10.2f} ms a test, and {fixed:.1f} s once")
    for name, value in (("nsys start/stop", start_stop), ("one nsys per test", process)):
        print(f"  {name:<31} {value * 1e3:10.0f} ms a test ({value * 1e3 / added:.0f}x)")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / "per_test_cost.json"
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
