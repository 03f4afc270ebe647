"""The gate at work, without a GPU: two recordings from an H200 against the baselines in git.

The first recording is the same code as the baselines': it passes. In the second one, made with
EXAMPLES_REGRESSION=1, four slips were made: it fails, and this script exits with 0 only if it
fails exactly so. An HTML report of it is written to demo-report.html.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
REPORT = EXAMPLES.parent / "demo-report.html"

# What each slip must be caught by, among other things.
SLIPS = {
    "test_gelu": {"gpu.kernel_count", "gpu.kernel_time", "mem.peak"},
    "test_training_step": {"memcpy.d2h.count", "sync.count"},
    "test_attention": {"gpu.kernel_count", "gpu.kernel_time", "mem.peak"},
    "test_upload": {"memcpy.h2d.bytes", "memcpy.h2d.count"},
}


def gate(recording: str, *args: str) -> tuple[int, dict[str, set[str]]]:
    """Judge a recording; returns the exit code and, per failed test, its regressed metrics."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nsys-baseline"),
            f"--nsys-replay={Path('recordings') / recording}",
            f"--nsys-json={results}",
            *args,
        ]
        print(f"$ pytest {' '.join(command[3:])}", flush=True)
        code = subprocess.run(command, cwd=EXAMPLES, check=False).returncode
        tests = json.loads(results.read_text(encoding="utf-8"))["tests"] if code < 2 else []
    failed = {
        test["nodeid"].partition("::")[2]: {
            metric["key"]
            for window in test["windows"]
            for metric in window["metrics"]
            if metric["status"] == "regressed"
        }
        for test in tests
        if test["failed"]
    }
    return code, failed


def main() -> int:
    print("1. The code of the baselines, measured again: it must pass.\n")
    code, failed = gate("h200", "-q")
    passed = code == 0 and not failed
    print("\n2. The same tests with four slips in them: the gate must catch each.\n")
    code, failed = gate("h200-slips", "-q", f"--nsys-html={REPORT}")
    caught = (
        code == 1
        and failed.keys() == SLIPS.keys()
        and all(metrics <= failed[name] for name, metrics in SLIPS.items())
    )
    print()
    if passed and caught:
        print("As it should be: the first recording passed, and in the second each of the four")
        print(f"slips was caught by its cause. The report of the second: {REPORT}")
        return 0
    print("NOT as it should be:", "" if passed else "the first recording did not pass;", failed)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
