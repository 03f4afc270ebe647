"""The worker's event log: JSON lines appended to a file, each complete once written.

A file, and not a pipe or a socket, because it needs no reader at the other end: it survives the
worker's sudden death, nsys (which owns the worker's stdin and stdout) has no part in it, and
the same lines are what a recording keeps.
"""

from __future__ import annotations

import json
import os
from typing import Any


class EventLog:
    """Appends events to a file; each is one ``write`` of one line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = os.getpid()
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """What the descriptor stands for now: a test may close it, and open another file."""
        try:
            state = os.fstat(self._fd)
        except OSError:
            return None
        return state.st_dev, state.st_ino

    def write(self, event: str, **values: Any) -> None:
        """Append one event; values that are not JSON are written as their ``repr``.

        Children that a test forks inherit the log; what they would write is not ours.
        """
        if os.getpid() != self._owner:
            return
        if self._identity() != self._file:
            self._open()
        line = json.dumps({"event": event, **values}, default=repr) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]
