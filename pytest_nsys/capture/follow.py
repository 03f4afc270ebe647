"""Following a worker through the files it appends to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pytest_nsys.capture.result import Report
from pytest_nsys.errors import WorkerFailed
from pytest_nsys.support.json_values import load, read, read_keys
from pytest_nsys.windows.record import WindowRecord

Event = dict[str, Any]

_LONGEST = 256 * 2**20
_SHOWN = 200


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
        """The events that are new.

        Raises:
            WorkerFailed: a line is not what a worker writes, or does not end.
        """
        *lines, self._rest = (self._rest + self._tail.read()).split(b"\n")
        for line in lines:
            yield read_event(line)
        if len(self._rest) > _LONGEST:
            raise _damaged(self._rest, f"a line is longer than {_LONGEST >> 20} MiB")

    def close(self) -> None:
        """Close the file."""
        self._tail.close()


def read_event(line: bytes) -> Event:
    """The event of one line, with all that an event of its kind has; a window's is its ``record``.

    Raises:
        WorkerFailed: it is not what a worker writes.
    """
    try:
        event = read(dict[str, Any], load(line))
        name = read_keys({"event": str}, event)["event"]
        read_keys(_FIELDS.get(name, {}), event)
        if name == "window":
            return {"event": name, "record": WindowRecord.from_json(event)}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(line, f"it is not JSON: {error}") from None
    except ValueError as error:
        raise _damaged(line, str(error)) from None
    return event


def _damaged(line: bytes, why: str) -> WorkerFailed:
    shown = line[:_SHOWN].decode("utf-8", "backslashreplace")
    return WorkerFailed(
        "what the worker wrote about its tests cannot be understood",
        evidence=f"{why}\n{shown}",
        remedy="check that the disk with the temporary files (TMPDIR) is not full, and that no "
        "test closes or writes to files that it did not open",
    )


_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "ready": {"uses_gpu": bool},
    "collected": {"nodeids": tuple[str, ...]},
    "strays": {"files": tuple[str, ...]},
    "start": {"nodeid": str},
    "finish": {"nodeid": str},
    "round": {"nodeid": str, "round": int},
    "disturbed": {"nodeid": str, "round": int, "reason": str},
    "auto": {"nodeid": str, "rounds": int},
    "gpu_unknown": {"text": str},
    "timeout": {"nodeid": str, "limit_s": float},
    "report": {"nodeid": str, "data": Report},
    "collect_error": {"nodeid": str, "text": str},
    "warning": {
        "when": str,
        "nodeid": str,
        "text": str,
        "category": str,
        "filename": str,
        "lineno": int,
    },
    "internal_error": {"text": str},
    "exit": {"reason": str},
    "end": {"exitstatus": int, "stop": str, "workeroutput": dict[str, Any]},
}
"""What the controller asks of each event: keys, and of what type they are."""
