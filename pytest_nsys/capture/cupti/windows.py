"""Windows as times of CUPTI's clock: this process writes and reads them, so no range is needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pytest_nsys.support.own import own
from pytest_nsys.windows.record import MAIN, WindowKind, WindowRecord


class TimedWindows:
    """Numbers windows and notes when they begin and end; see `Windows` of the recorder.

    Args:
        now: the time in the capture, ns.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._indices = itertools.count()
        self._times: dict[int, tuple[int, int]] = {}
        self._records: list[WindowRecord] = []
        self._owner = own.getpid()

    @contextmanager
    def window(
        self, kind: WindowKind, nodeid: str, name: str = MAIN, round: int = -1
    ) -> Iterator[WindowRecord]:
        """A window around the block; a child that the test forked has none."""
        if own.getpid() != self._owner:
            yield WindowRecord(-1, kind, nodeid, name, round)
            return
        record = WindowRecord(next(self._indices), kind, nodeid, name, round)
        began = self._now()
        try:
            yield record
        finally:
            self._times[record.index] = began, max(self._now(), began + 1)

    def write(self, record: WindowRecord) -> None:
        """Keep the record, with its times."""
        if record.index in self._times:
            self._records.append(replace(record, times=self._times[record.index]))

    def take(self) -> tuple[WindowRecord, ...]:
        """The records since the last call."""
        found, self._records, self._times = tuple(self._records), [], {}
        return found
