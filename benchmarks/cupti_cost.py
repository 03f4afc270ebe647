"""What a run with CUPTI in pytest's own process costs, beside plain pytest and a run with nsys.

    python -m benchmarks.cupti_cost --out benchmarks/results             # GPU, PyTorch, nsys

One small test of PyTorch is run plainly, with ``--nsys-capture=cupti`` and with
``--nsys-capture=nsys``, in turn, several times; then one that launches 10,000 kernels in its only
round. It takes some three minutes, and exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fixed_costs import GPU_TEST, PYTEST
from benchmarks.judge_cost import surroundings

LARGE = GPU_TEST.replace("@pytest.mark.nsys", "@pytest.mark.nsys(rounds=1, warmup=0)").replace(
    "range(20)", "range(10_000)"
)
WAYS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "cupti": ("--nsys", "--nsys-capture=cupti"),
    "nsys": ("--nsys", "--nsys-capture=nsys"),
}
TARGETS = {"cupti_over_plain_s": 1.5, "kernels_10k_more_s": 1.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        took = {
            name: _measured(text, Path(folder), given.repeats)
            for name, text in (("small", GPU_TEST), ("large", LARGE))
        }
    results = {**surroundings("torch", "numpy", "pandas"), **summary(took), "seconds": took}
    print("\n".join(lines(results)))
    if given.out:
        text = json.dumps(results, indent=1) + "\n"
        (given.out / "cupti_cost.json").write_text(text, encoding="utf-8")
    return int(bool(results["missed"]))


def _measured(text: str, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, by its way; the first of each, which compiles and caches, is not one."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(repeats + 1):
        for name, options in WAYS.items():
            took = _seconds([*PYTEST, *options], folder)
            if number:
                found[name].append(took)
    return found


def _seconds(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return took


def summary(took: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Medians, what they are over plain pytest, and which targets are missed."""
    medians = {
        name: {way: round(statistics.median(runs), 3) for way, runs in ways.items()}
        for name, ways in took.items()
    }
    over = {
        name: {way: round(ways[way] - ways["plain"], 3) for way in ("cupti", "nsys")}
        for name, ways in medians.items()
    }
    figures = {
        "cupti_over_plain_s": over["small"]["cupti"],
        "kernels_10k_more_s": round(over["large"]["cupti"] - over["small"]["cupti"], 3),
    }
    small = medians["small"]
    return {
        "medians_s": medians,
        "over_plain_s": over,
        **figures,
        "cupti_over_nsys": round(small["cupti"] / small["nsys"], 3),
        "targets": TARGETS,
        "missed": [name for name, most in TARGETS.items() if figures[name] > most],
    }


def lines(results: Mapping[str, Any]) -> list[str]:
    """The table."""
    rows = [f"{'':8} {'plain':>8} {'cupti':>8} {'nsys':>8}  s, medians"]
    for name, ways in results["medians_s"].items():
        rows.append(f"{name:8} " + " ".join(f"{ways[way]:8.2f}" for way in WAYS))
    for name, most in results["targets"].items():
        state = "MISSED" if name in results["missed"] else "kept"
        rows.append(f"{name}: {results[name]:.2f} s, at most {most:g}: {state}")
    rows.append(f"a run with CUPTI takes {results['cupti_over_nsys']:.0%} of one with nsys")
    return rows


if __name__ == "__main__":
    sys.exit(main())
