"""The worker's event log: JSON lines appended to a file, each complete once written.

A file, and not a pipe or a socket, because it needs no reader at the other end: it survives the
worker's sudden death, nsys (which owns the worker's stdin and stdout) has no part in it, and
the same lines are what a recording keeps.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from pytest_nsys.support.own import own

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Events(Protocol):
    """Who is told what happens to tests."""

    def write(self, event: str, **values: Any) -> None:
        """Something has happened."""


class EventLog:
    """Appends events to a file; each is one ``write`` of one line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = own.getpid()
        self._open()

    def _open(self) -> None:
        self._fd = own.open_fd(self._path, _APPEND, 0o600)
        self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """What the descriptor stands for now: a test may close it, and open another file."""
        try:
            state = own.fstat(self._fd)
        except OSError:
            return None
        return state.st_dev, state.st_ino

    def write(self, event: str, **values: Any) -> None:
        """Append one event; values that are not JSON are written as their ``repr``.

        Children that a test forks inherit the log; what they would write is not ours.
        """
        if own.getpid() != self._owner:
            return
        if self._identity() != self._file:
            self._open()
        line = own.to_json({"event": event, **values}, default=repr) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        while data:
            data = data[own.write(self._fd, data) :]
