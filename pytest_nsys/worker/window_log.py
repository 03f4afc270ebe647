"""Windows as NVTX ranges, which nsys records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import nvtx

from pytest_nsys.support.json_values import written
from pytest_nsys.support.own import own
from pytest_nsys.windows.record import COUNTED, DOMAIN, MAIN, WindowKind, WindowRecord
from pytest_nsys.worker.events import Events


class WindowLog:
    """Numbers windows, opens their NVTX ranges, and writes their records.

    A record is written when its range has ended: a window that a crash cut off has none.
    """

    _start_range = staticmethod(nvtx.start_range)  # as they are before tests replace them
    _end_range = staticmethod(nvtx.end_range)

    def __init__(self, events: Events, counted: str = "") -> None:
        """Args:
        events: where records go.
        counted: the window that ncu is to look at; "" for none.
        """
        self._events = events
        self._counted = counted
        self._indices = itertools.count()
        self._owner = own.getpid()

    @contextmanager
    def window(
        self, kind: WindowKind, nodeid: str, name: str = MAIN, round: int = -1
    ) -> Iterator[WindowRecord]:
        """An NVTX range in the plugin's domain around the block; the caller writes the record.

        Start/end ranges, not push/pop: they may begin and end on different threads, and
        coroutines may interleave them. A child that the test forked opens none: its numbers
        would be those of its parent's windows.
        """
        if own.getpid() != self._owner:
            yield WindowRecord(-1, kind, nodeid, name, round)
            return
        record = WindowRecord(next(self._indices), kind, nodeid, name, round)
        is_counted = round >= 0 and name == self._counted
        text = COUNTED if is_counted else record.label
        token = self._start_range(message=text, domain=DOMAIN)
        try:
            yield record
        finally:
            self._end_range(token)

    def write(self, record: WindowRecord) -> None:
        """Append the record to the event log."""
        self._events.write("window", **written(record))

    def close(self) -> None:
        """Write the sentinel, which shows that the capture reached the end of the run."""
        with self.window("sentinel", "") as record:
            pass
        self.write(record)
