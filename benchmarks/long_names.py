"""How the time to read a kernel's name grows with its length, for names made to take long.

    python -m benchmarks.long_names --out benchmarks/results

The figure is the ratio of the times for names of 200,000 and of 100,000 characters, each the least
of some runs: 2 where time is in proportion to the length, 4 where it grows with its square. Names
that take less than a millisecond have no ratio.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

from pytest_nsys.kernels import canonical, category
from tests.support.strange_names import hostile

SHORTER, LONGER = 100_000, 200_000


def least_ms(name: str, runs: int) -> float:
    """The least time in which a name is made canonical and is put into a category."""
    times = []
    for _ in range(runs):
        canonical.cache_clear()
        category.cache_clear()
        began = time.process_time()
        category(canonical(name))
        times.append(time.process_time() - began)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    longer = hostile(LONGER)
    names = {}
    for kind, name in hostile(SHORTER).items():
        times = least_ms(name, given.runs), least_ms(longer[kind], given.runs)
        names[kind] = {
            "ms": [round(ms, 2) for ms in times],
            "ratio": round(times[1] / times[0], 2) if times[0] >= 1 else None,
        }
    results = {
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), "pytest-nsys": version("pytest-nsys")},
        "characters": [SHORTER, LONGER],
        "runs": given.runs,
        "largest_ratio": max(found["ratio"] for found in names.values() if found["ratio"]),
        "names": names,
    }
    print(json.dumps(results, indent=1))
    if given.out:
        (given.out / "long_names.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
