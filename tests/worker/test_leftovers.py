"""What tests leave running: which processes and threads, and which of them are a fixture's."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pytest_nsys.process.guard import MARK
from pytest_nsys.windows.record import Leftover, WindowRecord
from pytest_nsys.worker.forks import Forks
from pytest_nsys.worker.leftovers import Leftovers

SLEEPS = "import time; time.sleep(300)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes to be ended."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with process:
            process.kill()


def test_what_a_test_starts_and_does_not_end_is_left_by_it(
    started: list[subprocess.Popen[bytes]],
) -> None:
    leftovers = Leftovers(None)
    leftovers.begin()
    started.append(subprocess.Popen([sys.executable, "-S", "-c", SLEEPS]))
    assert leftovers.now() == ()  # they are the test's own, as long as it runs
    leftovers.end("a")
    leftovers.begin()
    left = Leftover(started[0].pid, 0, "a")
    assert leftovers.now() == (left,)
    leftovers.end("b")
    assert leftovers.now() == (left,)
    started[0].kill()
    started[0].wait()
    assert leftovers.now() == ()


def test_threads_of_python_are_left_too(started: list[subprocess.Popen[bytes]]) -> None:
    leftovers, end = Leftovers(None), threading.Event()
    leftovers.begin()
    thread = threading.Thread(target=end.wait)
    thread.start()
    leftovers.end("a")
    assert leftovers.now() == (Leftover(os.getpid(), thread.native_id or 0, "a"),)
    end.set()
    thread.join()
    assert leftovers.now() == ()


def test_what_fixtures_and_modules_start_is_nobodys(
    started: list[subprocess.Popen[bytes]],
) -> None:
    leftovers = Leftovers(None)
    started.append(subprocess.Popen([sys.executable, "-S", "-c", SLEEPS]))  # before any test
    leftovers.begin()
    with leftovers.expected():
        started.append(subprocess.Popen([sys.executable, "-S", "-c", SLEEPS]))
    leftovers.end("a")
    assert leftovers.now() == ()


def test_a_daemon_is_known_by_its_mark(
    started: list[subprocess.Popen[bytes]], tmp_path: object
) -> None:
    leftovers = Leftovers(str(tmp_path))
    leftovers.begin()
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c', "
        f"{SLEEPS!r}], stdout=subprocess.DEVNULL); print(p.pid)"
    )
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, MARK: str(tmp_path)}
    )
    pid = int(done.stdout)
    try:
        leftovers.end("a")
        assert Leftover(pid, 0, "a") in leftovers.now()
    finally:
        os.kill(pid, 9)


def test_what_a_leftover_starts_later_is_left_by_the_same_test(
    started: list[subprocess.Popen[bytes]],
) -> None:
    leftovers = Leftovers(None)
    leftovers.begin()
    code = (
        "import subprocess, sys; sys.stdin.read(1); "
        f"p = subprocess.Popen([sys.executable, '-S', '-c', {SLEEPS!r}]); "
        "print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    started.append(parent)
    leftovers.end("a")
    leftovers.begin()
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(b"x")
    parent.stdin.flush()
    child = int(parent.stdout.readline())
    try:
        assert {Leftover(parent.pid, 0, "a"), Leftover(child, 0, "a")} == {*leftovers.now()}
        leftovers.end("b")
        assert Leftover(child, 0, "a") in leftovers.now()
    finally:
        os.kill(child, 9)


def test_forks_are_counted_and_programs_are_none() -> None:
    forks = Forks()
    subprocess.run(["true"], check=True)
    assert forks.count == 0
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    assert forks.count == 1


def test_a_record_keeps_them() -> None:
    data = {"index": 1, "kind": "span", "nodeid": "t", "name": "test", "round": -1, "units": {}}
    assert WindowRecord.from_json(data).leftovers == ()
    left = {"leftovers": [{"pid": 5, "tid": 0, "since": "a"}], "forks": 2}
    record = WindowRecord.from_json({**data, **left})
    assert (record.leftovers, record.forks) == ((Leftover(5, 0, "a"),), 2)
