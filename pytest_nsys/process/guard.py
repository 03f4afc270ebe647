"""Ends what a run has started below it, also when the run itself was killed outright.

What is started for a worker (nsys, its agent, which is a daemon, the worker and all it starts)
carries the worker's folder in its environment, where it is found again: neither process trees
nor sessions hold all of these together, and of an nsys that is killed the agent and the program
live on for ever.

As a program, it is run by path with ``python -S -E``, beside pytest: it waits until pytest tells
it to end, or is gone, then ends everything of the run and removes the run's folder. It imports
only the standard library.
"""

import contextlib
import io
import os
import re
import select
import shutil
import signal
import sys
import time

MARK = "PYTEST_NSYS_WORKER"
"""The environment variable that names the folder which a process belongs to."""

UNDO = "undo-"
"""How the names of files in a run's folder begin that hold a command, its words parted by NUL: one
that the guard runs, in the order of their names, where the run could not."""


class _own:  # noqa: N801
    """What code under test may replace while this reads of processes beside it."""

    File = io.FileIO


_POLL_S = 0.02
_LOOK_S = 0.5
_KILL_S = 5.0
_UNDO_S = 60.0

# What nsys leaves in shared memory of a process that had no time to tidy up; with its process id
# and namespace, since containers may share the memory.
_SHARED = re.compile(r"sem\.NSys-process_waiter-(\d+)-(\d+)-.*")
_SHARED_MEMORY = "/dev/shm"


def marked(folder: str) -> list[int]:
    """The processes of a folder, or of one inside it, with all their descendants.

    Processes that have ended and were not yet asked how are none; nor is this one.
    """
    everybody = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    found = {pid for pid in everybody if belongs(pid, folder)}
    if found:
        found = _with_descendants(found, everybody)
    return sorted(pid for pid in found - {os.getpid()} if not _has_ended(pid))


def belongs(pid: int, folder: str) -> bool:
    """Whether a process is marked with a folder, or with one inside it."""
    return f"{mark_of(pid)}/".startswith(f"{folder}/")


def ancestors(pid: int) -> list[int]:
    """The parent of a process, its parent, and so on, as far as they can be seen."""
    found: list[int] = []
    while (pid := _stat(pid)[1]) > 0 and pid not in found:
        found.append(pid)
    return found


def program(pid: int) -> str:
    """The name of a process's program, without its folder; "" where it cannot be looked at."""
    word = _read(pid, "cmdline").split(b"\0")[0]
    return os.fsdecode(word.rpartition(b"/")[2])


def mark_of(pid: int) -> str:
    """The folder that a process belongs to; "" for none, or where it cannot be looked at."""
    begin = os.fsencode(f"{MARK}=")
    values = _read(pid, "environ").split(b"\0")
    return next((os.fsdecode(v[len(begin) :]) for v in values if v.startswith(begin)), "")


def _with_descendants(found: set[int], everybody: list[int]) -> set[int]:
    parents = {pid: _stat(pid)[1] for pid in everybody}
    found = set(found)
    size = 0
    while len(found) > size:
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def _has_ended(pid: int) -> bool:
    return _stat(pid)[0] in ("Z", "X", "")


def _stat(pid: int) -> tuple[str, int]:
    """State and parent; an empty state if the process is gone."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1])) if fields else ("", -1)


def _read(pid: int, name: str) -> bytes:
    try:
        with _own.File(f"/proc/{pid}/{name}") as file:
            return file.read()
    except OSError:  # it is gone, or somebody else's
        return b""


def end_marked(
    folder: str,
    *,
    patience_s: float = 0.0,
    signals: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 3.0),),
) -> list[int]:
    """End all processes of a folder.

    Args:
        folder: which.
        patience_s: how long they may take to end by themselves.
        signals: what is sent to those left, one after another, before SIGKILL, and the seconds
            that each is given to work.

    Returns:
        Those that even SIGKILL did not end: they wait inside a driver.
    """
    signalled: set[int] = set()
    try:
        if _all_gone(folder, patience_s):
            return []
        for number, seconds in signals:
            signalled.update(_send(folder, number))
            if _all_gone(folder, seconds):
                return []
    finally:  # an interrupt while waiting leaves nobody behind either
        deadline = time.monotonic() + _KILL_S
        while (left := _send(folder, signal.SIGKILL)) and time.monotonic() < deadline:
            signalled.update(left)
            time.sleep(_POLL_S)
        _tidy_shared_memory(signalled - {*left})
    return marked(folder)


def _tidy_shared_memory(pids: set[int]) -> None:
    """Remove what nsys has left there of these processes, which have ended."""
    with contextlib.suppress(OSError):
        here = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
        for name in os.listdir(_SHARED_MEMORY) if pids else []:  # noqa: PTH208
            match = _SHARED.fullmatch(name)
            if match is not None and int(match[1]) in pids and match[2] == here:
                os.unlink(f"{_SHARED_MEMORY}/{name}")  # noqa: PTH108


def _all_gone(folder: str, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while marked(folder):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _send(folder: str, number: int) -> list[int]:
    pids = marked(folder)
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue
    return pids


def wait_for(pipe: int, parent: int) -> None:
    """Wait until the other end of the pipe says so, or is closed, or the parent is gone.

    All three: what the parent has forked may hold the pipe for longer than the parent needs it,
    and for longer than it lives.
    """
    while os.getppid() == parent:
        if select.select([pipe], [], [], _LOOK_S)[0]:
            return


def undo(folder: str) -> None:
    """Run the commands that a run has left in its folder, each for a minute at most."""
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        if not name.startswith(UNDO):
            continue
        import subprocess  # it takes longer than all else here, and is seldom needed

        with contextlib.suppress(OSError, subprocess.SubprocessError):
            with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
                words = file.read().split(b"\0")
            subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_UNDO_S,
                check=False,
            )


def main(folder: str, parent: int) -> None:
    """Guard the folder for that parent; stdin is the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait_for(0, parent)
    end_marked(folder)
    with contextlib.suppress(OSError):  # the run has removed it
        undo(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
