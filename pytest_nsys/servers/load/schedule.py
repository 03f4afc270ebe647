"""When requests are sent: closed and open loops, their time limits, and their end.

All of it runs in an event loop of its own in a thread of its own: whoever sends a load may be
inside a running event loop, and keeps a main thread that a Ctrl-C can reach.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from pytest_nsys.errors import LoadStuck
from pytest_nsys.servers.load.model import Counted, Exchange, Load, LoadResult
from pytest_nsys.support.own import own

T = TypeVar("T")

GRACE_S = 15.0
"""How much longer than its deadline a load may take to end; then it is left to itself."""

SLACK_S = 5.0
"""What the deadline of a load is above the time limits of all its requests."""

_CANCEL_S = 2.0  # what a cancelled load gets to close its connections
_GIVE_UP = 100
"""After so many failures in a row, and more than are in flight, a sustained load ends: its server
is gone or answers nobody."""

_PAUSE_S = 0.01  # after a failure: a server that is gone would be asked thousands of times a second


@dataclass
class Attempt:
    """What is known so far of a request that is under way."""

    start_ns: int = field(default_factory=time.monotonic_ns)
    first_token_ns: int | None = None
    last_token_ns: int | None = None
    end_ns: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    chunks: int = 0

    def token(self, now_ns: int) -> None:
        """Output has arrived."""
        if self.first_token_ns is None:
            self.first_token_ns = now_ns
        self.last_token_ns = now_ns

    def finished(self, error: str) -> Exchange:
        """The request as it ended."""
        counted: Counted = "usage"
        tokens = self.output_tokens
        if tokens is None:
            counted, tokens = ("chunks", self.chunks) if self.chunks else ("nothing", 0)
        return Exchange(
            start_ns=self.start_ns,
            first_token_ns=self.first_token_ns,
            last_token_ns=self.last_token_ns,
            end_ns=own.clock_ns() if self.end_ns is None else self.end_ns,
            prompt_tokens=self.prompt_tokens,
            output_tokens=tokens,
            error=error,
            counted=counted,
        )


Work = Callable[[int, Attempt], Coroutine[Any, Any, str]]
"""Sends request so-and-so and notes what comes back; returns what went wrong, or nothing."""


async def follow(load: Load, work: Work, deadline_s: float) -> LoadResult:
    """Send the requests of a load when they are due.

    Args:
        load: says when.
        work: sends one.
        deadline_s: after so many seconds, requests still under way are cut off.
    """
    done: dict[int, Exchange] = {}
    began_utc_ns, began_ns = own.time_ns(), own.clock_ns()
    if load.rate_per_s is None:
        numbers = _RequestNumbers(load)  # which the loops share
        tasks = [
            asyncio.ensure_future(_closed_loop(numbers, load, work, done))
            for _ in range(load.concurrency or 1)[: load.requests]
        ]
    else:
        tasks = [asyncio.ensure_future(_open_loop(load, load.rate_per_s, work, done))]
    try:
        await asyncio.wait(tasks, timeout=deadline_s)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    ended_ns, ended_utc_ns = own.clock_ns(), own.time_ns()
    for outcome in outcomes:
        if isinstance(outcome, Exception):  # no request's: those are noted
            raise outcome
    exchanges = tuple(done[number] for number in sorted(done))
    return LoadResult(exchanges, began_utc_ns, ended_utc_ns, began_ns, ended_ns)


class _RequestNumbers:
    """The numbers of the requests of a closed loop, as long as there are to be more."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._next = 0
        self._failed = 0
        self._began = own.clock()

    def note(self, ok: bool) -> None:
        """A request has ended, well or not."""
        self._failed = 0 if ok else self._failed + 1

    def take(self) -> int | None:
        """The number of the next request; None when the load ends."""
        number, load = self._next, self._load
        if load.requests is not None and number >= load.requests:
            return None
        # The first one is always sent: a load without any would say nothing.
        if number and load.duration_s is not None:
            late = own.clock() - self._began >= load.duration_s
            hopeless = self._failed >= max(_GIVE_UP, 2 * (load.concurrency or 1))
            if late or hopeless:
                return None
        self._next += 1
        return number


async def _closed_loop(
    numbers: _RequestNumbers, load: Load, work: Work, done: dict[int, Exchange]
) -> None:
    while (number := numbers.take()) is not None:
        await _one(number, load, work, done)
        numbers.note(done[number].ok)
        if not done[number].ok:
            await asyncio.sleep(_PAUSE_S)


async def _open_loop(load: Load, rate: float, work: Work, done: dict[int, Exchange]) -> None:
    began = own.clock()
    tasks: list[asyncio.Task[None]] = []
    try:
        for number in range(_due(load, rate)):
            # Also of no time: so that requests that are late all start before any is read.
            await asyncio.sleep(max(0.0, began + number / rate - own.clock()))
            tasks.append(asyncio.ensure_future(_one(number, load, work, done)))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _due(load: Load, rate: float) -> int:
    """How many requests an open loop sends: the i-th, from 0, where i / rate is in its time."""
    count = load.requests
    if load.duration_s is not None:
        # Less than a billionth of an interval is a rounding error, and no request.
        in_time = max(1, math.ceil(load.duration_s * rate - 1e-9))
        count = in_time if count is None else min(count, in_time)
    return count or 1


async def _one(number: int, load: Load, work: Work, done: dict[int, Exchange]) -> None:
    """Send one request, within its time limit, and note how it ended."""
    attempt = Attempt()
    task = asyncio.ensure_future(work(number, attempt))
    # If it is cut off, this is what is known of it.
    error = "cut off: the load was at its deadline"
    try:
        await asyncio.wait({task}, timeout=load.timeout_s)
        if not task.done():
            far = (
                "no output" if attempt.first_token_ns is None else "output had begun; not complete"
            )
            error = f"timed out: {far} after {load.timeout_s:g} s"
        elif raised := task.exception():
            error = f"{type(raised).__name__}: {raised}"
        else:
            error = task.result()
    finally:
        done[number] = attempt.finished(error)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that ends its connections with itself."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[asyncio.WriteTransport] = WeakSet()

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """See asyncio."""
        transport, protocol = await super().create_connection(*args, **options)
        self._connections.add(transport)
        return transport, protocol

    def close(self) -> None:
        """Close it, and the sockets of connections that wait to send what nobody will read."""
        if not self.is_closed():
            for connection in [*self._connections]:
                connection.abort()
            # Cancelled tasks and closed connections are at their end one turn later.
            self.run_until_complete(asyncio.sleep(0))
        super().close()


class _Apart(Generic[T]):
    """A coroutine in an event loop of its own, in a thread of its own."""

    def __init__(self, main: Coroutine[Any, Any, T]) -> None:
        self._loop = _Loop()
        self._task = self._loop.create_task(main)
        self._ended = Event()
        # A daemon: one that is stuck does not keep Python from ending.
        self._thread = Thread(target=self._run, name="pytest-nsys load", daemon=True)

    def result(self, deadline_s: float) -> T:
        """Run it; returns or raises what it does."""
        try:
            self._thread.start()
            if not self._ended.wait(deadline_s):
                raise LoadStuck(
                    "the load did not end",
                    evidence=f"it was to be over after {deadline_s:g} s",
                    remedy="see whether a function of the dialect does not return: all of them run "
                    "in one thread",
                )
        except BaseException:  # a Ctrl-C, too
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._ended.wait(_CANCEL_S)
            raise
        self._thread.join()
        return self._task.result()

    def _run(self) -> None:
        try:
            # What it raises is in the task.
            self._loop.run_until_complete(asyncio.wait({self._task}))
        finally:
            # Unlike asyncio.run, this does not wait for look-ups of names that take long.
            self._loop.close()
            self._ended.set()


def run_apart(main: Coroutine[Any, Any, T], deadline_s: float) -> T:
    """Run a coroutine in a loop and thread of its own, wherever the caller is.

    Args:
        main: the coroutine.
        deadline_s: when to give up on it, in seconds.

    Returns:
        What the coroutine returns.

    Raises:
        LoadStuck: it did not end. Whatever else it raises.
    """
    return _Apart(main).result(deadline_s)
