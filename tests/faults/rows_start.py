"""Faults of finding and starting nsys."""

from __future__ import annotations

import textwrap

from pytest_nsys.errors import (
    DeadlineExceeded,
    NsysLaunchFailed,
    NsysMissing,
    NsysNotFound,
    NsysUsageError,
    NvtxRefused,
    SettingsError,
    WorkerFailed,
)
from tests.faults.fault import REAL, Fault, around
from tests.faults.scene import STAND_IN, Scene


def no_nsys(scene: Scene) -> None:
    (scene.bin / "nsys").unlink()


def not_executable(scene: Scene) -> None:
    scene.script("exec true")
    (scene.bin / "nsys").chmod(0o644)


def in_worker(text: str) -> str:
    """Code that is run in the worker alone."""
    body = textwrap.indent(textwrap.dedent(text).strip(), "        ")
    return f"""
    from work import IN_WORKER

    if IN_WORKER:
{body}
    """


def newer_nvtx(scene: Scene) -> None:
    for name, text in (
        ("nvtx/__init__.py", ""),
        ("nvtx-0.2.12.dist-info/METADATA", "Name: nvtx\nVersion: 0.2.12\n"),
    ):
        path = scene.project / name
        path.parent.mkdir()
        path.write_text(text)


IMPATIENT = """
    from pytest_nsys.capture import nsys

    nsys._VERSION_DEADLINE_S = 0.5
"""
NEVER_ENDS = "sleep 300 & sleep 300"
FAILS_ONCE_FOUND = 'case "$1" in --version) rm -f "$0"; esac; exec "$REAL" "$@"'

FORKED = """
    def pytest_addoption(parser):
        parser.addoption("--forked", action="store_true")
"""
UNSENDABLE = """
    import pytest

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(node):
        node.workerinput["lock"] = object()
"""

ROWS = (
    Fault(
        "nsys is not installed",
        "ERROR: nsys (NVIDIA Nsight Systems) was not found",
        NsysMissing,
        code=4,
        prepare=no_nsys,
    ),
    Fault(
        "The nsys that was named does not exist",
        "ERROR: there is no program '/no/such/nsys'",
        NsysNotFound,
        code=4,
        options=("--nsys", "--nsys-executable=/no/such/nsys"),
    ),
    Fault(
        "Tests are to run in forked children",
        "ERROR: --forked (pytest-forked) cannot be used while tests are profiled: *",
        SettingsError,
        code=4,
        made="--forked",
        conftest=FORKED,
        options=("--nsys", "--forked"),
    ),
    Fault(
        "A plugin gives the worker what cannot be sent",
        "workerinput* cannot be sent to the worker",
        WorkerFailed,
        made="pytest_configure_node",
        conftest=UNSENDABLE,
    ),
    Fault(
        "nsys is not executable",
        "ERROR: nsys (NVIDIA Nsight Systems) was not found",
        NsysMissing,
        code=4,
        prepare=not_executable,
    ),
    Fault(
        "The program called nsys is another",
        "ERROR: */bin/nsys does not answer 'nsys --version'",
        NsysNotFound,
        code=4,
        prepare=lambda scene: scene.script("echo usage: nsys NAME"),
    ),
    Fault(
        "nsys prints rubbish",
        "ERROR: */bin/nsys does not answer 'nsys --version'",
        NsysNotFound,
        code=4,
        made="a megabyte of random bytes",
        prepare=lambda scene: scene.script("head -c 1000000 /dev/urandom"),
    ),
    Fault(
        "nsys dies when it is asked for its version",
        "ERROR: */bin/nsys does not answer 'nsys --version'",
        NsysNotFound,
        code=4,
        prepare=lambda scene: scene.script("kill -SEGV $$"),
    ),
    Fault(
        "nsys does not return when it is asked for its version",
        "ERROR: */bin/nsys does not answer 'nsys --version'",
        NsysNotFound,
        code=4,
        made="it waits, and so does a child of it that holds its output",
        conftest=IMPATIENT,
        prepare=lambda scene: scene.script(NEVER_ENDS),
    ),
    Fault(
        "nsys is gone after it was found",
        "nsys cannot be started",
        NsysLaunchFailed,
        prepare=lambda scene: scene.script(FAILS_ONCE_FOUND),
    ),
    Fault(
        "nsys refuses its arguments",
        "ERROR: nsys refused its arguments",
        NsysUsageError,
        code=4,
        drives=(REAL[1], STAND_IN),
        options=("--nsys", "--nsys-args=--no-such-flag=1"),
    ),
    Fault(
        "nsys ends without starting its program",
        "nsys ended without starting the worker",
        NsysLaunchFailed,
        made="three times in a row",
        faults=("child_not_started",),
    ),
    Fault(
        "nsys never starts its program",
        "nsys did not start the worker: it took longer than 1 s and was ended",
        DeadlineExceeded,
        faults=("hang_before_child",),
        ini=("nsys_tool_timeout = 1",),
    ),
    Fault(
        "nsys never starts its program, and is a real one",
        "nsys did not start the worker: it took longer than 1 s and was ended",
        DeadlineExceeded,
        made="nsys is stopped (SIGSTOP) as soon as it runs",
        drives=REAL[1:],
        ini=("nsys_tool_timeout = 1",),
        prepare=lambda scene: scene.script(
            'if [ "$1" = profile ]; then kill -STOP $$; fi; exec "$REAL" "$@"'
        ),
    ),
    Fault(
        "The worker cannot import nvtx",
        "the worker cannot measure",
        WorkerFailed,
        made="a module of the project has its name",
        prepare=lambda scene: scene.write("mine = 1", "nvtx.py") and None,
        environment={"PYTHONPATH": "."},
        drives=REAL[1:],
    ),
    Fault(
        "nsys is too old for the nvtx that is installed",
        "ERROR: nsys 2023.4.4 records no range of nvtx 0.2.12: nothing can be measured",
        NvtxRefused,
        code=4,
        made="a package of that version in the project",
        prepare=newer_nvtx,
        environment={"PYTHONPATH": "."},
        drives=REAL[1:],
    ),
    Fault(
        "A conftest.py fails in the worker only",
        "the worker ended before it ran its first test",
        WorkerFailed,
        conftest=in_worker('raise RuntimeError("not below nsys")'),
        traceback=True,
    ),
    Fault(
        "The worker dies while it collects",
        "the worker ended before it ran its first test",
        WorkerFailed,
        made="os._exit in a conftest.py",
        drives=(REAL[1], STAND_IN),
        conftest=in_worker("import os; os._exit(9)"),
    ),
    Fault(
        "The worker never begins its tests",
        "the worker did not begin its tests: it took longer than 3 s and was ended",
        DeadlineExceeded,
        made="an import that waits for ever",
        ini=("nsys_tool_timeout = 3",),
        conftest=in_worker("import time; time.sleep(300)"),
    ),
    Fault(
        "A test module cannot be imported in the worker",
        "the worker did not collect this test, the controller did",
        None,
        tests=around("work()", before="from work import IN_WORKER; assert not IN_WORKER"),
        traceback=False,
    ),
)
