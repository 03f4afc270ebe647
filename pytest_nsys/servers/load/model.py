"""What a load is, and what came of it.

Times of requests are those of `time.monotonic_ns`, so that they can be subtracted from each
other. A capture is matched by the UTC times of the whole load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_nsys.errors import LoadError, PromptsError

Prompt = str | tuple[int, ...]
"""A text, or token ids."""

Counted = Literal["usage", "chunks", "nothing"]
"""Where the number of output tokens is from: the server's own count, the chunks of its stream
that carried text, or nowhere (the server tells no count and does not stream)."""


@dataclass(frozen=True)
class Load:
    """Requests to send, and when.

    A closed loop (``concurrency``) keeps so many requests in flight: a new one is sent when one
    is done. An open loop (``rate_per_s``) sends request i at i / rate seconds, whether or not
    the earlier ones are done.

    Attributes:
        prompts: sent one after another, and again from the first.
        requests: how many requests to send.
        duration_s: from this time on no new request is sent; the last ones are waited for. With
            ``requests``, whichever is reached first.
        concurrency: requests in flight; 1 where neither it nor a rate is given.
        rate_per_s: requests per second.
        max_tokens: output tokens to ask for.
        stream: whether to have the output token by token. Without, there is no time to first
            token and no time per output token.
        ignore_eos: whether to ask for ``max_tokens`` tokens also where the model would end
            earlier, by those dialects that can.
        timeout_s: the longest that one request may take, to its last byte.
        extra: fields for the body of each request. Objects in it are merged into the dialect's
            own; None leaves a field of the dialect out.

    Raises:
        LoadError: the values make no load.
    """

    prompts: tuple[Prompt, ...]
    requests: int | None = None
    duration_s: float | None = None
    concurrency: int | None = None
    rate_per_s: float | None = None
    max_tokens: int = 64
    stream: bool = True
    ignore_eos: bool = True
    timeout_s: float = 300.0
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prompts(self.prompts)
        if self.requests is None and self.duration_s is None:
            raise LoadError(
                "a load needs an end",
                remedy="say requests=64 (so many), duration=30 (so long), or both",
            )
        if self.concurrency is not None and self.rate_per_s is not None:
            raise LoadError(
                "a load has either a concurrency or a rate",
                evidence=f"concurrency={self.concurrency!r}, rate={self.rate_per_s!r}",
                remedy="give one of them: concurrency=8 keeps 8 requests in flight; rate=5 sends 5 "
                "each second, however many are in flight",
            )
        if self.concurrency is None and self.rate_per_s is None:
            object.__setattr__(self, "concurrency", 1)
        for name in ("requests", "concurrency", "max_tokens"):
            value = getattr(self, name)
            if value is not None and not _is_count(value):
                raise _wrong(name, value, "a whole number of at least 1")
        for name in ("duration_s", "rate_per_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise _wrong(name, value, "a number above 0")
        for name in ("stream", "ignore_eos"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "True or False")
        if not isinstance(self.extra, Mapping) or not all(
            isinstance(key, str) for key in self.extra
        ):
            raise _wrong("extra", self.extra, "a mapping of field names to values")

    def prompt(self, number: int) -> Prompt:
        """The prompt of request ``number``, which counts from 0."""
        return self.prompts[number % len(self.prompts)]

    @property
    def longest_s(self) -> float:
        """The longest that the load can take, every request at its time limit, in seconds."""
        ends: list[float] = []
        if self.requests is not None:
            if self.rate_per_s is not None:
                ends.append((self.requests - 1) / self.rate_per_s + self.timeout_s)
            else:
                ends.append(math.ceil(self.requests / (self.concurrency or 1)) * self.timeout_s)
        if self.duration_s is not None:
            ends.append(self.duration_s + self.timeout_s)
        return min(ends)


@dataclass(frozen=True)
class Exchange:
    """One request and what came back.

    Attributes:
        start_ns: when it was sent (monotonic, as all times here).
        first_token_ns: when the first output arrived; None without streaming, or for none.
        last_token_ns: when the last output arrived, likewise.
        end_ns: when the answer was complete, or the request had failed.
        prompt_tokens: what the server counted; None where it does not say.
        output_tokens: tokens generated.
        error: what went wrong; empty for a success.
        counted: where ``output_tokens`` is from.
    """

    start_ns: int
    first_token_ns: int | None
    last_token_ns: int | None
    end_ns: int
    prompt_tokens: int | None
    output_tokens: int
    error: str = ""
    counted: Counted = "usage"

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return not self.error


@dataclass(frozen=True)
class LoadResult:
    """All requests of a load, in the order in which they were sent.

    Attributes:
        exchanges: one per request.
        began_utc_ns: ``time.time_ns`` right before the first request.
        ended_utc_ns: ``time.time_ns`` right after the last answer.
        began_ns: ``time.monotonic_ns`` at the beginning.
        ended_ns: ``time.monotonic_ns`` at the end.
    """

    exchanges: tuple[Exchange, ...]
    began_utc_ns: int
    ended_utc_ns: int
    began_ns: int
    ended_ns: int

    @property
    def succeeded(self) -> tuple[Exchange, ...]:
        """The requests that got their whole answer."""
        return tuple(exchange for exchange in self.exchanges if exchange.ok)

    @property
    def failed(self) -> tuple[Exchange, ...]:
        """The requests that did not."""
        return tuple(exchange for exchange in self.exchanges if not exchange.ok)

    @property
    def output_tokens(self) -> int:
        """Tokens generated by the requests that succeeded."""
        return sum(exchange.output_tokens for exchange in self.succeeded)

    @property
    def counted(self) -> Counted:
        """Where the numbers of output tokens are from, of the successes the least reliable."""
        sources = {exchange.counted for exchange in self.succeeded}
        order: tuple[Counted, ...] = ("nothing", "chunks", "usage")
        return next((source for source in order if source in sources), "nothing")


def check_prompts(prompts: object) -> None:
    """Raises `PromptsError` unless these are prompts as a load takes them."""
    if not isinstance(prompts, tuple):
        raise PromptsError(
            f"a load takes its prompts as a tuple, not as {type(prompts).__name__}",
            remedy="prompts_of(...) makes them of a list or a file",
        )
    if not prompts:
        raise PromptsError("there are no prompts", remedy="give at least one")
    for number, prompt in enumerate(prompts, 1):
        check_prompt(prompt, f"prompt {number}")


def check_prompt(prompt: object, where: str) -> None:
    """Raises `PromptsError` unless this is a prompt; the message begins with ``where``."""
    if not isinstance(prompt, str | tuple):
        raise PromptsError(
            f"{where} is neither a text nor token ids",
            evidence=shortened(prompt),
            remedy="a prompt is a str, or a list of whole numbers",
        )
    if not prompt:
        raise PromptsError(f"{where} is empty", remedy="take it out, or say something")
    if isinstance(prompt, str):
        return
    for token in prompt:
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise PromptsError(
                f"{where} has a token id that is none",
                evidence=shortened(token),
                remedy="token ids are whole numbers from 0 on",
            )


def shortened(value: object, length: int = 120) -> str:
    """The value as Python writes it, cut to a length that a message can have."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < math.inf  # type: ignore[operator]  # it is a number


def _wrong(name: str, value: object, want: str) -> LoadError:
    # Users give them to a window, without what they are measured in.
    name = name.removesuffix("_per_s").removesuffix("_s")
    return LoadError(
        f"{name} of a load is wrong",
        evidence=f"{name}={shortened(value)}",
        remedy=f"it is {want}",
    )
