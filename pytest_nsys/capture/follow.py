"""Following a worker through the files it appends to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

Event = dict[str, Any]


class Tail:
    """Reads what has been appended to a file since the last look; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """What is new; empty if nothing is."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return b""
        return self._file.read()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class EventTail:
    """The events of a worker as they come; a line counts once it is complete."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._rest = b""

    def read(self) -> Iterator[Event]:
        """The events that are new."""
        *lines, self._rest = (self._rest + self._tail.read()).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def close(self) -> None:
        """Close the file."""
        self._tail.close()
