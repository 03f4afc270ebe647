"""Calling a test's body in warm-ups and rounds, each measured call inside an NVTX range."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import nvtx

from pytest_nsys.errors import NsysError
from pytest_nsys.windows import DOMAIN, MAIN, WindowKind, WindowRecord
from pytest_nsys.worker.device import synchronize
from pytest_nsys.worker.events import EventLog
from pytest_nsys.worker.job import Repeats


class WindowLog:
    """Numbers windows, opens their NVTX ranges, and writes their records.

    A record is written when its range has ended: a window that a crash cut off has none.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._indices = itertools.count()
        self._owner = os.getpid()

    @contextmanager
    def window(
        self, kind: WindowKind, nodeid: str, name: str = MAIN, round: int = -1
    ) -> Iterator[WindowRecord]:
        """An NVTX range in the plugin's domain around the block; the caller writes the record.

        Start/end ranges, not push/pop: they may begin and end on different threads, and
        coroutines may interleave them. A child that the test forked opens none: its numbers
        would be those of its parent's windows.
        """
        if os.getpid() != self._owner:
            yield WindowRecord(-1, kind, nodeid, name, round)
            return
        record = WindowRecord(next(self._indices), kind, nodeid, name, round)
        token = nvtx.start_range(message=record.label, domain=DOMAIN)
        try:
            yield record
        finally:
            nvtx.end_range(token)

    def write(self, record: WindowRecord) -> None:
        """Append the record to the event log."""
        self._events.write("window", **record.to_json())

    def close(self) -> None:
        """Write the sentinel, which shows that the capture reached the end of the run."""
        with self.window("sentinel", "") as record:
            pass
        self.write(record)


class Recorder:
    """Measures one test: knows which call of the body is running and what it is for.

    Args:
        nodeid: the test.
        repeats: how often its body is called.
        log: where its windows go.
        events: where its progress goes.
        release: gives cached device memory back.
    """

    def __init__(
        self,
        nodeid: str,
        repeats: Repeats,
        log: WindowLog,
        events: EventLog,
        release: Callable[[], object],
    ) -> None:
        self._nodeid = nodeid
        self._repeats = repeats
        self._log = log
        self._events = events
        self._round = -1
        self._units: dict[str, float] = {}
        self._pending: list[WindowRecord] = []
        self._took_over = False
        self._release = release
        self._open = ExitStack()
        self._span: WindowRecord | None = None

    def measure(self, call: Callable[[], object], stop: Callable[[], bool]) -> None:
        """Call ``call`` as often as the test asks for; the rounds are inside the test's span.

        Args:
            call: runs the body once; the body itself is wrapped by `window`.
            stop: asked after each call; True ends the rounds early.
        """
        with self._open:
            for number in range(-self._repeats.warmup, self._repeats.rounds):
                self._run(number, call)
                if self._took_over or stop():
                    break
            synchronize()
        if self._span is not None:
            self._log.write(self._span)

    def _open_span(self) -> None:
        """Begin the span, over which memory is measured, before the first round.

        Not before the warm-ups: libraries allocate once for the whole process (cuBLAS, about
        100 MB), in whichever test comes first. Cached memory is given back here, so that what
        the rounds need is allocated anew and seen.
        """
        self._release()
        synchronize()
        self._span = self._open.enter_context(self._log.window("span", self._nodeid))

    def _run(
        self, number: int, call: Callable[[], object], units: Mapping[str, float] = {}
    ) -> object:
        """One warm-up (negative numbers) or round; its records are kept once it has ended well."""
        if number == 0 and self._span is None:
            self._open_span()
        self._round, self._units, self._pending = number, dict(units), []
        self._events.write("round", nodeid=self._nodeid, round=number)
        result = call()
        for record in self._pending:
            self._log.write(replace(record, units=self._units))
        self._round, self._pending = -1, []
        return result

    @contextmanager
    def window(self) -> Iterator[None]:
        """The window around the body (or the call handed to `repeat`), if this is a round."""
        if self._round < 0:
            yield
            return
        handed_over = self._took_over
        synchronize()
        with self._log.window("round", self._nodeid, MAIN, self._round) as record:
            yield
        synchronize()
        if self._took_over is handed_over:
            self._pending.append(record)  # else: a body that handed a call to `repeat`

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named part of the round."""
        if self._round < 0:
            yield
            return
        with self._log.window("range", self._nodeid, name, self._round) as record:
            self._pending.append(record)
            yield

    def units(self, **units: float) -> None:
        """What this round processes; replaces what was said before."""
        self._units = {name: float(count) for name, count in units.items()}

    def repeat(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Measure just this call: warm-ups and rounds happen around it, and not around the body.

        Raises:
            NsysError: it is used twice in one test.
        """
        if self._took_over:
            raise NsysError(
                "nsys(function, ...) was called twice in one test",
                remedy='measure several parts with "with nsys.range(name):"',
            )
        self._took_over = True

        def call() -> Any:
            with self.window():
                return function(*args, **kwargs)

        result = None
        said = self._units  # by the body, before the call
        for number in range(-self._repeats.warmup, self._repeats.rounds):
            result = self._run(number, call, said)
        return result
