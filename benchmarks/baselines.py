"""What looking after many baselines costs: ``pytest-nsys baselines`` in a folder of 10,000, beside
reading the same files with ``json``, and a list of their names.

    python benchmarks/baselines.py [--count N] > benchmarks/results/baselines.json

CPU seconds of whole processes, the least of five, with the files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMES = 5
READ_ALL = """
import json, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.json")):
    json.loads(path.read_bytes())
"""
NAMES = "import pathlib, sys; print(*sorted(pathlib.Path(sys.argv[1]).rglob('*.json')))"
ORPHANS = """
import pathlib, sys
from pytest_nsys.storage.baselines.orphans import Collection, orphans
files = frozenset(f"tests/test_{n:03}.py" for n in range(int(sys.argv[2])))
nodeids = frozenset(f"{file}::test_kernel[{n}]" for file in files for n in range(99))
found = [*orphans(pathlib.Path(sys.argv[1]), Collection(pathlib.Path("/nowhere"), nodeids, files))]
assert len(found) == len(files), len(found)
"""


def make(folder: Path, count: int) -> int:
    """As many baselines, of a hundred tests in a file, each as large as a real one; their bytes."""
    from pytest_nsys.storage.baselines.document import parse, render
    from pytest_nsys.storage.baselines.location import baseline_path

    sources = sorted((ROOT / "baselines").rglob("*.json"))
    measured = [parse(path.read_text(encoding="utf-8"), str(path)) for path in sources]
    texts = [(one, render(one)) for one in measured]
    size = 0
    for number in range(count):
        one, text = texts[number % len(texts)]
        nodeid = f"tests/test_{number // 100:03}.py::test_kernel[{number % 100}]"
        path = folder / baseline_path("nvidia-h200", nodeid)
        path.parent.mkdir(parents=True, exist_ok=True)
        quoted = f'"nodeid": {json.dumps(one.nodeid)}', f'"nodeid": {json.dumps(nodeid)}'
        size += path.write_text(text.replace(*quoted), encoding="utf-8")
    return size


def seconds(*command: str) -> float:
    """The least CPU time of a command."""
    found = []
    for _ in range(TIMES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(min(found), 3)


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        size = make(Path(name), count)
        python = sys.executable
        ours = [python, "-m", "pytest_nsys", "baselines"]
        result = {
            "baselines": count,
            "bytes": size,
            "python": platform.python_version(),
            "cpu_seconds": {
                "python -c pass": seconds(python, "-c", "pass"),
                "names of the files": seconds(python, "-c", NAMES, name),
                "json.loads of all": seconds(python, "-c", READ_ALL, name),
                "baselines list": seconds(*ours, "list", "--baseline-dir", name),
                "baselines show, of one test": seconds(
                    *ours, "show", "--baseline-dir", name, "tests/test_000.py::test_kernel[1]"
                ),
                "those without a test, 1 in 100": seconds(
                    python, "-c", ORPHANS, name, str(count // 100)
                ),
            },
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
