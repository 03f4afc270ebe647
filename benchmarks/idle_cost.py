"""What the idle plugin costs: ``pytest --collect-only`` of an empty suite with and without it.

    python benchmarks/idle_cost.py --out benchmarks/results

Both are run alternately in an environment that has the plugin installed and no other (that of
``make demo``: other plugins import jinja2, too); ``-p no:nsys`` is the side without it. Also checks
that nothing of pandas, jinja2 or nvtx is imported.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

WITHOUT = ("-p", "no:nsys")
CHECK = """
import sys, pytest
pytest.main(["--collect-only", "-q"])
heavy = {"pandas", "numpy", "jinja2", "nvtx", "pynvml", "psutil", "filelock"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def seconds(folder: Path, *args: str) -> float:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *args]
    began = time.perf_counter()
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=folder, stdout=null, stderr=null, check=False)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        done = subprocess.run(
            [sys.executable, "-c", CHECK], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        with_plugin, without = [], []
        seconds(folder)
        for _ in range(arguments.runs):
            with_plugin.append(seconds(folder))
            without.append(seconds(folder, *WITHOUT))
    added = statistics.median(with_plugin) - statistics.median(without)
    results = {
        "date": datetime.date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "pytest": version("pytest"),
            "pytest-nsys": version("pytest-nsys"),
        },
        "runs": arguments.runs,
        "without_ms": statistics.median(without) * 1e3,
        "with_ms": statistics.median(with_plugin) * 1e3,
        "added_ms": added * 1e3,
        "added_percent": added / statistics.median(without) * 100,
    }
    print(json.dumps(results, indent=1))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "idle_cost.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
