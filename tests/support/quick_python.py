"""Stands in for a Python that runs pytest: its "measurements" are drawn in the place of made.

A checkout's ``kernels.json`` says how many microseconds its test takes and how they scatter;
``broken`` in it has the whole run fail, ``no_test`` has it collect nothing. It knows the options of
`pytest_nsys.bisection.bench` alone, and judges with the rule of the gate.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from pytest_nsys.catalogue import lookup
from pytest_nsys.support.units import parse_tolerance
from pytest_nsys.verdict.rule import default_rule

ROUNDS = 5


def write_quick_python(path: Path) -> Path:
    """Write a program that stands in so."""
    from tests.support.harness import write_program  # it takes a while, and only this needs it

    root = Path(__file__).parents[2]
    command = f'PYTHONPATH={root} exec {sys.executable} -m tests.support.quick_python "$@"'
    return write_program(path, f"#!/bin/sh\n{command}\n")


def kernels(us: float = 1000, **more: Any) -> str:
    """The file that says what a checkout takes."""
    return json.dumps({"us": us, **more})


def options_of(words: list[str]) -> dict[str, list[str]]:
    """The options of a command line, each with all its values."""
    options: dict[str, list[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        options.setdefault(name, []).append(value)
    return options


def main(words: list[str]) -> int:
    """Run "pytest"; returns its exit code."""
    options = options_of(words)
    here = Path("kernels.json").read_text()
    beside = Path(options["--nsys-against"][-1], "kernels.json").read_text()
    document = results(here, beside, options)
    if isinstance(document, str):
        print(f"E   {document}\nno tests ran")
        return 2
    Path(options["--nsys-json"][-1]).write_text(json.dumps(document))
    return 0


def results(here: str, beside: str, options: dict[str, list[str]]) -> dict[str, Any] | str:
    """The JSON results of measuring one checkout beside another, or why there are none."""
    now, then = json.loads(here), json.loads(beside)
    if "broken" in now:
        return str(now["broken"])
    processes = int(options.get("--nsys-processes", ["2"])[-1])
    tolerance = options.get("--nsys-tolerance", ["gpu.kernel_time=3%"])[-1].partition("=")[2]
    tests = [] if now.get("no_test") else [_test(now, then, processes, tolerance)]
    unmeasured = [{"nodeid": "test_it.py::test_step", "reason": "failed"}] if not tests else []
    return {"tests": tests, "unmeasured": unmeasured}


def _test(here: Any, beside: Any, processes: int, tolerance: str) -> dict[str, Any]:
    metric = lookup("gpu.kernel_time")
    now, then = _drawn(here, processes), _drawn(beside, processes)
    ruling = default_rule(metric, parse_tolerance(tolerance, metric.unit), then, now)
    change = ruling.current - ruling.baseline
    culprit = {"label": "gemm", "baseline_count": 1, "current_count": 1, "change": change}
    regressed = ruling.decision == "regressed"
    part = {
        **{"key": metric.key, "unit": metric.unit, "kind": metric.kind, "worse": metric.worse},
        **{"gated": True, "status": ruling.decision, "note": "", "limit": ruling.limit},
        **{"change": change, "resolution": 128.0, "culprits": [culprit] * regressed},
        **{"samples": now, "baseline_samples": then},
    }
    notes = []
    if beside.get("no_test"):
        part |= {"status": "new", "change": None, "limit": None, "baseline_samples": None}
        part["culprits"], notes = [], ["there is nothing to compare with: it has no such test"]
    window = {"name": "test", "zero": ["copy.count"], "metrics": [part]}
    test = {"nodeid": "test_it.py::test_step", "status": part["status"], "notes": notes}
    return {**test, "windows": [window]}


def _drawn(what: Any, processes: int) -> tuple[tuple[float, ...], ...]:
    dice, scatter = random.SystemRandom(), what.get("noise", 0.0)
    offsets = [1 + dice.gauss(0, scatter) for _ in range(processes)]
    return tuple(
        tuple(1e3 * what["us"] * (offset + dice.gauss(0, scatter / 2)) for _ in range(ROUNDS))
        for offset in offsets
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
