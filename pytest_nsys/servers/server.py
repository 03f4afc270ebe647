"""A server as a test sees it: warmed up, measured in windows, stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from pytest_nsys.errors import NsysError, WindowError
from pytest_nsys.process.limits import Limits
from pytest_nsys.servers.context import ServerContext
from pytest_nsys.servers.load import (
    Dialect,
    Prompt,
    Target,
    dialect_of,
    prompts_of,
    send,
    synthetic,
    synthetic_text,
)
from pytest_nsys.servers.records import TestCaptures, WindowCapture
from pytest_nsys.servers.running.attached import AttachedServer
from pytest_nsys.servers.running.limited import Limited
from pytest_nsys.servers.running.nsys_session import Collection
from pytest_nsys.servers.running.process import ServerProcess
from pytest_nsys.servers.window import Prompts, Sending, Window, demand_answers, known
from pytest_nsys.support.units import parse_amount
from pytest_nsys.windows.record import MAIN

Process = ServerProcess | AttachedServer


class Server:
    """A server that is ready."""

    def __init__(
        self,
        process: Process,
        context: ServerContext,
        dialect: str | Dialect,
        again: Callable[[], ServerProcess] | None,
        headers: Mapping[str, str],
    ) -> None:
        """What tests see of it.

        Args:
            process: what runs.
            context: what this run of pytest starts servers with.
            dialect: how it is asked for text.
            again: starts the same once more, for another process; None where it cannot be.
            headers: sent with each request.
        """
        self._process = process
        self._context = context
        self._dialect = dialect_of(dialect)
        self._again = again
        self._headers = dict(headers)
        self._turn = _turn_of(context)
        self._stopped = False

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address, such as ``"http://127.0.0.1:8000"``."""
        return self._process.url

    @property
    def model(self) -> str:
        """What requests call the model."""
        return self._process.model

    @property
    def pid(self) -> int | None:
        """Its process id; None where somebody else has started it."""
        return self._process.pid if isinstance(self._process, ServerProcess) else None

    @property
    def running(self) -> bool:
        """Whether it was not stopped."""
        return not self._stopped

    def log(self) -> str:
        """The end of what it has printed; "" where somebody else has started it."""
        return self._process.log() if isinstance(self._process, ServerProcess) else ""

    def check_alive(self, patience_s: float = 0.0) -> None:
        """It runs, and nsys around it.

        Args:
            patience_s: how long to look at it, for who has a reason to believe that it is dying.

        Raises:
            ServerDied: one of them has ended.
        """
        self._process.check_alive(patience_s)

    def warm_up(self, requests: int = 3, prompts: Prompts | None = None, **sending: Any) -> None:
        """Send some requests, one after another, which are not measured.

        Args:
            requests: how many.
            prompts: what; None for some of 32 tokens.
            sending: as for `window`: ``max_tokens``, ``concurrency``, ``timeout``, ...

        Raises:
            LoadFailed: one of them fails.
            ServerDied: the server ended.
        """
        self._be_current()
        changed = Sending(**known({"max_tokens": 16, **sending, "requests": requests}))
        asked = small_prompts(self._dialect) if prompts is None else prompts_of(prompts)
        load = changed.load_of(asked)
        demand_answers(send(load, self._target()), changed.allow_errors, self)

    @contextmanager
    def window(
        self,
        name: str,
        *,
        max_duration: float | None = None,
        max_size: int | str | None = None,
        **sending: Any,
    ) -> Iterator[Window]:
        """Measure what is done in the block: one capture, with a verdict of its own.

        Args:
            name: of the window, unique in the test.
            max_duration: seconds after which the capture is ended, and the window is an error.
            max_size: bytes of raw events likewise, such as "2 GiB".
            sending: how its load is sent: ``rounds`` (3), ``warmup``, ``concurrency`` or ``rate``,
                ``requests`` and ``duration``, ``max_tokens`` (64), ``stream``, ``ignore_eos``,
                ``timeout``, ``allow_errors``, ``extra``.

        Raises:
            WindowError: it has no such argument, one of them is wrong, or the test has a window of
                this name already.
            ServerDied: the server ended.
            CaptureError: nsys did not collect.
        """
        given = Sending(**known(sending))
        if not isinstance(name, str) or not name or name == MAIN:
            raise WindowError(
                "the name of a window is wrong",
                evidence=f"name={name!r:.100}",
                remedy=f"it is a text, such as 'concurrency-8', and not {MAIN!r}",
            )
        self._be_current()
        captures = self._context.current
        if captures is not None:
            demand_new(captures, name)
        self.check_alive()
        collection = self._collection(max_duration, max_size)
        if captures is None or collection is None:
            # The server is to answer, and nothing is measured: once is enough.
            yield Window(name, self._target(), replace(given, rounds=1, warmup=0), self)
            return
        window = Window(name, self._target(), given, self, self._context.gpus)
        folder = self._context.folder.path / f"window-{self._context.folder.next_number()}"
        folder.mkdir(mode=0o700)
        self._context.say(f"window {name!r}: collecting")
        collection.start(folder / "report.nsys-rep")
        try:
            yield window
        except KeyboardInterrupt:
            raise  # the server is ended at once, with all that nsys has collected
        except BaseException:
            # What is in the report is of no use: the test fails. It must not go on collecting.
            with suppress(NsysError):
                if collection.collecting:
                    collection.stop()
            raise
        collected = collection.stop()
        captures.windows.append(
            WindowCapture(
                name=name,
                report=collected.report,
                rounds=window.rounds,
                options=self._process.options,
                server=self._published(),
                printed=collected.printed,
                cut_short=collected.cut_short,
            )
        )

    def _published(self) -> tuple[str, ...]:
        """What it was started with, as may be handed on; nothing of what somebody else started."""
        process = self._process
        return process.spec.published if isinstance(process, ServerProcess) else ()

    def stop(self) -> None:
        """End it, with all that it has started; a second time does nothing."""
        if self._stopped:
            return
        self._stopped = True
        note = self._process.stop()
        if note:
            self._context.say(note)

    def _target(self) -> Target:
        return Target(self.url, self.model, self._dialect, self._headers)

    def _collection(
        self, max_duration: float | None, max_size: int | str | None
    ) -> Collection | None:
        inner = self._process.collection
        size = None if max_size is None else int(parse_amount(max_size, "B"))
        limits = Limits(_seconds(max_duration), size)
        if inner is None or not limits.any:
            return inner
        recorded = self._process.recorded
        if recorded is None and size is not None:
            raise WindowError(
                "max_size cannot be watched: where nsys keeps what it records is known to who "
                "started the server",
                remedy="limit the window by max_duration=, or by its load",
            )
        return Limited(inner, limits, recorded or self._context.folder.path)

    def _be_current(self) -> None:
        """A server that outlives a test is started anew for each process of it."""
        if self._stopped:
            raise WindowError("the server was stopped", remedy="start it anew for this test")
        turn = _turn_of(self._context)
        if turn == self._turn or self._again is None or turn is None:
            return
        if self._turn is None or turn[1] == 0:
            # The first process of a test takes the server as the test before it left it.
            self._turn = turn
            return
        self._process.stop()
        self._process = self._again()
        self._turn = turn


def small_prompts(dialect: Dialect) -> tuple[Prompt, ...]:
    """Prompts that any model can be asked: all have some hundred tokens."""
    if dialect.takes_token_ids:
        return synthetic(32, 8, vocabulary=256)
    return synthetic_text(32, 8)


def _seconds(max_duration: float | None) -> float | None:
    if max_duration is None:
        return None
    number = isinstance(max_duration, int | float) and not isinstance(max_duration, bool)
    if not number or not max_duration > 0:
        raise WindowError(
            "max_duration of a window is wrong",
            evidence=f"max_duration={max_duration!r:.100}",
            remedy="it is a number of seconds above 0",
        )
    return float(max_duration)


def _turn_of(context: ServerContext) -> tuple[str, int] | None:
    """The test that is measured, and the number of its process."""
    captures = context.current
    return None if captures is None else (captures.nodeid, captures.process)


def demand_new(captures: TestCaptures, name: str) -> None:
    """The test has no window of this name.

    Raises:
        WindowError: it has.
    """
    if any(window.name == name for window in captures.windows):
        raise WindowError(
            f"this test has a window {name!r} already",
            remedy="give each window a name of its own; one window repeats its load by rounds=",
        )
