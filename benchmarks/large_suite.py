"""What a real project's suite is like under the gate: its tests, marked from outside.

    python benchmarks/large_suite.py FOLDER [TESTS ...] [--tests 1000] [--out benchmarks/results]

For a machine with a GPU and nsys: FOLDER is the root of a project of kernels (Liger-Kernel,
Triton), TESTS its files or folders of tests. Of these a thousand, parametrised ones first, are
marked by a plugin, so that nothing of the project changes. They are run plainly, recorded, gated
unchanged twice, and gated once more in random order; a table says how long that took, what it adds
to a test, and which verdicts were false alarms: there is nothing to be found. Tests that fail by
themselves are counted apart.

Steps can be run one at a time (``--steps gate``), with ``--work`` naming the folder that they
share; all options behind ``--`` go to pytest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

STEPS = {
    "plain": [],
    "record": ["--nsys-update", "--nsys-record={work}/recording"],
    "gate": ["--nsys-baseline"],
    "again": ["--nsys-baseline"],
    "shuffled": ["--nsys-baseline"],
}
"""What is run, in this order, with which options."""


def run(step: str, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """One run of pytest: what it took and what it found."""
    meter, results = work / f"{step}-meter.json", work / f"{step}.json"
    results.unlink(missing_ok=True)
    options = [option.format(work=work) for option in STEPS[step]]
    if options:
        options += [f"--nsys-baseline-dir={work}/baselines", f"--nsys-json={results}"]
        options += [f"--nsys-processes={given.processes}"] if step == "record" else []
    command = [sys.executable, "-m", "pytest", *given.paths, "-q", "-p", "suite_plugin", "-p"]
    command += ["no:cacheprovider", *options, *given.pytest]
    python_path = [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
        "SUITE_TESTS": str(given.tests),
        "SUITE_METER": str(meter),
        **({"SUITE_SEED": "1"} if step == "shuffled" else {}),
    }
    with (work / f"{step}.txt").open("w", encoding="utf-8") as printed:
        done = subprocess.run(
            command, cwd=given.folder, env=environment, stdout=printed, stderr=printed, check=False
        )
    found = {"exit": done.returncode, **json.loads(meter.read_text(encoding="utf-8"))}
    if results.exists():
        found |= _found(json.loads(results.read_text(encoding="utf-8")))
        found["json_mb"] = _megabytes(results)
    if step == "record":
        found["recording_mb"] = _megabytes(*(work / "recording").glob("*"))
    (work / f"{step}-found.json").write_text(json.dumps(found), encoding="utf-8")
    return found


def _found(document: dict[str, Any]) -> dict[str, Any]:
    tests = document["tests"]
    exact = {
        test["nodeid"]
        for test in tests
        for window in test["windows"]
        for metric in window["metrics"]
        if metric["kind"] == "exact" and metric["gated"] and metric["change"]
    }
    return {
        "measured": len(tests),
        "counts": {status: count for status, count in document["counts"].items() if count},
        "false_alarms": sorted(test["nodeid"] for test in tests if test["failed"]),
        "exact_changed": sorted(exact),
        "seconds": document["seconds"],
    }


def _megabytes(*files: Path) -> float:
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def table(found: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of the table."""
    lines = [
        f"{'':10}{'tests':>7}{'seconds':>9}{'ms/test':>9}{'over plain':>12}{'false':>7}"
        f"{'unclear':>9}{'exact':>7}{'peak MB':>9}{'JSON MB':>9}"
    ]
    plain = found.get("plain")
    for step, of in found.items():
        tests = of.get("measured", 0) or max(o.get("measured", 0) for o in found.values())
        each = of["clock_s"] / max(tests, 1) * 1e3
        over = f"{each - plain['clock_s'] / max(tests, 1) * 1e3:.1f}" if plain else "-"
        counts = of.get("counts", {})
        over = "-" if step == "plain" else over
        alarms = str(len(of["false_alarms"])) if step not in ("plain", "record") else "-"
        lines.append(
            f"{step:10}{tests:7}{of['clock_s']:9.1f}{each:9.1f}{over:>12}"
            f"{alarms:>7}{counts.get('inconclusive', 0):9}"
            f"{len(of.get('exact_changed', ())):7}{of['peak_mb']:9}{of.get('json_mb', 0):9}"
        )
    return lines


def main() -> None:
    """Run the steps, and print the table."""
    arguments, options = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="root of the project")
    parser.add_argument("paths", nargs="*", help="its tests, from there")
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=3, help="of a baseline")
    parser.add_argument("--steps", default=",".join(STEPS), help="some of them, with commas")
    parser.add_argument("--work", type=Path, help="where the steps leave what they made")
    parser.add_argument("--out", type=Path, help="folder for large_suite.json")
    given = parser.parse_args(arguments)
    given.pytest = options
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        for step in given.steps.split(","):
            took = run(step, given, work)
            print(f"{step}: exit {took['exit']}, {took['clock_s']:.1f} s", flush=True)
        kept = {step: work / f"{step}-found.json" for step in STEPS}
        found = {step: json.loads(f.read_text()) for step, f in kept.items() if f.exists()}
    print("\n".join(table(found)))
    for step in ("gate", "again", "shuffled"):
        for nodeid in found.get(step, {}).get("false_alarms", ())[:20]:
            print(f"false alarm ({step}): {nodeid}")
    if given.out:
        results = {
            "date": date.today().isoformat(),
            "project": given.folder.resolve().name,
            "tests": given.tests,
            "processes": given.processes,
            "steps": found,
        }
        text = json.dumps(results, indent=1) + "\n"
        (given.out / "large_suite.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
