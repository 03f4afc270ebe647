"""A window of a server test: one capture, and the rounds that are sent in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_nsys.errors import LoadFailed, WindowError
from pytest_nsys.gpu.state import GpuState, RoundState
from pytest_nsys.process.logs import last_lines
from pytest_nsys.servers.load import (
    Load,
    LoadResult,
    Prompt,
    Target,
    call,
    check,
    client_values,
    prompts_of,
    send,
)
from pytest_nsys.servers.records import SentRound
from pytest_nsys.support.own import own
from pytest_nsys.support.text import suggest

if TYPE_CHECKING:
    from pytest_nsys.gpu.monitor import Monitor

Prompts = Sequence[Prompt] | Path | str
"""A list of texts or of token ids, or a file of them."""


_DYING_S = 1.0
"""How long a server is looked at whose connections broke: they do before its process is gone."""


class Watched(Protocol):
    """A server that requests are sent to."""

    def check_alive(self, patience_s: float = 0.0) -> None:
        """Raise ServerDied if it has ended, or does within its time."""

    def log(self) -> str:
        """The end of what it has printed."""


@dataclass(frozen=True)
class Sending:
    """How a window's load is sent.

    Attributes:
        rounds: how often, one after another.
        warmup: requests that are sent in the capture before its rounds, and are not measured: what
            a program does first under a collection takes longer. None for one per client, and two
            at least.
        concurrency: requests in flight at any time; None where they are sent at a fixed rate.
        rate: requests per second, sent whether or not earlier ones are answered.
        requests: how many; None for one per prompt, or for as many as fit into the duration.
        duration: seconds after which no further request is sent.
        max_tokens: longest answer.
        stream: whether answers are streamed; without, nothing is known of the first token.
        ignore_eos: whether answers have exactly ``max_tokens``, where the server can be told.
        timeout: seconds for one request.
        allow_errors: the share of requests that may fail.
        extra: further fields of each request.

    Raises:
        WindowError: rounds or warm-ups are no number. The rest is checked where a load is made.
    """

    rounds: int = 3
    warmup: int | None = None
    concurrency: int | None = None
    rate: float | None = None
    requests: int | None = None
    duration: float | None = None
    max_tokens: int = 64
    stream: bool = True
    ignore_eos: bool = True
    timeout: float = 300.0
    allow_errors: float = 0.0
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("warmup", 0)):
            value = getattr(self, name)
            if name == "warmup" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise WindowError(
                    f"{name} of a window is wrong",
                    evidence=f"{name}={value!r:.100}",
                    remedy=f"it is a whole number of at least {least}",
                )

    def load_of(self, prompts: tuple[Prompt, ...]) -> Load:
        """The load of one round.

        Raises:
            LoadError: it cannot be sent so.
        """
        requests = self.requests
        if requests is None and self.duration is None:
            requests = len(prompts)
        concurrency = self.concurrency
        if concurrency is None and self.rate is None:
            concurrency = 1
        return Load(
            prompts=prompts,
            requests=requests,
            duration_s=self.duration,
            concurrency=concurrency,
            rate_per_s=self.rate,
            max_tokens=self.max_tokens,
            stream=self.stream,
            ignore_eos=self.ignore_eos,
            timeout_s=self.timeout,
            extra=self.extra,
        )

    def warmup_of(self, load: Load) -> Load | None:
        """What is sent before the rounds of a load; None for nothing."""
        requests = max(2, load.concurrency or 0) if self.warmup is None else self.warmup
        return replace(load, requests=requests, duration_s=None) if requests else None


class Window:
    """What ``with server.window(...) as window`` gives.

    Attributes:
        name: of the window.
        results: what was sent and answered, by round.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        sending: Sending,
        server: Watched,
        gpus: Monitor | None = None,
    ) -> None:
        self.name = name
        self.results: list[LoadResult] = []
        self._target = target
        self._sending = sending
        self._server = server
        self._gpus = gpus
        self._rounds: list[SentRound] = []
        self._loaded = False

    @property
    def rounds(self) -> tuple[SentRound, ...]:
        """The rounds so far."""
        return tuple(self._rounds)

    def load(self, prompts: Prompts, **changes: Any) -> list[LoadResult]:
        """Send the prompts, as often as the window has rounds; each answered before the next.

        Args:
            prompts: texts or token ids, or a file of them; sent in turn.
            changes: of what the window was opened with (``requests``, ``max_tokens``, ...).

        Returns:
            What was answered, by round.

        Raises:
            LoadError: this cannot be sent.
            LoadFailed: more requests failed than are allowed.
            ServerDied: the server has ended.
        """
        sending = self._changed(changes)
        load = sending.load_of(tuple(prompts_of(prompts)))
        return self._send(sending, load, lambda load: send(load, self._target))

    def call(
        self, function: Callable[[Prompt], int | None], prompts: Prompts, **changes: Any
    ) -> list[LoadResult]:
        """As `load`, each request being a call of the function, in threads.

        Args:
            function: is given a prompt; what it returns is the number of tokens answered, if known.
            prompts: as for `load`.
            changes: as for `load`.

        Returns:
            What was answered, by round.

        Raises:
            LoadFailed: more calls failed than are allowed.
            ServerDied: the server has ended.
        """
        sending = self._changed(changes)
        load = sending.load_of(tuple(prompts_of(prompts)))
        return self._send(sending, load, lambda load: call(function, load))

    @contextmanager
    def round(self, **units: float) -> Iterator[None]:
        """A round of the test's own making; ``units`` is what it processes (``token=256``)."""
        self._begin()
        before = self._before()
        began = own.time_ns()
        yield
        ended = own.time_ns()
        self._server.check_alive()
        counts = {unit: float(count) for unit, count in units.items()}
        self._rounds.append(SentRound(began, ended, units=counts, state=self._since(before)))

    def _changed(self, changes: Mapping[str, Any]) -> Sending:
        return replace(self._sending, **known(changes))

    def _begin(self) -> None:
        if self._loaded:
            raise WindowError(
                f"window {self.name!r} has a load already",
                remedy="open a window for each load: with server.window(NAME) as window: ...",
            )

    def _send(
        self, sending: Sending, load: Load, once: Callable[[Load], LoadResult]
    ) -> list[LoadResult]:
        self._begin()
        self._loaded = True
        warmup = sending.warmup_of(load)
        if warmup is not None:
            demand_answers(once(warmup), sending.allow_errors, self._server)
        for _ in range(sending.rounds):
            before = self._before()
            result = once(load)
            state = self._since(before)
            self.results.append(result)
            demand_answers(result, sending.allow_errors, self._server)
            answered = [one for one in result.exchanges if not one.error]
            tokens = sum(one.output_tokens for one in answered)
            units = {"token": float(tokens), "request": float(len(answered))}
            self._rounds.append(
                SentRound(
                    result.began_utc_ns,
                    result.ended_utc_ns,
                    client_values(result),
                    {unit: count for unit, count in units.items() if count},
                    state,
                )
            )
        return self.results

    def _before(self) -> tuple[GpuState, ...]:
        return () if self._gpus is None else self._gpus.before()

    def _since(self, before: tuple[GpuState, ...]) -> RoundState | None:
        after = () if self._gpus is None else self._gpus.after()
        return RoundState(before, after) if before or after else None


def demand_answers(result: LoadResult, allowed_errors: float, server: Watched) -> None:
    """Enough requests were answered, by a server that lives on.

    Args:
        result: what came of the load.
        allowed_errors: the share of requests that may fail.
        server: that was asked.

    Raises:
        LoadFailed: more have failed; with the end of the server's log.
        ServerDied: the server has ended.
    """
    failure: LoadFailed | None = None
    try:
        check(result, allowed_errors)
    except LoadFailed as error:
        failure = error
    cut_off = any(not one.error.startswith("HTTP") for one in result.failed)
    server.check_alive(_DYING_S if failure and cut_off else 0.0)
    if failure is not None:
        log = last_lines(server.log())
        lines = [failure.evidence, *(["the end of the server's log:", log] if log else [])]
        raise LoadFailed(failure.what, evidence="\n".join(lines), remedy=failure.remedy)


def known(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a window, if it has such.

    Raises:
        WindowError: it has none of a name; the nearest is suggested.
    """
    names = [one.name for one in fields(Sending)]
    for name in given:
        if name not in names:
            raise WindowError(f"a window has no argument {name!r}", remedy=suggest(name, names))
    return dict(given)
