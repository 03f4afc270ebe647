"""Interrupted runs: the exit code says so, nothing is left running, no baseline is touched."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.harness import Project
from tests.support.seen import Story

WAITING = """
    import os, threading
    import pytest, simgpu

    calls = []

    @pytest.mark.nsys(rounds=3)
    def test_done():
        simgpu.launch("gemm", {us})

    @pytest.mark.nsys(rounds=3)
    def test_waits():
        calls.append(1)
        simgpu.launch("gemm", 10)
        if {waits} and len(calls) == 3:
            with open("ready", "w") as ready:
                ready.write(str(os.getpid()))
            threading.Event().wait()

    def test_ordinary():
        if {ordinary}:
            with open("ready", "w") as ready:
                ready.write(str(os.getpid()))
            threading.Event().wait()
"""


@pytest.mark.parametrize("where", ["waits", "ordinary"])
def test_an_interrupt_ends_everything_and_touches_no_baseline(
    where: str, simulated: Project, temporary: Path
) -> None:
    simulated.write(WAITING.format(us=10, waits=where == "waits", ordinary=where == "ordinary"))
    root = simulated.path / "baselines"
    planted = root / "nvidia-h200/test_it.py/test_done.json"
    planted.parent.mkdir(parents=True)
    planted.write_text("not to be touched")
    os.mkfifo(simulated.path / "ready")
    run = simulated.start("--nsys-update" if where == "waits" else "--nsys")
    pid = int((simulated.path / "ready").read_text())  # blocks until the test is there
    assert psutil.pid_exists(pid)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output
    assert simulated.left_over() == []
    assert [path for path in root.rglob("*") if path.is_file()] == [planted]
    assert planted.read_text() == "not to be touched"
    assert not list(temporary.glob("pytest-nsys-*"))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [('pytest.exit("had enough")', "had enough"), ("raise KeyboardInterrupt", "KeyboardInterrupt")],
)
def test_leaving_the_session_in_a_measured_test_leaves_it_here(
    statement: str, reason: str, simulated: Project, story: Story, temporary: Path
) -> None:
    simulated.write(
        f"""
        import pytest, simgpu
        from story import tell

        pytestmark = pytest.mark.nsys(rounds=1, warmup=0)

        @pytest.fixture(scope="module", autouse=True)
        def module():
            yield
            tell("torn down")

        def test_first():
            simgpu.launch("gemm", 10)

        def test_leaves():
            {statement}
        """
    )
    result = simulated.run("--nsys-update")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"!!!* {reason} !!!*"])
    assert "torn down" in story.of("worker")
    assert not list(simulated.path.rglob("test_leaves*.json"))
    assert not list(temporary.glob("pytest-nsys-*"))
