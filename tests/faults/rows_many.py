"""Faults of runs with several workers (``-n``)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence

from pytest_nsys.errors import (
    CaptureError,
    FetchFailed,
    NotEnoughGpus,
    NsysLaunchFailed,
    WorkerFailed,
)
from tests.faults.fault import HEALTHY, Fault
from tests.faults.scene import STAND_IN, Scene
from tests.support.harness import write_program

FOUR = ("-p", "xdist", "-n4", "--nsys-update")
TWO = ("-p", "xdist", "-n2", "--nsys-update")

WAITING = """
    import pathlib, time
    import pytest
    from work import work

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)

    @pytest.mark.parametrize("number", range(4))
    def test_waiting(number):
        work()
        pathlib.Path(__file__).with_name(f"ready-{number}").touch()
        while True:
            time.sleep(60)
"""
GREEDY = """@pytest.mark.nsys(gpus=3)
    def test_one"""
DYING = """
    import os, signal
    import pytest
    from work import work

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)

    def test_one():
        work()

    def test_killed():
        work()
        os.kill(os.getpid(), signal.SIGKILL)

    def test_two():
        work()
"""
ELSEWHERE = """
    import os
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
        os._exit(3)
"""


GONE = """
    import os, signal, time
    import psutil, pytest
    from work import work

    pytestmark = pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)

    def test_one():
        work()

    def test_lost():
        above = psutil.Process().parents()
        connection = next(one for one in above if "nsys" not in " ".join(one.cmdline()))
        connection.send_signal(signal.{signal})
        time.sleep(60)
"""
SOON_MISSED = """
    from pytest_nsys.distribution import capture

    capture.ALIVE_S = 0.2
"""
DIES_LAST = """
    import os
    from work import IN_WORKER

    def pytest_sessionfinish():
        if IN_WORKER:
            os._exit(5)
"""


def by_ssh(scene: Scene) -> None:
    """Have a program called ssh run its command here."""
    write_program(scene.bin / "ssh", '#!/bin/sh\nshift 2\neval "exec $*"\n')
    spec = f"2*ssh=gpu-node//python={sys.executable}//chdir={scene.project}"
    scene.environment["PYTEST_ADDOPTS"] += f" -p xdist --dist=load --tx={spec}"


def send(*numbers: int, tests: Sequence[int] = range(4)) -> Callable[[Scene], None]:
    """Signal pytest when each worker is in a test."""

    def act(scene: Scene) -> None:
        for number in tests:
            scene.until((scene.project / f"ready-{number}").exists, f"test {number}")
        for number in numbers:
            scene.signal(number)

    return act


ROWS = (
    Fault(
        "There are more workers than GPUs",
        "ERROR: 4 workers are to measure, and 2 GPUs are visible",
        NotEnoughGpus,
        code=4,
        options=FOUR,
        environment={"CUDA_VISIBLE_DEVICES": "0,1"},
    ),
    Fault(
        "A test asks for more GPUs than there are",
        "the test asks for 3 GPUs, and 2 GPUs are visible",
        NotEnoughGpus,
        options=TWO,
        environment={"CUDA_VISIBLE_DEVICES": "0,1"},
        tests=HEALTHY.format(empty=True).replace("def test_one", GREEDY),
        recorded=("test_two",),
    ),
    Fault(
        "No nsys of several workers starts its program",
        "nsys ended without starting the worker",
        NsysLaunchFailed,
        faults=("child_not_started",),
        options=TWO,
    ),
    Fault(
        "One of several workers dies while it collects",
        "the worker ended before it ran its first test",
        WorkerFailed,
        made="os._exit in a conftest.py",
        conftest=ELSEWHERE,
        options=TWO,
    ),
    Fault(
        "One of several workers is killed in a test",
        "the worker was ended by SIGKILL",
        None,
        made="another takes its place",
        tests=DYING,
        options=TWO,
        recorded=("test_one", "test_two"),
    ),
    Fault(
        "Several workers die after their tests",
        "the worker died after its tests, before the capture was complete",
        CaptureError,
        made="os._exit when their sessions finish; they are not started again",
        conftest=DIES_LAST,
        options=TWO,
    ),
    Fault(
        "Ctrl-C with four workers",
        "*KeyboardInterrupt*",
        None,
        code=2,
        tests=WAITING,
        options=FOUR,
        during=send(signal.SIGINT),
    ),
    Fault(
        "Ctrl-C twice with four workers",
        "*KeyboardInterrupt*",
        None,
        code=2,
        tests=WAITING,
        options=FOUR,
        during=send(signal.SIGINT, signal.SIGINT),
    ),
    Fault(
        "pytest is killed with four workers",
        "",
        None,
        code=137,
        made="SIGKILL",
        drives=("2023", STAND_IN),
        tests=WAITING,
        options=FOUR,
        during=send(signal.SIGKILL),
        late=True,
    ),
    Fault(
        "Ctrl-C with workers on another machine",
        "*KeyboardInterrupt*",
        None,
        code=2,
        tests=WAITING,
        prepare=by_ssh,
        during=send(signal.SIGINT, tests=(0, 2)),
    ),
    Fault(
        "pytest is killed with workers on another machine",
        "",
        None,
        code=137,
        made="SIGKILL; what it started there is ended when the connection is gone",
        tests=WAITING,
        prepare=by_ssh,
        during=send(signal.SIGKILL, tests=(0, 2)),
        late=True,
    ),
    Fault(
        "A worker on another machine is killed in a test",
        "the worker was ended by SIGKILL",
        None,
        tests=DYING,
        prepare=by_ssh,
        recorded=("test_one", "test_two"),
    ),
    Fault(
        "The connection to another machine is lost in a test",
        "gpu-node does not answer, or has ended without saying how its worker did",
        FetchFailed,
        made="its end there is killed (SIGKILL); what another worker measured stays",
        tests=GONE.format(signal="SIGKILL"),
        prepare=by_ssh,
        recorded=("test_one",),
        late=True,
    ),
    Fault(
        "Another machine is silent",
        "*nothing was heard of it for 4.8 s",
        FetchFailed,
        made="its end of the connection is stopped (SIGSTOP), with 0.2 s in the place of 5 s"
        " between two signs of life",
        tests=GONE.format(signal="SIGSTOP"),
        conftest=SOON_MISSED,
        prepare=by_ssh,
        recorded=("test_one",),
        late=True,
    ),
    Fault(
        "Another machine cannot be reached",
        "the machine of socket=127.0.0.1:1 cannot be reached",
        FetchFailed,
        options=("-p", "xdist", "--dist=load", "--tx=socket=127.0.0.1:1", "--nsys-update"),
    ),
)
