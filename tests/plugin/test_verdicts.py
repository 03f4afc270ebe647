"""Verdicts over several processes: measured again, too noisy to tell, accepted, replayed."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import Project

# Each test reads what its kernel takes in which of its processes, from the first on, the last one
# counting for all that follow; several numbers are the rounds of that process.
TESTS = """
    import json, os, pathlib
    import pytest, simgpu

    pytestmark = pytest.mark.nsys(warmup=0, rounds=5)

    PROCESSES = pathlib.Path(__file__).with_name("processes")
    PLAN = json.loads(pathlib.Path(__file__).with_name("plan.json").read_text())

    @pytest.fixture
    def times(request):
        "The times of this process, round by round."
        name = request.node.name
        if "SIMGPU_LOG" not in os.environ:
            return iter(())
        PROCESSES.mkdir(exist_ok=True)
        number = len(list(PROCESSES.glob(f"{name}.*")))
        (PROCESSES / f"{name}.{number}").touch()
        plan = PLAN[name]
        us = plan[min(number, len(plan) - 1)]
        return iter(us if isinstance(us, list) else [us] * 99)

    def launch(times):
        simgpu.launch("gemm", next(times))
        simgpu.synchronize()

    def test_steady(times): launch(times)

    def test_flaky(times): launch(times)

    def test_lasting(times): launch(times)

    def test_noisy(times): launch(times)

    def test_known(times): launch(times)

    @pytest.mark.nsys(processes=2, expected={
        "metric": "gpu.kernel_time", "reason": "the new kernel", "until": "2999-12-31"})
    def test_marked(times): launch(times)
"""
NAMES = ("steady", "flaky", "lasting", "noisy", "known", "marked")
NOISE = [700, 850, 1000, 1150, 1300]


def _plan(project: Project, **times: Any) -> None:
    """What the tests take from now on: 1 ms, but for those named."""
    plan = {f"test_{name}": times.get(name, [1000]) for name in NAMES}
    project.write(json.dumps(plan), "plan.json")
    shutil.rmtree(project.path / "processes", ignore_errors=True)


def _metric(test: dict[str, Any], key: str = "gpu.kernel_time") -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (metric for metric in test["windows"][0]["metrics"] if metric["key"] == key)
    return found


def _medians(test: dict[str, Any]) -> list[float]:
    return [sorted(process)[2] / 1000 for process in _metric(test)["samples"]]


@pytest.fixture
def default(simulated: Project) -> Project:
    """A project that says nothing of processes, with baselines of it."""
    (simulated.path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    simulated.write(TESTS)
    _plan(simulated)
    return simulated


def _accept(project: Project, until: datetime.date) -> None:
    project.write(
        f"""
        [[accepted]]
        test = "test_it.py::test_known"
        metric = "gpu.kernel_time"
        limit = "15%"
        reason = "tiles of another size"
        until = {until}
        """,
        "baselines/accepted.toml",
    )


def test_the_gate_from_recording_to_replay(default: Project) -> None:
    project = default
    result = project.run("--nsys-update", "-rx")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [f"nsys: measuring 6 tests in one capture, process {n} of 3" for n in (1, 2, 3)]
    )
    baseline = project.baseline("test_steady")
    samples = baseline["windows"]["test"]["samples"]["gpu.kernel_time"]
    assert samples == [[1000000] * 5] * 3

    slow = [1100]
    _plan(project, flaky=[1031, 1000], lasting=slow, noisy=[NOISE], known=slow, marked=slow)
    today = datetime.date.today()
    _accept(project, today + datetime.timedelta(days=1))
    result, tests = project.results("--nsys-baseline", "-rx", "--nsys-record=recorded")
    result.assert_outcomes(passed=3, failed=1, xfailed=2)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "nsys: measuring 6 tests in one capture, process 1 of 2",
            "nsys: measuring 1 test in one capture, process 2 of 2",
            "nsys: measuring 2 tests again that may have regressed, process 3 of at most 4",
            "nsys: measuring 1 test again that may have regressed, process 4 of at most 4",
            "test_it.py *F*x*",
            "gpu.kernel_time +10.0%, limit 3% or 5 us: gemm +100 us (1x); 1 ms -> 1.1 ms",
            "FAILED test_it.py::test_lasting",
            "  gemm +100 us (1x): gpu.kernel_time +10.0%, *",
            "inconclusive: test_it.py::test_noisy",
            "  *gpu.kernel_time is *too*",
        ],
    )
    summary = result.stdout.str().partition("short test summary info")[2]
    assert f"accepted until {today + datetime.timedelta(days=1)}: tiles of another size" in summary
    assert "accepted until 2999-12-31: the new kernel" in summary

    statuses = {name: test["status"] for name, test in tests.items()}
    assert statuses == {
        "test_steady": "ok",
        "test_flaky": "ok",
        "test_lasting": "regressed",
        "test_noisy": "inconclusive",
        "test_known": "expected",
        "test_marked": "expected",
    }
    assert [name for name, test in tests.items() if test["failed"]] == ["test_lasting"]
    assert _medians(tests["test_steady"]) == [1000]
    assert _medians(tests["test_flaky"]) == [1031, 1000]
    assert _medians(tests["test_lasting"]) == [1100] * 3
    assert _medians(tests["test_marked"]) == [1100] * 2
    noisy = _metric(tests["test_noisy"])
    assert noisy["limit"] > 30_000
    assert noisy["detectable"] > noisy["limit"]
    assert _metric(tests["test_lasting"])["noise"] > 0
    assert _metric(tests["test_marked"])["accepted"].endswith("the new kernel")

    # The recording holds every process, and is judged as they were.
    _plan(project)
    again, replayed = project.results("--nsys-baseline", "--nsys-replay=recorded")
    again.assert_outcomes(passed=3, failed=1, xfailed=2)
    assert {name: test["status"] for name, test in replayed.items()} == statuses
    for name, test in tests.items():
        assert _metric(replayed[name])["samples"] == _metric(test)["samples"], name
    assert not (project.path / "processes").exists()

    # The day after the last one it is a failure again, and so is what cannot be told, if it is to.
    _accept(project, today - datetime.timedelta(days=1))
    result, tests = project.results(
        "--nsys-baseline",
        "--nsys-replay=recorded",
        "-o",
        "nsys_inconclusive=fail",
        "--nsys-html=a.html",
    )
    result.assert_outcomes(passed=2, failed=3, xfailed=1)
    assert [name for name, test in tests.items() if test["failed"]] == [
        "test_lasting",
        "test_noisy",
        "test_known",
    ]
    expired = f"was accepted until {today - datetime.timedelta(days=1)}: tiles of another size"
    assert tests["test_known"]["notes"] == [f"gpu.kernel_time {expired}"]
    result.stdout.fnmatch_lines([f"note: *{expired}"])
    page = (project.path / "a.html").read_text()
    assert all(word in page for word in ("accepted until 2999-12-31", expired, "(noise)"))


def test_a_suspect_that_fails_when_it_is_measured_again_fails_with_that(
    default: Project,
) -> None:
    default.write(
        """
        import os, pathlib, pytest, simgpu

        @pytest.mark.nsys(rounds=2, warmup=0)
        def test_breaks():
            here = pathlib.Path(__file__).parent
            if "SIMGPU_LOG" in os.environ and (here / "baselines").exists():
                assert not (here / "seen").exists() or os.getpid() == int(
                    (here / "seen").read_text()), "state was left behind"
                (here / "seen").write_text(str(os.getpid()))
                simgpu.launch("gemm", 2000)
            else:
                simgpu.launch("gemm", 1000)
        """
    )
    default.run("--nsys-update", "--nsys-processes=1").assert_outcomes(passed=1)
    result = default.run("--nsys-baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: state was left behind*"])


def test_a_run_that_nsys_never_began_fails_when_it_is_replayed_too(
    simulated: Project, install: Callable[..., Path]
) -> None:
    simulated.write(
        """
        import pytest

        @pytest.mark.nsys
        def test_it(): pass
        """
    )
    install("child_not_started")
    for option in ("--nsys-record=recorded", "--nsys-replay=recorded"):
        result = simulated.run("--nsys", option)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["FAILED test_it.py::test_it - nsys ended without starting *"])


def test_an_accepted_list_that_cannot_be_read_is_one_clear_error(default: Project) -> None:
    default.write("[[accepted]]\nuntil = 2026-01-01\n", "baselines/accepted.toml")
    result = default.run("--nsys")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*accepted.toml: entry 1: reason is missing*"])
    result.stdout.no_fnmatch_line("*Traceback*")
