"""Ending process trees, whatever their members do about it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable

import psutil

_POLL_S = 0.01


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


def end_agents(nsys_pid: int) -> None:
    """End the agent of an nsys that failed or was killed: a daemon, which no tree holds."""
    session = f"--session-name=profile-{nsys_pid}"
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "--start-agent" in command and session in command:
            end_trees([process.pid])


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
    deadline = time.monotonic() + timeout_s
    while any(_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
