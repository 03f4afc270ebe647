"""The benchmark of real suites: tests marked from outside, in any order, and what it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.large_suite import table
from benchmarks.many_tests import environment, make_project
from tests.support.harness import ROOT


def test_a_project_is_gated_in_another_order_without_a_false_alarm(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", 12, mark="")
    (folder / "test_plain.py").write_text("def test_without_parameters():\n    pass\n")
    work = tmp_path / "work"
    command = [sys.executable, str(ROOT / "benchmarks/large_suite.py"), str(folder), "--tests=10"]
    steps = "--steps=plain,record,gate,shuffled"
    done = subprocess.run(
        [*command, "--processes=1", steps, f"--work={work}", f"--out={tmp_path}"],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "large_suite.json").read_text())["steps"]
    assert [found[step]["exit"] for step in ("plain", "record", "gate", "shuffled")] == [0] * 4
    for step in ("gate", "shuffled"):
        assert found[step]["counts"] == {"ok": 10}, step
        assert found[step]["false_alarms"] == found[step]["exact_changed"] == []
    rows = [line.split() for line in done.stdout.splitlines() if ": exit" not in line]
    assert {row[0]: row[1] for row in rows[1:]} == dict.fromkeys(found, "10")
    # The order was another one, and each test had the same exact numbers.
    ran = [
        [test["nodeid"] for test in json.loads((work / f"{step}.json").read_text())["tests"]]
        for step in ("gate", "shuffled")
    ]
    assert ran[0] != ran[1]
    assert sorted(ran[0]) == sorted(ran[1])


def test_a_false_alarm_is_in_the_table() -> None:
    took = {"processor_s": 1.0, "peak_mb": 100, "clock_s": 2.0, "exit": 1}
    found = {
        "plain": {**took, "exit": 0},
        "gate": {**took, "clock_s": 4.0, "measured": 100, "false_alarms": ["t.py::test"]},
    }
    assert table(found)[-1].split()[:5] == ["gate", "100", "4.0", "40.0", "20.0"]
    assert table(found)[-1].split()[5] == "1"
