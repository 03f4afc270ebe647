"""What ``pytest-nsys stats`` takes for a million kernels in an SQLite export beside Parquet.

    python -m benchmarks.stats_cost --out benchmarks/results

The export is made up (`benchmarks.synthetic_export`), needs no GPU and no nsys, and is the same in
both forms. The figure is the ratio of medians of processor time, which other work on the machine
disturbs less than time on the clock; that is told, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.judge_cost import surroundings, took

TARGET = 1.6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kernels", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make = [sys.executable, "-m", "benchmarks.synthetic_export", temporary]
        make += ["--kernels", str(given.kernels)]
        for command in (make, [*make, "--sqlite"]):
            subprocess.run(command, check=True)
        times: dict[str, list[tuple[float, float]]] = {"parquet": [], "sqlite": []}
        for run in range(given.runs + 1):
            for form, found in times.items():
                one = took(folder, "pytest_nsys", "stats", f"export.{form}")
                if run:  # the first one fills caches
                    found.append(one)
    processor, clock = (
        {form: statistics.median(one[n] for one in found) for form, found in times.items()}
        for n in range(2)
    )
    results = {
        **surroundings("pandas", "pyarrow"),
        "kernels": given.kernels,
        "runs": given.runs,
        "processor_s": {form: round(seconds, 2) for form, seconds in processor.items()},
        "clock_s": {form: round(seconds, 2) for form, seconds in clock.items()},
        "ratio": round(processor["sqlite"] / processor["parquet"], 2),
    }
    text = json.dumps(results, indent=1)
    print(text)
    print(f"{'within' if results['ratio'] <= TARGET else 'BEYOND'} {TARGET:g}")
    if given.out:
        (given.out / "stats_cost.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
