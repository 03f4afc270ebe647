"""Baselines through the plugin: recorded, compared, updated, and left alone when in doubt."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nsys.storage.baselines import BaselineStore
from tests.support.harness import Project, git

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
            "  test_one * us ±*",
            "  test_two * us ±*",
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
    first.stdout.fnmatch_lines(["2 recorded", "  test_one *"])
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
    again = simulated.run("--nsys-update")
    again.stdout.fnmatch_lines(["2 unchanged"])
    assert "updated" not in again.stdout.str()
    assert contents(simulated) == before, "nothing has changed"
    again = simulated.run("--nsys-update", "--nsys-rounds=3")
    again.stdout.fnmatch_lines(["2 updated", "updated test_it.py::test_one"])
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
        assert (then["plan"].pop("rounds"), now["plan"].pop("rounds")) == (2, 3)
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
    assert samples.findall(before[name]) != samples.findall(after[name])


def test_a_baseline_and_a_recording_know_the_commit(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    git(simulated.path, "init", "-q")
    git(simulated.path, "add", "test_it.py")
    git(simulated.path, "commit", "-qm", "one")
    one = git(simulated.path, "rev-parse", "HEAD")
    simulated.run("--nsys-update", "--nsys-record=recording", "-k", "one")
    before = contents(simulated)
    (document,) = (json.loads(text) for name, text in before.items() if name.endswith("one.json"))
    assert document["environment"]["commit"] == one
    simulated.write(TEST.format(one=100, two=200))
    git(simulated.path, "commit", "-qam", "two")
    two = git(simulated.path, "rev-parse", "HEAD")
    simulated.run("--nsys-update", "-k", "one").stdout.fnmatch_lines(["1 unchanged"])
    assert contents(simulated) == before, "another commit is no change of what is measured"
    for options, commit in ((("--nsys",), two), (("--nsys-replay=recording",), one)):
        simulated.results(*options, "-k", "one")
        results = json.loads((simulated.path / "results.json").read_text())
        assert results["environment"]["commit"] == commit


def test_baselines_without_a_test_are_listed_and_a_renamed_test_is_known(
    simulated: Project,
) -> None:
    simulated.write(TEST.format(one=100, two=100))
    simulated.run("--nsys-update").assert_outcomes(passed=2)
    renamed = TEST.format(one=100, two=100).replace("test_two", "test_second")
    simulated.write(renamed + "\n    del test_one\n    def test_deselected(): pass\n")
    report = simulated.path / "summary.md"
    result, tests = simulated.results(
        "--nsys-baseline", f"--nsys-markdown={report}", "-k", "not deselected"
    )
    result.assert_outcomes(failed=1, deselected=1)
    command = "pytest-nsys baselines rename test_it.py::test_two test_it.py::test_second"
    result.stdout.fnmatch_lines(
        [
            f"new: no baseline, but that of test_it.py::test_two, *if it was renamed: {command}",
            "baseline without a test: test_it.py::test_one (nvidia-h200)",
            "baseline without a test: test_it.py::test_two (nvidia-h200)",
            "  it looks like test_it.py::test_second, which is new; if it was renamed:",
            f"  {command}",
            "  remove what is left behind with: pytest-nsys baselines prune",
        ]
    )
    assert tests["test_second"]["status"] == "new"
    document = json.loads((simulated.path / "results.json").read_text())
    assert document["orphans"] == [
        {
            "path": f"baselines/nvidia-h200/test_it.py/test_{name}.json",
            "nodeid": f"test_it.py::test_{name}",
            "device": "nvidia-h200",
            "looks_like": like,
            "unmarked": False,
        }
        for name, like in (("one", ""), ("two", "test_it.py::test_second"))
    ]
    assert "2 baselines without a test" in report.read_text()
    partly = simulated.run("--nsys", "test_it.py::test_second")
    assert "baseline without" not in partly.stdout.str(), "a part of the file says nothing"
    simulated.write(renamed.replace("def test_one", "def helper"))
    unmarked = simulated.write(
        "def test_one(): pass\n" + textwrap.dedent(renamed).replace("def test_one", "def helper")
    )
    text = unmarked.read_text().replace("pytestmark =", "mark =")
    unmarked.write_text(text.replace("def test_second", "@mark\ndef test_second"))
    result = simulated.run("--nsys")
    result.stdout.fnmatch_lines(
        [
            "baseline without a test: test_it.py::test_one (nvidia-h200)",
            "  the test is there, and is not measured: has it lost its marker?",
        ]
    )


def test_a_folder_of_baselines_that_is_named_is_there(simulated: Project) -> None:
    simulated.write(TEST.format(one=100, two=100))
    option = f"--nsys-baseline-dir={simulated.path}/elsewhere"
    for mode in ("--nsys", "--nsys-baseline"):
        result = simulated.run(mode, option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                "ERROR: there is no folder of baselines */elsewhere",
                "What to do: correct nsys_baseline_dir, or record baselines there *",
            ]
        )
    simulated.ini("nsys_baseline_dir = elsewhere")
    simulated.run("--nsys", "-k", "one").assert_outcomes(passed=1, deselected=1)
    assert simulated.run("--nsys-baseline").ret == pytest.ExitCode.USAGE_ERROR
    simulated.run("--nsys-update", option, "-k", "one").assert_outcomes(passed=1, deselected=1)
    simulated.run("--nsys-baseline", option, "-k", "one").assert_outcomes(passed=1, deselected=1)


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
