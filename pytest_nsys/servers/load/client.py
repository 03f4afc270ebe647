"""Sending a load: to a server by HTTP, or by a function of the user's own."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any

from pytest_nsys.errors import HttpClientMissing, LoadError
from pytest_nsys.servers.load.dialects import Dialect, Reading, dialect_of
from pytest_nsys.servers.load.model import Load, LoadResult, Prompt, shortened
from pytest_nsys.servers.load.schedule import GRACE_S, SLACK_S, Attempt, follow, run_apart
from pytest_nsys.servers.load.sse import EventReader, TooLong
from pytest_nsys.support.own import own

if TYPE_CHECKING:
    import aiohttp

_LONGEST = 64 * 2**20
"""Bytes that an answer without a stream may have."""

_LARGE = 2**20
"""Bytes of a body above which aiohttp warns of one that is sent as a whole: in a suite in which
warnings are errors, each request would fail by it."""

_COUNTS = range(2**53)
"""Numbers of tokens that are believed."""

_BODY_LENGTH = 200
"""Characters of a server's answer that an error shows."""

_KEEP_ALIVE_S = 2.0
"""How long an idle connection is used again: less than servers keep theirs (uvicorn: 5 s), or a
request now and then would meet one that the server is just closing."""

_REST_S = 1.0
"""How long a stream that has said that it is done may take to end."""


@dataclass(frozen=True)
class Target:
    """The server that a load goes to.

    Attributes:
        url: its address, such as ``http://127.0.0.1:8000``; a ``/v1`` at the end is the same
            server.
        model: name of the model there.
        dialect: what it speaks, by name or itself.
        headers: sent with each request, such as an authorization. Not shown anywhere.

    Raises:
        LoadError: the URL is none, or no dialect has this name.
    """

    url: str
    model: str = ""
    dialect: str | Dialect = "openai-completions"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        dialect_of(self.dialect)
        if not isinstance(self.url, str) or not re.match(r"https?://[^/\s]+", self.url):
            raise LoadError(
                "the URL of the server is none",
                evidence=f"url={shortened(self.url)}",
                remedy='it is like "http://127.0.0.1:8000"',
            )

    def url_of(self, stream: bool) -> str:
        """Where requests go to."""
        path = dialect_of(self.dialect).path_of(self.model, stream)
        base = self.url.rstrip("/")
        return (base.removesuffix("/v1") if path.startswith("/v1/") else base) + path


def send(load: Load, target: Target, *, deadline_s: float | None = None) -> LoadResult:
    """Send a load to a server and wait for all its answers.

    What goes wrong with a request is noted in its `Exchange`, and never raised. It can be called
    inside a running event loop; a Ctrl-C ends it at once.

    Args:
        load: what to send, and when.
        target: where to.
        deadline_s: after so many seconds, requests still under way are cut off; by default, when
            the time limits of all requests have passed.

    Raises:
        HttpClientMissing: aiohttp is not installed.
        LoadError: the load is none for this dialect.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise HttpClientMissing(
            "the HTTP client that sends loads is not installed",
            evidence=str(error),
            remedy='pip install "pytest-nsys[servers]"',
        ) from None
    dialect = dialect_of(target.dialect)
    url = target.url_of(load.stream)
    # All bodies are made before the first is sent: what is wrong with one is known at once, and
    # no time goes into it while the server is measured.
    bodies = [_body(load, target.model, dialect, prompt) for prompt in load.prompts]
    headers = {"Content-Type": "application/json", **target.headers}

    async def main() -> LoadResult:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        # The schedule has the time limits; those of the client would be a second opinion.
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=no_limit, headers=headers
        ) as session:

            async def work(number: int, attempt: Attempt) -> str:
                body = bodies[number % len(bodies)]
                data = body if len(body) <= _LARGE else io.BytesIO(body)
                try:
                    # A redirect would make a GET of it.
                    async with session.post(url, data=data, allow_redirects=False) as response:
                        return await _answer(response, load.stream, dialect, attempt)
                except Exception as error:
                    return _what_failed(error)

            return await follow(load, work, limit)

    limit = _limit(load, deadline_s)
    return run_apart(main(), limit + GRACE_S)


def call(
    function: Callable[[Prompt], int | None], load: Load, *, deadline_s: float | None = None
) -> LoadResult:
    """Run a load through a function of the user's own, each call in a thread.

    The schedules are those of `send`. What the function raises is that request's error. A call
    that does not return in time is an error, too, and left to itself: threads cannot be ended.

    Args:
        function: takes a prompt; returns how many tokens came out, or None where that means
            nothing.
        load: what to send, and when. What is about bodies in it (``max_tokens``, ``extra``) is for
            the function to know.
        deadline_s: as for `send`.
    """

    async def work(number: int, attempt: Attempt) -> str:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[int, int, object, str]] = loop.create_future()

        def run() -> None:
            start_ns = own.clock_ns()
            tokens: object = None
            error = ""
            try:
                tokens = function(load.prompt(number))
            except BaseException as raised:  # pytest's own, such as pytest.fail, are no Exceptions
                error = _named(raised)
            result = (start_ns, own.clock_ns(), tokens, error)
            with suppress(RuntimeError):  # the load is over, and its loop closed
                loop.call_soon_threadsafe(_settle, outcome, result)

        Thread(target=run, name=f"pytest-nsys request {number}", daemon=True).start()
        attempt.start_ns, attempt.end_ns, tokens, error = await outcome
        if error or tokens is None:
            return error
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens not in _COUNTS:
            return f"the function returned {shortened(tokens)}, which is no number of tokens"
        attempt.output_tokens = tokens
        return ""

    limit = _limit(load, deadline_s)
    return run_apart(follow(load, work, limit), limit + GRACE_S)


def _limit(load: Load, deadline_s: float | None) -> float:
    return load.longest_s + SLACK_S if deadline_s is None else deadline_s


def _settle(outcome: asyncio.Future[Any], result: object) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _body(load: Load, model: str, dialect: Dialect, prompt: Prompt) -> bytes:
    body = dialect.request(load, model, prompt)
    try:
        return own.to_json(body).encode()
    except (TypeError, ValueError) as error:
        raise LoadError(
            "the body of a request is not JSON",
            evidence=str(error),
            remedy="extra=, or what the dialect makes, has a value that JSON has not",
        ) from None


async def _answer(
    response: aiohttp.ClientResponse, stream: bool, dialect: Dialect, attempt: Attempt
) -> str:
    """Read an answer; returns what is wrong with it, or nothing."""
    if response.status != 200:
        return await _refusal(response)
    if not stream:
        content = await _whole(response)
        attempt.end_ns = own.clock_ns()
        reading = _read(dialect.read_reply, content)
        # There is no time of a token without a stream.
        return reading if isinstance(reading, str) else _note(reading, attempt)
    if response.content_type == "application/json":
        return f"answered JSON instead of a stream: {await _beginning(response)}"
    return await _stream(response, dialect, attempt)


async def _refusal(response: aiohttp.ClientResponse) -> str:
    excerpt = await _beginning(response)
    return f"HTTP {response.status}: {excerpt or response.reason or 'nothing more'}"


async def _beginning(response: aiohttp.ClientResponse) -> str:
    return _excerpt(await response.content.read(4 * _BODY_LENGTH))


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The answer, unless it is too long."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > _LONGEST:
            raise TooLong(f"more than {_LONGEST} bytes")
    return bytes(content)


async def _stream(response: aiohttp.ClientResponse, dialect: Dialect, attempt: Attempt) -> str:
    """Read a stream to its end; returns what is wrong with it, or nothing."""
    reader = EventReader()
    ended, complete = False, not dialect.says_end
    while not ended:
        received = await response.content.readany()
        now_ns = own.clock_ns()
        ended = not received
        for event in reader.feed(received) if received else reader.end():
            if event == dialect.done.encode():
                ended = complete = True
                break
            reading = _read(dialect.read_chunk, event)
            if isinstance(reading, str):
                return reading
            if reading.token:
                attempt.token(now_ns)
            attempt.chunks += reading.text
            if error := _note(reading, attempt):
                return error
            complete = complete or reading.finished
    attempt.end_ns = now_ns
    await _rest(response)
    if not complete:
        return f"the stream ended without {dialect.done}"
    return "" if attempt.first_token_ns is not None else "the stream ended without any output"


async def _rest(response: aiohttp.ClientResponse) -> None:
    """Read what comes after the end, or the connection could not be used again."""
    try:
        await asyncio.wait_for(_ignored(response), _REST_S)
    except Exception:
        response.close()  # the answer is complete, whatever became of the connection


async def _ignored(response: aiohttp.ClientResponse) -> None:
    async for _ in response.content.iter_any():
        pass


def _read(reader: Callable[[Mapping[str, Any]], Reading], content: bytes) -> Reading | str:
    """What the server says; a text where it cannot be read."""
    try:
        data = own.from_json(content)
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
        return reader(data)
    except Exception as error:
        return f"malformed answer: {_excerpt(content)} ({_named(error)})"


def _note(reading: Reading, attempt: Attempt) -> str:
    """Note the counts of a reading; returns what is wrong."""
    for name in ("prompt_tokens", "output_tokens"):
        value = getattr(reading, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value not in _COUNTS:
            return f"malformed answer: {name} is {shortened(value)}"
        setattr(attempt, name, value)
    return f"the server says: {reading.error[:_BODY_LENGTH]}" if reading.error else ""


def _excerpt(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:_BODY_LENGTH]


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_BODY_LENGTH]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _what_failed(error: Exception) -> str:
    """Why a request has no answer. The same cause has the same text, so that it can be counted."""
    import aiohttp

    if isinstance(error, TooLong):
        return f"malformed answer: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionRefusedError):
            return "connection refused"
        return f"no connection: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended in the middle of the answer"
    if isinstance(error, aiohttp.ClientOSError):
        return f"connection lost: {error.strerror or error}"
    return _named(error)
