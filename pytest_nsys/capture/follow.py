"""Following a worker through the files it appends to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pytest_nsys.errors import WorkerFailed
from pytest_nsys.support.json_values import listing, load, mapping, text_of, whole
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
        event = mapping(load(line))
        for name, check in _FIELDS.get(text_of(event["event"]), {}).items():
            check(event[name])
        if event["event"] == "window":
            return {"event": "window", "record": WindowRecord.from_json(event)}
    except KeyError as error:
        raise _damaged(line, f"it has no {error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(line, f"it is not JSON: {error}") from None
    except (TypeError, ValueError) as error:
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


def _texts(value: object) -> None:
    for text in listing(value):
        text_of(text)


def _report(value: object) -> None:
    for name in ("when", "outcome"):
        text_of(mapping(value)[name])


_FIELDS: Mapping[str, Mapping[str, Callable[[object], object]]] = {
    "collected": {"nodeids": _texts},
    "strays": {"files": _texts},
    "start": {"nodeid": text_of},
    "finish": {"nodeid": text_of},
    "round": {"nodeid": text_of, "round": whole},
    "disturbed": {"nodeid": text_of, "round": whole, "reason": text_of},
    "auto": {"nodeid": text_of, "rounds": whole},
    "gpu_unknown": {"text": text_of},
    "report": {"nodeid": text_of, "data": _report},
    "collect_error": {"nodeid": text_of, "text": text_of},
    "warning": {
        "when": text_of,
        "nodeid": text_of,
        "text": text_of,
        "category": text_of,
        "filename": text_of,
        "lineno": whole,
    },
    "internal_error": {"text": text_of},
    "exit": {"reason": text_of},
    "end": {"exitstatus": whole, "stop": text_of},
}
"""What the controller asks of each event."""
