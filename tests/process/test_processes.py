"""Ending processes: whole trees, whatever their members do about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pytest_nsys.process import processes
from pytest_nsys.process.processes import end_trees, is_running, tree
from tests.support.capture_bench import processes_naming
from tests.support.harness import until

ENDLESS = 86_400.0
"""A grace period: who waited for its end would hang."""

# A program that starts another one, and so on: each in a session of its own, deaf to SIGTERM
# where it should be. The last one says that all are there.
CHAIN = """
import os, signal, subprocess, sys, time
depth, deaf, folder = int(sys.argv[1]), sys.argv[2] == "deaf", sys.argv[3]
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
open(os.path.join(folder, f"pid-{depth}-{os.getpid()}"), "w").close()
if depth:
    command = [sys.executable, __file__, str(depth - 1), *sys.argv[2:]]
    child = subprocess.Popen(command, start_new_session=True)
time.sleep(300)
"""

# A parent that does not ask how its children ended.
NEGLECT = """
import os, sys, time
child = os.fork()
if child == 0:
    os._exit(0)
open(os.path.join(sys.argv[1], f"pid-zombie-{child}"), "w").close()
time.sleep(300)
"""


class Programs:
    """Programs in a folder, and the process ids that they have left there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, text: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Python program; its last argument is the folder."""
        script = self.folder / f"program-{len(self.started)}.py"
        script.write_text(text)
        command = [sys.executable, str(script), *arguments, str(self.folder)]
        process = subprocess.Popen(command, start_new_session=True)
        self.started.append(process)
        return process

    def pids(self, kind: str) -> list[int]:
        """The process ids that were left under a name."""
        return [int(path.name.split("-")[-1]) for path in self.folder.glob(f"pid-{kind}-*")]

    def pid(self, kind: str) -> int:
        """Wait for one process id."""
        until(lambda: self.pids(kind), f"a process {kind}")
        return self.pids(kind)[0]

    def chain(self, depth: int, *, deaf: bool = False) -> list[int]:
        """Start a chain; returns its process ids from the first on."""
        self.start(CHAIN, str(depth), "deaf" if deaf else "hears")
        return [self.pid(str(number)) for number in range(depth, -1, -1)]


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Programs that are gone after the test, however it ends."""
    programs = Programs(tmp_path)
    yield programs
    for process in processes_naming(str(tmp_path)):
        process.kill()
    for started in programs.started:
        started.wait()


def test_a_tree_is_found_over_sessions(programs: Programs) -> None:
    pids = programs.chain(3)
    assert [process.pid for process in tree(pids[0])] == pids
    assert len({os.getsid(pid) for pid in pids}) == 4


def test_every_member_of_a_tree_is_ended(programs: Programs) -> None:
    pids = programs.chain(3)
    end_trees(pids[:1], grace_s=ENDLESS)
    assert [pid for pid in pids if is_running(pid)] == []


def test_several_trees_are_ended_and_others_left_alone(programs: Programs) -> None:
    ended = programs.start("import time; time.sleep(300)"), programs.start("input()")
    left = programs.start("import time; time.sleep(300)")
    end_trees([process.pid for process in ended])
    assert [is_running(process.pid) for process in (*ended, left)] == [False, False, True]


def test_who_ignores_the_signal_is_killed(programs: Programs) -> None:
    pids = programs.chain(2, deaf=True)
    end_trees(pids[:1], grace_s=0.3)
    assert [pid for pid in pids if is_running(pid)] == []


def test_the_first_signal_may_be_chosen(programs: Programs, tmp_path: Path) -> None:
    program = """
        import signal, sys, time
        def stop(*_):
            open(sys.argv[1] + "/interrupted", "w").close()
            sys.exit()
        signal.signal(signal.SIGINT, stop)
        open(sys.argv[1] + "/ready", "w").close()
        time.sleep(300)
    """
    process = programs.start(program.replace("\n        ", "\n").strip())
    until((tmp_path / "ready").exists, "the program")
    end_trees([process.pid], first=signal.SIGINT, grace_s=60)
    assert (tmp_path / "interrupted").exists()


def test_children_of_those_that_live_on_are_killed_with_them(programs: Programs) -> None:
    program = """
import os, signal, subprocess, sys, time
def spawn(*_):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", sys.argv[1]])
    open(os.path.join(sys.argv[1], f"pid-late-{child.pid}"), "w").close()
signal.signal(signal.SIGTERM, spawn)
open(os.path.join(sys.argv[1], f"pid-ready-{os.getpid()}"), "w").close()
while True:
    time.sleep(300)
"""
    process = programs.start(program)
    programs.pid("ready")
    end_trees([process.pid], grace_s=3)
    assert not is_running(process.pid)
    assert not is_running(programs.pid("late"))


def test_who_is_gone_already_is_no_trouble() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert tree(process.pid) == []
    assert not is_running(process.pid)
    end_trees([process.pid], grace_s=ENDLESS)
    end_trees([], grace_s=ENDLESS)


def test_a_zombie_has_ended(programs: Programs) -> None:
    programs.start(NEGLECT)
    zombie = programs.pid("zombie")
    until(lambda: psutil.Process(zombie).status() == psutil.STATUS_ZOMBIE, "a zombie")
    assert not is_running(zombie)


def test_a_zombie_is_not_waited_for(programs: Programs) -> None:
    programs.start(NEGLECT)
    zombie = programs.pid("zombie")
    until(lambda: not is_running(zombie), "a zombie")
    end_trees([zombie], grace_s=ENDLESS)


def test_an_interrupt_while_ending_ends_all_the_same(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = programs.chain(1, deaf=True)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        end_trees(pids[:1], grace_s=60)
    for pid in pids:
        until(lambda pid=pid: not is_running(pid), "the end")  # type: ignore[misc]
