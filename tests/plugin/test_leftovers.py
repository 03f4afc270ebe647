"""What earlier tests have left running, and launches work in the rounds of later ones."""

from __future__ import annotations

import pytest

from tests.support.harness import Project

TESTS = """
    import subprocess, sys, threading, time
    from pathlib import Path

    import pytest, simgpu

    pytestmark = pytest.mark.nsys(rounds=3)
    CHILD = "import simgpu, time\\nfor _ in range(2000):"
    CHILD += " simgpu.launch('prefetch', 5); time.sleep(0.002)"
    SHELL = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"

    def launch_later():
        for _ in range(2000):
            simgpu.launch("prefetch", 5)
            time.sleep(0.002)

    def wait_for_launches(left):
        simgpu.launch("gemm", 1000)
        simgpu.synchronize()
        time.sleep(0.05 if left else 0.0)

    @pytest.fixture(scope="module")
    def helper():
        process = subprocess.Popen([sys.executable, "-c", CHILD])
        time.sleep(0.5)
        yield
        process.kill()

    def test_uses_helper(helper):
        wait_for_launches(True)

    def test_shares_helper(helper):
        wait_for_launches(True)
"""
LEAVES = """
    def test_leaves_{what}():
        if not hasattr(test_leaves_{what}, "left"):
            test_leaves_{what}.left = {start}
            time.sleep(0.5)
        simgpu.launch("k", 100)
        simgpu.synchronize()
"""
STARTS = {
    "process": "subprocess.Popen([sys.executable, '-c', CHILD])",
    "thread": "threading.Thread(target=launch_later, daemon=True).start()",
    "grandchild": "subprocess.Popen([sys.executable, '-c', SHELL, CHILD])",
}
VICTIM = """
    def test_victim():
        wait_for_launches(True)
"""


@pytest.mark.parametrize("what", STARTS)
def test_a_test_that_what_is_left_running_disturbs_is_measured_alone(
    simulated: Project, what: str
) -> None:
    simulated.write(TESTS + LEAVES.format(what=what, start=STARTS[what]) + VICTIM)
    simulated.run("--nsys-update", "-k", "victim").assert_outcomes(passed=1, deselected=3)
    result, tests = simulated.results(
        "--nsys-baseline", "-k", "victim or leaves", "-o", "nsys_confirm=1"
    )
    assert tests["test_victim"]["status"] in ("ok", "improved")
    kind = "thread" if what == "thread" else "process"
    result.stdout.fnmatch_lines(
        ["nsys: measuring *test_victim again, alone: earlier tests left something running"]
    )
    (note,) = tests["test_victim"]["notes"]
    assert f"came from a {kind} that test_it.py::test_leaves_{what} left running" in note


def test_a_baseline_recorded_beside_them_warns_and_fixtures_are_none(simulated: Project) -> None:
    simulated.write(TESTS + LEAVES.format(what="it", start=STARTS["process"]) + VICTIM)
    result, tests = simulated.results("--nsys-update")
    assert result.ret == 0
    warned = {name for name, test in tests.items() if any("left" in w for w in test["warnings"])}
    assert warned == {"test_victim"}
    result.stdout.fnmatch_lines(["  *launches in its rounds came from a process that *leaves_it*"])
