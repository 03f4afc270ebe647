"""Measured tests on other machines (``--tx``): their captures are brought here."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.distribution import capture
from tests.support.harness import Project, write_program
from tests.support.seen import Story, samples

pytestmark = pytest.mark.usefixtures("story")

TESTS = """
    import os, psutil, pytest, simgpu, time
    from story import tell

    @pytest.mark.nsys(rounds=2)
    @pytest.mark.parametrize("n", range(1, 5))
    def test_it(n, nsys):
        tell(f"{os.environ['PYTEST_XDIST_WORKER']} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        with nsys.range("part"):
            for _ in range(n):
                simgpu.launch("gemm", 10)
        simgpu.copy("d2h", 100)
        if n == int(os.environ.get("DIES", 0)):
            os._exit(3)
"""


def losing(number: int, sent: signal.Signals) -> str:
    """Tests of which one sends a signal to what the run's connection to its machine ends in."""
    return (
        TESTS
        + f"""
        if n == {number}:
            above = psutil.Process().parents()
            gateway = next(one for one in above if "nsys" not in " ".join(one.cmdline()))
            gateway.send_signal({int(sent)})
            time.sleep(60)
"""
    )


@pytest.fixture(autouse=True)
def with_xdist(few_plugins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist is loaded."""
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -p xdist")


@pytest.fixture
def server(simulated: Project) -> Iterator[str]:
    """execnet's server on this machine, in a folder and with a TMPDIR and a GPU of its own."""
    machine = simulated.path / "machine"
    (machine / "tmp").mkdir(parents=True)
    environment = {"TMPDIR": str(machine / "tmp"), "CUDA_VISIBLE_DEVICES": "5"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"],
        cwd=machine,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline().rpartition(", ")[2].rstrip(")\n")
    yield f"socket=127.0.0.1:{port}"
    process.kill()
    process.communicate()
    gc.collect()  # a socket that is left open is a warning, which is an error


@pytest.fixture
def ssh(simulated: Project) -> str:
    """A program called ssh that runs the command here."""
    write_program(simulated.path / "bin/ssh", '#!/bin/sh\nshift 2\neval "exec $*"\n')
    return f"ssh=gpu-node//python={sys.executable}//chdir={simulated.path}"


def measured(tests: dict[str, Any]) -> dict[str, Any]:
    keys = ("gpu.kernel_count", "memcpy.d2h.bytes", "gpu.kernel_time")
    return {
        name: [samples(test, key, window) for key in keys for window in ("test", "part")]
        for name, test in tests.items()
    }


def test_a_worker_on_another_machine_has_its_gpus_and_its_capture_is_brought(
    simulated: Project, story: Story, server: str
) -> None:
    simulated.write(TESTS)
    _, here = simulated.results("-n", "0", "--nsys")
    story.lines()
    folder = simulated.path / "recording"
    spec = f"{server}//chdir={simulated.path}"
    options = ("--dist=load", f"--tx={spec}", "--nsys-update", f"--nsys-record={folder}")
    result, there = simulated.results(*options)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["nsys: 1 worker: gw0 on 127.0.0.1:*"])
    assert measured(there) == measured(here)
    assert {*story.of("worker")} == {"gw0 5"}
    replay, again = simulated.results("--nsys-baseline", f"--nsys-replay={folder}")
    replay.assert_outcomes(passed=4)
    assert measured(again) == measured(here)
    assert [*(simulated.path / "machine/tmp").iterdir()] == []


@pytest.mark.filterwarnings("ignore:The --rsyncdir command:DeprecationWarning")
def test_the_project_is_copied_to_where_it_is_not(
    simulated: Project, story: Story, server: str
) -> None:
    project = simulated.path / "project"
    simulated.write(TESTS.replace("tell(f", "tell(__file__ + ' ' + f"), "project/test_it.py")
    (project / "pytest.ini").write_text("[pytest]\nnsys_confirm = 0\n")
    (project / "story.py").write_text((simulated.path / "story.py").read_text())
    options = ("--dist=load", f"--tx={server}", f"--rsyncdir={project}", "--nsys")
    simulated.run(*options, str(project)).assert_outcomes(passed=4)
    copy = simulated.path / "machine/pyexecnetcache/project/test_it.py"
    assert {line.split()[0] for line in story.of("worker")} == {str(copy)}


def test_workers_by_ssh_share_the_tests_and_one_that_dies_loses_its_own(
    simulated: Project, story: Story, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,8")
    monkeypatch.setenv("DIES", "2")
    simulated.write(TESTS)
    result, tests = simulated.results("--dist=load", f"--tx=2*{ssh}", "--nsys")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "nsys: 2 workers: gw0 on gpu-node, gw1 on gpu-node",
            "FAILED *test_it?2? - the worker ended suddenly with exit code 3",
        ]
    )
    assert sorted(tests) == ["test_it[1]", "test_it[3]", "test_it[4]"]
    assert {line.split()[1] for line in story.of("worker")} == {"7", "8"}


def test_a_machine_that_is_lost_loses_the_tests_that_it_ran_and_no_others(
    simulated: Project, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,8")
    simulated.write(losing(4, signal.SIGKILL))
    result, tests = simulated.results("--dist=load", f"--tx=2*{ssh}", "--nsys")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gpu-node does not answer, or has ended without saying how *"])
    assert "test_it[1]" in tests
    assert "test_it[4]" not in tests


def test_a_machine_that_is_silent_is_lost(
    simulated: Project, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "ALIVE_S", 0.2)
    simulated.write(losing(1, signal.SIGSTOP))
    result = simulated.run("--dist=load", f"--tx={ssh}", "--nsys")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        ["gpu-node does not answer, or *", "  nothing was heard of it for 4.8 s"]
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("socket=127.0.0.1:1", ["the machine of socket=127.0.0.1:1* cannot be reached"]),
        (
            f"ssh=gpu-node//python={Path(sys.base_prefix, 'bin/python3')}",
            ["gpu-node does not answer*", "*ModuleNotFoundError*", "What to do: *is installed*"],
        ),
    ],
)
def test_a_machine_on_which_no_worker_can_be_started_is_named(
    simulated: Project, ssh: str, spec: str, words: list[str]
) -> None:
    simulated.write(TESTS)
    simulated.pytester.mkdir("elsewhere")
    result = simulated.run("--dist=load", f"--tx={spec}//chdir=elsewhere", "--nsys")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(words)
    gc.collect()


def test_a_machine_that_answers_otherwise_is_named(simulated: Project, ssh: str) -> None:
    simulated.write(TESTS)
    there = ssh.replace(f"chdir={simulated.path}", "chdir=/no/such")
    result = simulated.run("--dist=load", f"--tx={there}", "--nsys")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        ["the machine of ssh=* cannot be reached", "  FileNotFoundError: *"]
    )
    program = simulated.path / "bin/ssh"
    program.write_text(program.read_text().replace("shift 2", "echo Welcome; shift 2"))
    result = simulated.run("--dist=load", f"--tx={ssh}", "--nsys")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["  what it says first is not what was asked for: *"])
    gc.collect()


def test_machines_with_fewer_gpus_than_workers_are_named(
    simulated: Project, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    simulated.write(TESTS)
    result = simulated.run("--dist=load", f"--tx=2*{ssh}", "--nsys")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        ["2 workers are to measure, and 1 GPU is visible", "  on gpu-node", "  visible: 7"]
    )


def test_what_cannot_be_on_other_machines_is_refused(simulated: Project) -> None:
    simulated.write(TESTS)
    for options, words in (
        (("--px=id=p//popen", "--tx=popen//via=p"), "--px and via= (pytest-xdist) cannot*"),
        (("--tx=ssh=gpu-node", "--nsys-against=HEAD"), "--nsys-against measures on this machine*"),
    ):
        refused = simulated.run("--dist=load", *options, "--nsys")
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines([f"ERROR: {words}"])
