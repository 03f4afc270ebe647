"""Calling a test's body in warm-ups and rounds, each measured call inside an NVTX range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Protocol

from pytest_nsys.errors import NsysError
from pytest_nsys.gpu.monitor import Monitor
from pytest_nsys.gpu.state import RoundState
from pytest_nsys.support.own import own
from pytest_nsys.support.precision import is_precise
from pytest_nsys.windows.record import (
    MAIN,
    WORK,
    Leftover,
    WindowKind,
    WindowRecord,
    Work,
)
from pytest_nsys.worker.device import L2Flush, synchronize
from pytest_nsys.worker.events import Events
from pytest_nsys.worker.forks import Forks
from pytest_nsys.worker.job import Repeats

_WHOLE = -1
"""In the place of a part's number: of no part, but of the whole round."""

_WAITS_S = (0.1, 0.2, 0.4, 0.8, 0.5)
"""Before the repetitions of disturbed rounds, 2 s in all: a GPU that is too hot cools down."""


Prepare = Callable[[], tuple[Iterable[Any], Mapping[str, Any]]]
"""Makes the arguments of a call."""


class Windows(Protocol):
    """Where windows are: in a capture by nsys, or at times of CUPTI's clock."""

    def window(
        self, kind: WindowKind, nodeid: str, name: str = MAIN, round: int = -1
    ) -> AbstractContextManager[WindowRecord]:
        """A window around the block; the caller writes the record after it."""

    def write(self, record: WindowRecord) -> None:
        """Keep the record."""


class Aside:
    """What is done for a test beside measuring it: nothing, unless a subclass does it.

    Attributes:
        plain_call: whether a test without a warm-up is to be called once outside its rounds.
    """

    plain_call = False

    def again(self, *, whole: bool) -> None:
        """The body is called once more; or else (not the whole of it) a function of it is."""

    def begin_rounds(self) -> None:
        """The first round is about to begin."""

    def end_rounds(self) -> None:
        """The last round has ended."""


class Recorder:
    """Measures one test: knows which call of the body is running and what it is for.

    Args:
        nodeid: the test.
        repeats: how often its body is called.
        log: where its windows go.
        events: where its progress goes.
        release: gives cached device memory back.
        monitor: reads the state of the GPUs around each round; None for no state.
        leftovers: says what earlier tests have left running.
        forks: counts the forks of this process.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        nodeid: str,
        repeats: Repeats,
        log: Windows,
        events: Events,
        release: Callable[[], object],
        monitor: Monitor | None = None,
        leftovers: Callable[[], tuple[Leftover, ...]] = tuple,
        forks: Forks | None = None,
        sleep: Callable[[float], object] = own.sleep,
    ) -> None:
        self._nodeid = nodeid
        self._repeats = repeats
        self._log = log
        self._events = events
        self._monitor = monitor
        self._sleep = sleep
        self._leftovers = leftovers
        self._forks = forks or Forks()
        self._forks_before = 0
        self._round = -1
        self._units: dict[str, float] = {}
        self._work: dict[int, Work] = {}
        self._part: ContextVar[int] = ContextVar("part", default=_WHOLE)
        self._pending: list[WindowRecord] = []
        self._handed_over = ""
        self._names = {MAIN: ""}
        self._release = release
        self._stop: Callable[[], bool] = lambda: False
        self._aside = Aside()
        self._called = False
        self._begin(MAIN)

    def _begin(self, name: str, *, cold_l2: bool = False) -> None:
        """Count warm-ups and rounds from the first; the windows of the rounds have this name."""
        self._name = name
        self._l2 = L2Flush() if cold_l2 or self._repeats.cold_l2 else None
        self._open = ExitStack()
        self._span: WindowRecord | None = None
        self._next = -self._repeats.warmup
        self._calls = 0
        self._inside = False
        self._spare = self._repeats.rounds
        self._waits_s = iter(_WAITS_S)
        self._discarded: list[str] = []
        self._seconds = 0.0
        self._times_s: list[float] = []

    def measure(
        self, call: Callable[[], object], stop: Callable[[], bool], aside: Aside | None = None
    ) -> None:
        """Call ``call`` as often as the test asks for; the rounds are inside the test's span.

        Args:
            call: runs the body once; the body itself is wrapped by `window`.
            stop: asked before each call but the first; True ends the rounds early.
            aside: what else is done for the test, between its calls.
        """
        self._stop, self._aside = stop, aside or self._aside
        self._measure(call)

    def _measure(
        self,
        call: Callable[[], Any],
        units: Mapping[str, float] = {},
        work: Work | None = None,
    ) -> Any:
        """Warm-ups and rounds of a call, until there are enough; returns what the last returned.

        A body that hands calls over has no rounds of its own, and is called once.
        """
        handed_over = self._handed_over
        with self._open:
            while True:
                result = self._run(call, units, work)
                if self._handed_over != handed_over:
                    return result
                complete = self._enough()
                if complete or self._stop():
                    break
            synchronize()
        if self._span is not None:
            forks = self._forks.count - self._forks_before
            span = replace(self._span, leftovers=self._leftovers(), forks=forks)
            self._log.write(span)
        self._aside.end_rounds()
        if complete and self._aside.plain_call and not self._repeats.warmup:
            # Outside of all rounds, which has not been so yet.
            self._aside.again(whole=not self._handed_over)
            call()
        return result

    def _open_span(self) -> None:
        """Begin the span, over which memory is measured, before the first round.

        Not before the warm-ups: libraries allocate once for the whole process (cuBLAS, about
        100 MB), in whichever test comes first. Cached memory is given back here, so that what
        the rounds need is allocated anew and seen.
        """
        self._release()
        if self._l2 is not None:
            # Outside of the span, or it would count as the test's memory.
            self._l2.prepare()
            self._open.callback(self._l2.release)
        synchronize()
        self._forks_before = self._forks.count
        window = self._log.window("span", self._nodeid, self._name)
        self._span = self._open.enter_context(window)

    def _run(
        self, call: Callable[[], object], units: Mapping[str, float], work: Work | None
    ) -> object:
        """The next warm-up (negative numbers) or round."""
        number = self._next
        if self._called:
            self._aside.again(whole=not self._handed_over)
        self._called = True
        if number == 0:
            self._aside.begin_rounds()
        if number == 0 and self._monitor is not None:
            # After the warm-ups: NVML is asked as late as possible what this process can see.
            self._monitor.start()
        if number == 0 and self._span is None:
            self._open_span()
        self._round, self._units, self._pending = number, dict(units), []
        self._work = {_WHOLE: work} if work else {}
        self._seconds = 0.0
        self._events.write("round", nodeid=self._nodeid, round=number)
        self._calls += 1
        self._inside = True
        result = call()
        self._inside = False
        self._keep_or_discard()
        self._round, self._pending = -1, []
        return result

    def _keep_or_discard(self) -> None:
        """Write the records of a round that has ended well; a disturbed one is repeated.

        There are as many repetitions as the test has rounds, and none for what has outlasted those
        of an earlier test. What is disturbed after that is kept: its records tell.
        """
        states = [record.state for record in self._pending if record.state is not None]
        reasons = [*dict.fromkeys(text for state in states for text in state.disturbances)]
        constant = self._monitor.constant if self._monitor is not None else set()
        repeated = self._spare > 0 and not constant.issuperset(reasons)
        for reason in reasons:
            self._events.write(
                "disturbed",
                nodeid=self._nodeid,
                round=self._round,
                reason=reason,
                repeated=repeated,
            )
        if repeated:
            self._spare -= 1
            self._discarded.append(", ".join(reasons))
            self._sleep(next(self._waits_s, 0.0))
            return
        # What was there through all repetitions is there to stay, and is waited for no more until
        # a round goes without it.
        constant.intersection_update(reasons)
        if self._spare == 0:
            constant.update(reasons)
        for record in self._pending:
            place = _WHOLE if record.kind == "round" else record.index
            work = self._work.get(place)
            state = self._state(record)
            self._log.write(replace(record, units=self._units, state=state, work=work))
        self._next += 1
        if self._round >= 0:
            self._times_s.append(self._seconds)

    def _state(self, record: WindowRecord) -> RoundState | None:
        """The record's state, the first of a round's with what was discarded before it."""
        if record.kind != "round" or not self._discarded:
            return record.state
        discarded, self._discarded = tuple(self._discarded), []
        return replace(record.state or RoundState(), discarded=discarded)

    def _enough(self) -> bool:
        """Whether there are as many rounds as the test asks for."""
        wanted = self._repeats
        if self._next < wanted.rounds or wanted.precision is None:
            return self._next >= wanted.rounds
        reached = is_precise(self._times_s, wanted.precision)
        if not reached and self._next < (wanted.most or wanted.rounds):
            return False
        self._events.write("auto", nodeid=self._nodeid, rounds=self._next, reached=reached)
        return True

    @property
    def times_s(self) -> tuple[float, ...]:
        """How long each round took so far, until the device was done; of the last that was handed
        over."""
        return tuple(self._times_s)

    @property
    def is_in_call(self) -> bool:
        """Whether what was handed over is being called now."""
        return bool(self._handed_over) and self._inside

    def which_call(self) -> str:
        """In which call the test ended, in words, where calls before it went well; else ""."""
        if self._calls < 2 or (self._handed_over and not self._inside):
            return ""
        warmup, rounds = self._repeats.warmup, self._repeats.rounds
        total = f"at least {warmup + rounds}" if self._repeats.precision else f"{warmup + rounds}"
        where = f"call {self._calls} of {total}"
        if self._handed_over:
            return f"{where} of what was handed to {self._handed_over}(function, ...)"
        return f"{where} of the body"

    @contextmanager
    def window(self) -> Iterator[None]:
        """The window around the body (or the call handed to `repeat`), if this is a round."""
        if self._round < 0:
            yield
            return
        handed_over = self._handed_over
        before = self._monitor.before() if self._monitor is not None else ()
        cold = self._l2 is not None and self._l2.flush()
        synchronize()
        began = own.clock()
        with self._log.window("round", self._nodeid, self._name, self._round) as record:
            yield
        synchronize()
        seconds = own.clock() - began
        if self._handed_over != handed_over:
            return  # a body that handed a call to `repeat`
        after = self._monitor.after() if self._monitor is not None else ()
        state = RoundState(before, after) if before or after else None
        self._pending.append(replace(record, state=state, cold_l2=cold))
        self._seconds += seconds

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named part of the round."""
        if self._round < 0:
            yield
            return
        with self._log.window("range", self._nodeid, name, self._round) as record:
            self._pending.append(record)
            around = self._part.get()
            self._part.set(record.index)
            try:
                yield
            finally:
                self._part.set(around)

    def units(self, units: Mapping[str, float], precision: str) -> None:
        """What this round processes; replaces what was said before.

        Work is that of the part that it is said in. All else is of the whole round wherever it is
        said, and leaves the round's work as it is where it is said in a part.
        """
        part = self._part.get()
        amounts = {name: count for name, count in units.items() if name in WORK}
        others = {name: count for name, count in units.items() if name not in WORK}
        if part == _WHOLE:
            self._units = dict(units)
            self._work.pop(_WHOLE, None)
        elif others:
            kept = {name: count for name, count in self._units.items() if name in WORK}
            self._units = kept | others
        if amounts:
            self._work[part] = Work(**amounts, precision=precision)

    def repeat(
        self,
        function: Callable[..., Any],
        prepare: Prepare,
        teardown: Callable[..., object] | None = None,
        *,
        name: str = MAIN,
        by: str = "nsys",
        cold_l2: bool = False,
    ) -> Any:
        """Measure just this call: warm-ups and rounds happen around it, and not around the body.

        Args:
            function: what is called.
            prepare: called before each call, outside of its window; returns the arguments.
            teardown: called with the same arguments after each call, outside of its window.
            name: of the windows of its rounds.
            by: what the test called for it.
            cold_l2: whether the L2 cache is emptied before each round, also where the test does not
                ask for it.

        Returns:
            What the last call returned.

        Raises:
            NsysError: windows of this name were measured before in this test, or the function has
                to be awaited.
        """
        if self._names.get(name):
            raise NsysError(
                f"{by}(function, ...) was called twice in one test"
                if self._names[name] == by
                else f"{by}(function, ...) was called after {self._names[name]}(function, ...)",
                remedy='measure several parts with "with nsys.range(name):"',
            )
        self._names[name] = self._handed_over = by
        self._begin(name, cold_l2=cold_l2)

        def call() -> Any:
            args, kwargs = prepare()
            with self.window():
                returned = function(*args, **kwargs)
            _check_ran(returned, by)
            if teardown is not None:
                teardown(*args, **kwargs)
            return returned

        # With what the body has said before the call.
        return self._measure(call, self._units, self._work.get(_WHOLE))


def _check_ran(returned: object, by: str) -> None:
    """Refuse a coroutine: to call its function has run nothing of it."""
    if not (inspect.iscoroutine(returned) or inspect.isasyncgen(returned)):
        return
    if inspect.iscoroutine(returned):
        returned.close()
    raise NsysError(
        f"what was handed to {by}(function, ...) has to be awaited, and was not run",
        remedy=f"hand over what runs it: {by}(lambda: asyncio.run(function()))",
    )
