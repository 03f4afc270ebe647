"""Server-sent events: what the servers stream their tokens in.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html, section
9.2.6, but for one thing: an event that the end of the stream cuts short of its empty line counts.
"""

from __future__ import annotations

LONGEST = 16 * 2**20
"""Bytes that one event may have: a stream without any line ends would fill the memory."""


class TooLong(ValueError):
    """A server has sent more than is kept of an event, or of an answer."""


class EventReader:
    """Finds events in a stream of bytes, however the network has cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that these bytes complete.

        A character of several bytes may be cut between two calls: lines are put together as
        bytes, and only whole events are given out.

        Raises:
            TooLong: an event has more than `LONGEST` bytes.
        """
        text = self._rest + received
        # A lone \r ends a line, too; whether the last one is half of \r\n is not known yet.
        held = text[-1:] if text.endswith(b"\r") else b""
        text = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, last = text.split(b"\n")
        self._rest = last + held
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > LONGEST:
            raise TooLong(f"an event of more than {LONGEST} bytes")
        return events

    def end(self) -> list[bytes]:
        """The data of an event that the end of the stream completes, if there is one."""
        lines = (self._rest.rstrip(b"\r"), b"")
        self._rest = b""
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> bytes | None:
        """Take in a line; returns the data of the event that it ends."""
        if not line:
            event = b"\n".join(self._data) if self._data else None
            self._data, self._size = [], 0
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
        return None
