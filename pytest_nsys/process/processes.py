"""Running programs to their end, or to a deadline, and ending process trees."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pytest_nsys.support.own import own

_POLL_S = 0.01
_KEPT = 64 * 1024
_REAP_S = 15.0


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    Attributes:
        code: its exit code; None if it was ended at its deadline.
        printed: the end of what it printed, stdout and stderr together.
    """

    code: int | None
    printed: str


def run_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    deadline_s: float,
    directory: Path | None = None,
) -> Finished:
    """Run a program until it ends, whatever it leaves behind that holds its output open.

    It has no terminal and nothing to read. At the deadline it is ended with all its children.

    Raises:
        OSError: it cannot be started.
    """
    process = own.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=directory,
        start_new_session=True,
    )
    assert process.stdout is not None
    deadline = own.clock() + deadline_s
    printed = b""
    try:
        with process.stdout as pipe:
            own.set_blocking(pipe.fileno(), False)
            while own.clock() < deadline:
                # Looked at before reading: what was printed before the end is read after it.
                over = process.poll() is not None
                piece = _next_piece(pipe.fileno())
                printed = (printed + piece)[-_KEPT:]
                if over and not piece:
                    break
    finally:
        if process.poll() is None:
            end_trees([process.pid])
            code = None
        else:
            code = process.returncode
        reap(process)
    return Finished(code, printed.decode("utf-8", "replace"))


def reap(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended that was killed.

    What even SIGKILL does not end waits inside a driver; nobody shall wait for it for long.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_REAP_S)


def _next_piece(pipe: int) -> bytes:
    """What there is to read, waiting a moment for it."""
    if not own.select([pipe], [], [], _POLL_S)[0]:
        return b""
    piece = own.read(pipe, _KEPT)
    if not piece:  # closed, though the program may go on
        own.sleep(_POLL_S)
    return piece


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants that can be seen now; empty if it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended (a zombie has)."""
    try:
        return _lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def signal_name(number: int) -> str:
    """The name of a signal, such as "SIGKILL"."""
    try:
        return own.signal_of(number).name
    except ValueError:
        return f"signal {number}"


def end_trees(
    pids: Iterable[int], *, first: signal.Signals = signal.SIGTERM, grace_s: float = 5.0
) -> None:
    """End the processes and all their descendants: ``first``, then SIGKILL for what is left.

    nsys's child is a session and process group of its own, so a signal to nsys's group misses
    it; the members are found by descent before the first signal breaks it.
    """
    members = [process for pid in pids for process in tree(pid)]
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(first)
    try:
        _wait(members, grace_s)
    finally:  # an interrupt while waiting leaves nobody behind either
        alive = [process for process in members if _lives(process)]
        # Children may have been born since; their parents are still there to be asked.
        late = [child for process in alive for child in tree(process.pid)]
        for process in {*alive, *late}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    _wait([*alive, *late], grace_s)


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    """Wait until all have ended. Zombies have: who reaps them, and when, is not our business."""
    deadline = own.clock() + timeout_s
    while any(_lives(process) for process in processes) and own.clock() < deadline:
        own.sleep(_POLL_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
