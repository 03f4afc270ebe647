"""Baselines through the plugin: recorded, compared, updated, and left alone when in doubt."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.storage.baselines import BaselineStore
from tests.support.harness import Project

TEST = """
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=2)

    def test_one(nsys):
        with nsys.range("part"):
            simgpu.launch("gemm", {one})

    def test_two():
        simgpu.launch("gemm", {two})
        simgpu.copy("h2d", 4096)
"""


ENDS = ("json", "timeline.json.gz")
"""The files of a baseline."""


def folder(project: Project) -> Path:
    """Where the project's baselines lie."""
    return project.path / "baselines/nvidia-h200/test_it.py"


def contents(project: Project) -> dict[str, bytes]:
    """Every file below the baselines' folder."""
    root = project.path / "baselines"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_missing_baseline_is_a_note_under_nsys_and_a_failure_in_the_gate(
    simulated: Project,
) -> None:
    simulated.write(TEST.format(one=100, two=100))
    noted = simulated.run("--nsys")
    assert noted.ret == 0
    noted.assert_outcomes(passed=2)
    noted.stdout.fnmatch_lines(
        [
            "2 new",
            "new: test_it.py::test_one",
            "new: test_it.py::test_two",
            "  record their baselines with: pytest --nsys-update-new",
        ]
    )
    failed = simulated.run("--nsys-baseline")
    assert failed.ret == 1
    failed.assert_outcomes(failed=2)
    failed.stdout.fnmatch_lines(["new: no baseline yet: record one with --nsys-update-new"])
    assert not (simulated.path / "baselines").exists()


def test_recording_again_changes_samples_and_nothing_else(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    first = simulated.run("--nsys-update")
    first.stdout.fnmatch_lines(["2 recorded", "recorded test_it.py::test_one"])
    before = contents(simulated)
    assert set(before) == {
        ".gitignore",
        ".lock",
        "nvidia-h200/test_it.py/test_one.json",
        "nvidia-h200/test_it.py/test_one.timeline.json.gz",
        "nvidia-h200/test_it.py/test_two.json",
        "nvidia-h200/test_it.py/test_two.timeline.json.gz",
    }
    assert b".lock" in before[".gitignore"].splitlines()
    simulated.run("--nsys-update").stdout.fnmatch_lines(["updated test_it.py::test_one"])
    after = contents(simulated)
    assert set(after) == set(before)
    for name in before:
        if not name.endswith(".json"):
            continue
        then, now = json.loads(before[name]), json.loads(after[name])
        assert then["nodeid"] == f"test_it.py::{Path(name).stem}"
        assert {"gpu", "driver", "cuda", "nsys", "trace", "versions", "date"} == set(
            then["environment"]
        )
        for document in (then, now):
            for window in document["windows"].values():
                assert set(window["samples"]) >= {"gpu.kernel_time", "wall.time"}
                del window["samples"]
                # The host's time in API calls is no more a fixed thing than a sample is.
                window["calls"] = {name: part["count"] for name, part in window["calls"].items()}
        assert then == now
    # What the simulated device did is the same to the nanosecond, and so are its lines.
    samples = re.compile(rb'"gpu\.kernel_time": .*')
    name = "nvidia-h200/test_it.py/test_one.json"
    assert samples.findall(before[name]) == samples.findall(after[name])


def test_only_missing_ones_are_recorded_and_the_others_are_gated(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    simulated.run("--nsys-update", "-k", "one").assert_outcomes(passed=1, deselected=1)
    before = contents(simulated)
    simulated.write(TEST.format(one=200, two=100))
    result = simulated.run("--nsys-update-new")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "gpu.kernel_time +100*%, limit 3% or 5 us: gemm +100 us (1x)*",
            "recorded test_it.py::test_two",
        ]
    )
    assert "updated" not in result.stdout.str()
    after = contents(simulated)
    assert {name for name in after if after[name] != before.get(name)} == {
        "nvidia-h200/test_it.py/test_two.json",
        "nvidia-h200/test_it.py/test_two.timeline.json.gz",
    }


def test_nothing_is_recorded_of_a_test_that_did_not_pass(simulated: Project) -> None:
    simulated.write(
        """
        import pytest, simgpu

        pytestmark = pytest.mark.nsys(rounds=2, warmup=0)

        @pytest.fixture
        def broken():
            yield
            raise RuntimeError("in the teardown")

        def work():
            simgpu.launch("gemm", 10)

        def test_passes():
            work()

        def test_fails():
            work()
            assert False

        def test_skips():
            work()
            pytest.skip("half way")

        def test_ends_badly(broken):
            work()

        @pytest.mark.xfail
        def test_expected():
            work()
            assert False

        @pytest.mark.nsys(budget={"gpu.kernel_count": 0})
        def test_over_budget():
            work()

        def test_stops_the_run():
            work()
            pytest.exit("enough")

        def test_never_runs():
            work()
        """
    )
    result = simulated.run("--nsys-update")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert sorted(path.name for path in folder(simulated).iterdir()) == [
        "test_passes.json",
        "test_passes.timeline.json.gz",
    ]


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "*/test_cut.json:*: this is not JSON: *"),
    "conflict": (
        lambda text: text.replace(
            ' "plan"', '<<<<<<< HEAD\n "plan": 1,\n=======\n>>>>>>> other\n "plan"', 1
        ),
        "*/test_conflict.json:*: a merge conflict is unresolved",
    ),
    "newer": (
        lambda text: text.replace('"schema": 1', '"schema": 99'),
        "*/test_newer.json:1: the baseline was written by a newer pytest-nsys (schema 99, *",
    ),
    "wrong": (
        lambda text: text.replace('"rounds"', '"round"'),
        "*/test_wrong.json:1: a value is missing or of the wrong kind",
    ),
    "binary": (lambda text: "\x80" + text, "*/test_binary.json cannot be read"),
    "empty": (lambda text: "", "*/test_empty.json:1: this is not JSON: *"),
}


def test_a_damaged_baseline_is_one_clear_error_and_is_left_alone(simulated: Project) -> None:
    body = "(): simgpu.launch('gemm', 10)"
    tests = [f"@nsys\ndef test_{name}{body}" for name in (*DAMAGES, "whole")]
    head = "import pytest, simgpu\n\nnsys = pytest.mark.nsys(rounds=1, warmup=0)\n\n"
    simulated.write(head + "\n\n".join(tests) + "\n")
    simulated.run("--nsys-update").assert_outcomes(passed=7)
    for name, (change, _) in DAMAGES.items():
        path = folder(simulated) / f"test_{name}.json"
        path.write_bytes(change(path.read_text()).encode("latin-1"))
    before = contents(simulated)
    for option in ("--nsys", "--nsys-update"):
        result = simulated.run(option)
        assert result.ret == 1
        result.assert_outcomes(passed=1, failed=6)
        for _, error in DAMAGES.values():
            result.stdout.fnmatch_lines([error, "*What to do: *"])
        assert "Traceback" not in result.stdout.str()
        after = contents(simulated)
        changed = {name for name in after if after[name] != before.get(name)}
        whole = {f"nvidia-h200/test_it.py/test_whole.{end}" for end in ENDS}
        assert changed <= {*whole, ".lock"}


def test_a_baseline_that_cannot_be_written_fails_its_test(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    # A file where a folder should be: unlike permissions, this binds the super-user too.
    blocked = simulated.path / "baselines/nvidia-h200"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("not a folder")
    result = simulated.run("--nsys-update")
    assert result.ret == 1
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_one.json c* be *",
            "What to do: *",
        ]
    )
    assert blocked.read_text() == "not a folder"


def test_two_runs_that_update_at_once_leave_whole_files(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    command = [sys.executable, "-m", "pytest", "--nsys-update", "-p", "no:cacheprovider"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    names = {path.name for path in folder(simulated).iterdir()}
    assert names == {f"{test}.{end}" for test in ("test_one", "test_two") for end in ENDS}
    store = BaselineStore(simulated.path / "baselines")
    for test in ("test_one", "test_two"):
        baseline = store.read("nvidia-h200", f"test_it.py::{test}")
        assert baseline is not None
        assert store.read_timeline(baseline) is not None  # the one of the same run
