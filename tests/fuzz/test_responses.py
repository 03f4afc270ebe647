"""Answers of a server that may be any: each request has a result, or an error of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.servers.engines import http
from pytest_nsys.servers.load import Load, LoadResult, Target, client, client_values, send
from tests.support.load_server import completion, event, serving
from tests.support.mutations import DEEP, HUGE_NUMBER, changed, changed_bytes, changed_json

REPLY = {
    "choices": [{"index": 0, "text": " w", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}
CHUNK = {
    "choices": [{"index": 0, "text": " w", "delta": {"content": " w"}, "finish_reason": None}],
    "token": {"id": 7, "text": " w"},
    "generated_text": "a w",
    "text_output": " w",
    "details": {"generated_tokens": 3, "input_length": 5},
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}
"""What each dialect looks for, in one."""

MODELS = {"object": "list", "data": [{"id": "meta-llama/Llama-3.1-8B", "object": "model"}]}
STREAM = b"".join(part if isinstance(part, bytes) else event(part) for part in completion(tokens=2))
DIALECTS = ("openai-completions", "openai-chat", "tgi", "triton")


@dataclass
class Anything:
    """A server that gives the same bytes to each request."""

    url: str = ""
    content: bytes = b""
    kind: str = "application/json"

    def load(self, content: bytes, dialect: str, *, stream: bool) -> LoadResult:
        """Send one request, which is answered with this."""
        self.content, self.kind = content, "text/event-stream" if stream else "application/json"
        load = Load(("Say something.",), requests=1, timeout_s=5, stream=stream)
        return send(load, Target(self.url, "m", dialect))


@pytest.fixture(scope="module")
def anything() -> Iterator[Anything]:
    """A real server, the same for all examples."""
    server = Anything()

    async def answer(_: object, request: web.Request, body: object) -> web.StreamResponse:
        return web.Response(body=server.content, content_type=server.kind)

    with serving(answer) as real:
        server.url = real.url
        yield server


def check(result: LoadResult) -> None:
    """The request has a result, the metrics are numbers, and an error is a line."""
    (exchange,) = result.exchanges
    assert exchange.start_ns <= exchange.end_ns
    assert all(math.isfinite(value) and value >= 0 for value in client_values(result).values())
    assert len(exchange.error) < 1000
    assert "\n" not in exchange.error


@given(st.sampled_from(DIALECTS), st.booleans(), changed(CHUNK) | changed(REPLY))
def test_a_changed_answer_is_read_or_an_error(
    anything: Anything, dialect: str, stream: bool, data: Any
) -> None:
    text = json.dumps(data)
    check(anything.load(event(text) if stream else text.encode(), dialect, stream=stream))


@given(changed_bytes(STREAM))
def test_a_changed_stream_is_read_or_an_error(anything: Anything, data: bytes) -> None:
    check(anything.load(data, "openai-completions", stream=True))


@given(st.sampled_from(DIALECTS), st.booleans(), st.binary(max_size=100))
def test_any_bytes_are_read_or_an_error(
    anything: Anything, dialect: str, stream: bool, data: bytes
) -> None:
    check(anything.load(data, dialect, stream=stream))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        b'{"choices": ' + DEEP + b"}",
        b'{"choices": [{"text": "a"}], "usage": {"completion_tokens": ' + HUGE_NUMBER + b"}}",
        b'{"choices": [{"text": "a"}], "usage": {"completion_tokens": 1e400}}',
        b'{"choices": [{"text": "a"}], "usage": {"completion_tokens": ' + b"9" * 400 + b"}}",
        b'{"error": "' + b"x" * 10_000 + b'"}',
    ],
)
def test_is_an_error(anything: Anything, text: bytes, stream: bool) -> None:
    sent = b"data: " + text + b"\n\n" if stream else text
    result = anything.load(sent, "openai-completions", stream=stream)
    check(result)
    (exchange,) = result.exchanges
    assert exchange.error.startswith(("malformed answer: ", "the server says: xxx"))


def test_an_answer_without_an_end_does_not_fill_the_memory(
    anything: Anything, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LONGEST", 1000)
    good = json.dumps(REPLY).encode()
    (exchange,) = anything.load(good, "openai-completions", stream=False).exchanges
    assert exchange.ok
    (exchange,) = anything.load(good + b" " * 1000, "openai-completions", stream=False).exchanges
    assert exchange.error == "malformed answer: more than 1000 bytes"


@given(changed_json(MODELS) | changed_bytes(json.dumps(MODELS).encode()))
def test_the_name_of_a_model_is_a_text_or_nothing(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "get", lambda *_: http.Answer(200, data.decode("utf-8", "replace")))
        assert http.first_model("http://127.0.0.1:1", 1.0).isprintable()


@pytest.mark.parametrize("text", [DEEP, HUGE_NUMBER, b'{"data": [{"id": "a\\nb"}]}'])
def test_there_is_no_name_of_a_model_in_this(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "get", lambda *_: http.Answer(200, text.decode()))
    assert http.first_model("http://127.0.0.1:1", 1.0) == ""
