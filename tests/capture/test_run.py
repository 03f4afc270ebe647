"""One worker under one nsys: how it ends, and that nothing of it is left."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_nsys.capture.run import Deadlines, WorkerRun, worker_environment
from pytest_nsys.capture.workers import Command, Workers
from pytest_nsys.errors import (
    DeadlineExceeded,
    NsysLaunchFailed,
    NsysUsageError,
    WorkerFailed,
)
from pytest_nsys.process.limits import Limits
from pytest_nsys.process.run_folder import RunFolder
from tests.support.capture_bench import NO_GPU, Bench, nothing_left, processes_naming, standin
from tests.support.fixtures import with_nsys
from tests.support.harness import write_program

ENDINGS = """
    import os, signal, sys, time
    import pytest

    def test_good():
        print("good, on stdout")
        print("good, on stderr", file=sys.stderr)

    def test_bad():
        assert "this" == "that"

    def test_exit():
        os._exit(3)

    def test_segfault():
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    def test_sleep():
        time.sleep(300)
"""


def names(run: WorkerRun) -> list[str]:
    """The names of a run's events."""
    return [event["event"] for event in run.events]


def check_good_run(bench: Bench) -> None:
    """A run of one test that passes and one that fails, from its start to its end."""
    bench.write(ENDINGS)
    with nothing_left(bench.folder):
        run = bench.run("test_bad", "test_good", warmup=1, rounds=2)
    assert (run.ended, run.lost, run.reason) == (True, None, "")
    assert run.report.is_file()
    assert "Generated" in run.nsys_output
    assert run.events == tuple(bench.heard.events)
    told = names(run)
    assert told[:2] == ["hello", "collected"]
    assert told[-1] == "end"
    assert [event["nodeid"] for event in run.events if event["event"] == "start"] == [
        "test_it.py::test_bad",
        "test_it.py::test_good",
    ]
    rounds = [
        (event["nodeid"], event["round"]) for event in run.events if event["event"] == "round"
    ]
    good, bad = "test_it.py::test_good", "test_it.py::test_bad"
    assert rounds == [(bad, -1), (good, -1), (good, 0), (good, 1)]
    windows = [(record.kind, record.round) for record in run.records]
    assert windows == [("round", 0), ("round", 1), ("span", -1), ("sentinel", -1)]
    assert run.wall_s["worker"] > 0
    assert run.wall_s["nsys"] > 0


def test_a_run_under_a_real_nsys(worker_bench: Bench) -> None:
    check_good_run(worker_bench)


def test_a_run_under_the_stand_in(simulated_bench: Bench) -> None:
    check_good_run(simulated_bench)


def test_output_comes_as_it_is_printed(
    simulated_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_bench.write(ENDINGS)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-s")
    simulated_bench.run("test_good")
    assert b"good, on stdout\n" in simulated_bench.heard.stdout
    assert b"good, on stderr\n" in simulated_bench.heard.stderr


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("test_exit", "the worker ended suddenly with exit code 3"),
        ("test_segfault", "the worker was ended by SIGSEGV"),
        ("test_killed", "the worker was ended by SIGKILL"),
    ],
)
class TestAWorkerThatDies:
    def check(self, bench: Bench, test: str, reason: str) -> None:
        bench.write(ENDINGS)
        with nothing_left(bench.folder):
            run = bench.run("test_good", test, "test_bad")
        assert run.lost == f"test_it.py::{test}"
        assert run.reason == reason
        assert not run.ended
        reports = {event["nodeid"] for event in run.events if event["event"] == "report"}
        assert reports == {"test_it.py::test_good", f"test_it.py::{test}"}

    def test_under_the_stand_in(self, simulated_bench: Bench, test: str, reason: str) -> None:
        self.check(simulated_bench, test, reason)


def test_a_worker_that_dies_under_a_real_nsys(worker_bench: Bench) -> None:
    reason = "the worker was ended by SIGKILL"
    TestAWorkerThatDies().check(worker_bench, "test_killed", reason)


def check_time_limit(bench: Bench) -> None:
    """A test that takes too long is ended, and its worker with it."""
    bench.write(ENDINGS)
    with nothing_left(bench.folder):
        run = bench.run("test_sleep", "test_good", timeout_s=1)
    assert run.lost == "test_it.py::test_sleep"
    assert run.reason == "took longer than 1 s (in round 1) and was ended"
    assert not run.ended


@with_nsys("2023")
def test_a_test_that_takes_too_long_under_a_real_nsys(worker_bench: Bench) -> None:
    check_time_limit(worker_bench)


def test_a_test_that_takes_too_long_under_the_stand_in(simulated_bench: Bench) -> None:
    check_time_limit(simulated_bench)


def test_imports_and_waiting_use_up_nothing_of_what_tests_may(simulated_bench: Bench) -> None:
    bench = simulated_bench
    bench.write(ENDINGS)
    options = replace(NO_GPU, limits=Limits(duration_s=0.0, size=1))
    command = Command(bench.args, ("pytest", *bench.args), tuple(sys.path))
    with RunFolder() as folder:
        worker = Workers(bench.nsys, options, command, folder, bench.heard.listener()).start(())
        try:
            worker.wait()
            assert "ready" in bench.heard.names
            assert not [*folder.path.glob("*/stop")]
        finally:
            worker.end("")


@pytest.mark.parametrize(
    ("body", "warmup", "where"),
    [
        ("def test_it(): time.sleep(300)", 1, "in a warm-up"),
        (
            "@pytest.fixture\ndef slow(): time.sleep(300)\ndef test_it(slow): pass",
            0,
            "outside its rounds",
        ),
    ],
)
def test_the_time_limit_says_where_the_test_was(
    simulated_bench: Bench, body: str, warmup: int, where: str
) -> None:
    simulated_bench.write(f"import pytest, time\n{body}\n")
    run = simulated_bench.run("test_it", timeout_s=1, warmup=warmup)
    assert run.reason == f"took longer than 1 s ({where}) and was ended"


def test_a_worker_that_does_not_hear_is_killed_with_its_children(simulated_bench: Bench) -> None:
    simulated_bench.write(
        """
        import signal, subprocess, sys, time

        def test_deaf():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            command = [sys.executable, "-c", "import time; time.sleep(300)", __file__]
            subprocess.Popen(command, start_new_session=True)
            time.sleep(300)
        """
    )
    with nothing_left(simulated_bench.folder):
        run = simulated_bench.run("test_deaf", timeout_s=0.5)
    assert run.lost == "test_it.py::test_deaf"


def test_a_session_that_never_ends_is_ended(simulated_bench: Bench) -> None:
    simulated_bench.write(
        """
        import pytest, time

        @pytest.fixture(scope="session")
        def held():
            yield
            time.sleep(300)

        def test_it(held):
            pass
        """
    )
    with nothing_left(simulated_bench.folder):
        run = simulated_bench.run("test_it", timeout_s=0.5)
    # The session's teardown is part of the last test.
    assert run.lost == "test_it.py::test_it"

    simulated_bench.write(
        """
        import time

        def pytest_sessionfinish():
            time.sleep(300)
        """,
        "conftest.py",
    )
    simulated_bench.write("def test_it(): pass")
    with nothing_left(simulated_bench.folder):
        run = simulated_bench.run("test_it", deadlines=Deadlines(finish=3))
    assert (run.lost, run.ended) == (None, False)
    assert run.reason == "took longer than 3 s and was ended"


class TestAWorkerThatDoesNotBegin:
    def check_slow(self, bench: Bench) -> None:
        seconds = 8.0  # nsys has started the worker by then, also on a busy machine
        bench.write("import time\ntime.sleep(300)\ndef test_it(): pass")
        with nothing_left(bench.folder), pytest.raises(DeadlineExceeded) as caught:
            bench.run("test_it", deadlines=Deadlines(start=seconds))
        assert f"did not begin its tests: it took longer than {seconds:g} s" in caught.value.what
        assert "imports" in caught.value.remedy

    @with_nsys("2023")
    def test_in_time_under_a_real_nsys(self, worker_bench: Bench) -> None:
        self.check_slow(worker_bench)

    def test_in_time_under_the_stand_in(self, simulated_bench: Bench) -> None:
        self.check_slow(simulated_bench)

    def check_death(self, bench: Bench) -> None:
        bench.write("import os\nos._exit(9)", "conftest.py")
        bench.write(ENDINGS)
        with nothing_left(bench.folder), pytest.raises(WorkerFailed) as caught:
            bench.run("test_good")
        assert "ended before it ran its first test" in caught.value.what
        assert caught.value.evidence.startswith("the worker ended suddenly with exit code 9\n")

    @with_nsys("2022")
    def test_as_it_dies_under_a_real_nsys(self, worker_bench: Bench) -> None:
        self.check_death(worker_bench)

    def test_as_it_dies_under_the_stand_in(self, simulated_bench: Bench) -> None:
        self.check_death(simulated_bench)

    def test_as_a_plugin_fails(self, simulated_bench: Bench) -> None:
        text = "def pytest_collection(): raise RuntimeError('broken plugin')"
        simulated_bench.write(text, "conftest.py")
        simulated_bench.write(ENDINGS)
        with pytest.raises(WorkerFailed) as caught:
            simulated_bench.run("test_good")
        assert "broken plugin" in caught.value.evidence


def test_an_nsys_that_never_ends_is_ended(tmp_path: Path, clean_environment: None) -> None:
    nsys = standin(tmp_path / "bin", "hang_after_child")
    bench = Bench(tmp_path / "project", nsys, simulated=True)
    bench.write(ENDINGS)
    with nothing_left(tmp_path), pytest.raises(DeadlineExceeded) as caught:
        bench.run("test_good", deadlines=Deadlines(finish=1))
    assert caught.value.what == "nsys did not end within 1 s of the worker's end"
    assert "Collecting data" in caught.value.evidence
    assert "nsys 2022" in caught.value.remedy


def interrupt(event: dict[str, Any]) -> None:
    """What Ctrl-C does to a listener."""
    if event["event"] == "round":
        raise KeyboardInterrupt


def profilers() -> list[psutil.Process]:
    """The nsys that this process has started."""
    return [p for p in psutil.Process().children() if "profile" in p.cmdline()]


def agents(nsys: list[int]) -> list[psutil.Process]:
    """The agents of these nsys, which no process tree holds."""
    return [p for pid in nsys for p in processes_naming(f"--session-name=profile-{pid}")]


@with_nsys("2022")
def test_an_interrupt_ends_everything_under_a_real_nsys(worker_bench: Bench) -> None:
    worker_bench.write(ENDINGS)
    pids: list[int] = []

    def note_and_interrupt(event: dict[str, Any]) -> None:
        pids.extend(process.pid for process in profilers())
        interrupt(event)

    with nothing_left(worker_bench.folder), pytest.raises(KeyboardInterrupt):
        worker_bench.run("test_sleep", hook=note_and_interrupt)
    assert pids
    assert agents(pids) == []


def test_an_interrupt_ends_everything_under_the_stand_in(simulated_bench: Bench) -> None:
    simulated_bench.write(ENDINGS)
    with nothing_left(simulated_bench.folder), pytest.raises(KeyboardInterrupt):
        simulated_bench.run("test_sleep", hook=interrupt)


@with_nsys("2023")
def test_a_killed_nsys_takes_everything_with_it(worker_bench: Bench) -> None:
    worker_bench.write(ENDINGS)
    pids: list[int] = []

    def kill_nsys(event: dict[str, Any]) -> None:
        if event["event"] == "round":
            for process in profilers():
                pids.append(process.pid)
                process.kill()

    with nothing_left(worker_bench.folder):
        run = worker_bench.run("test_sleep", hook=kill_nsys)
    assert run.lost == "test_it.py::test_sleep"
    assert run.reason == "the worker's nsys was ended by SIGKILL"
    assert pids
    assert agents(pids) == []


WRAPPER = """#!/bin/sh
if [ "$1" = profile ] && [ ! -e {folder}/started ]; then
    : > {folder}/started
    {agent} &
    exit 1
fi
exec {nsys} "$@"
"""


def wrapped(bench: Bench, agent: str = "true") -> Bench:
    """The bench with an nsys that fails at its first start, and leaves a process."""
    text = WRAPPER.format(folder=bench.folder, nsys=bench.nsys.path, agent=agent)
    script = write_program(bench.folder / "nsys", text)
    object.__setattr__(bench.nsys, "path", script)
    return bench


def test_an_nsys_that_does_not_start_its_program_is_an_error(simulated_bench: Bench) -> None:
    bench = wrapped(simulated_bench)
    bench.write(ENDINGS)
    with nothing_left(bench.folder), pytest.raises(NsysLaunchFailed) as caught:
        bench.run("test_good", attempts=1)
    assert "without starting the worker" in caught.value.what
    assert caught.value.evidence == "exit code 1, nothing printed"
    assert bench.run("test_good", attempts=1).ended


def test_the_agent_that_a_failed_nsys_leaves_is_ended(
    simulated_bench: Bench, tmp_path: Path
) -> None:
    program = tmp_path / "agent.py"
    program.write_text("import time\ntime.sleep(300)\n")
    agent = f"setsid {sys.executable} {program} --start-agent --session-name=profile-$$"
    bench = wrapped(simulated_bench, agent + " > /dev/null 2>&1 < /dev/null")
    bench.write(ENDINGS)
    with nothing_left(tmp_path), pytest.raises(NsysLaunchFailed):
        bench.run("test_good", attempts=1)


def test_refused_arguments_are_an_error_of_their_own(worker_bench: Bench) -> None:
    worker_bench.write(ENDINGS)
    with nothing_left(worker_bench.folder), pytest.raises(NsysUsageError) as caught:
        worker_bench.run("test_good", nsys_args=["--nosuch=1"])
    assert "nosuch" in caught.value.evidence
    assert "nsys_args" in caught.value.remedy


def test_what_we_rely_on_cannot_be_changed(worker_bench: Bench) -> None:
    worker_bench.write(ENDINGS)
    with pytest.raises(NsysUsageError, match="'--wait' cannot be specified more than once"):
        worker_bench.run("test_good", nsys_args=["--wait=all"])


def test_arguments_are_passed_on_in_place_of_ours(worker_bench: Bench) -> None:
    worker_bench.write(ENDINGS)
    run = worker_bench.run("test_good", nsys_args=["-t", "nvtx", "--sample", "none", "-b", "none"])
    assert run.ended
    assert run.report.exists()


def test_a_run_folder_is_private_and_goes_with_all_it_holds() -> None:
    with RunFolder() as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        (folder.path / "sub").mkdir()
        (folder.path / "sub" / "file").touch()
    assert not folder.path.exists()
    folder.remove()


def test_a_run_folder_goes_when_something_fails() -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder() as folder:
        raise KeyboardInterrupt
    assert not folder.path.exists()


def test_the_worker_does_not_get_what_speaks_of_the_controller() -> None:
    environment = {
        "PATH": "/bin",
        "PYTEST_CURRENT_TEST": "x",
        "PYTEST_XDIST_WORKER": "gw0",
        "PYTEST_ADDOPTS": "-q",
        "COVERAGE_PROCESS_CONFIG": "x",
        "TOKEN": "secret",
    }
    inherited = worker_environment(environment)
    gone = {"PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER"}
    assert inherited == {name: environment[name] for name in environment if name not in gone}


def test_files_of_a_run_are_private(simulated_bench: Bench) -> None:
    simulated_bench.write(ENDINGS)
    run = simulated_bench.run("test_good")
    folder = run.report.parent
    assert not (folder / "launch.json").exists()
    for name in ("stdout", "stderr", "events.jsonl"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600, name


def test_a_signal_without_a_name_is_named_by_its_number(simulated_bench: Bench) -> None:
    simulated_bench.write(
        "import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGRTMIN + 3)"
    )
    run = simulated_bench.run("test_it")
    assert run.reason == f"the worker was ended by signal {signal.SIGRTMIN + 3}"
