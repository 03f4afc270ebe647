"""Sending a load to a real HTTP server: what is measured, and what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

import pytest
from aiohttp import web

from pytest_nsys.errors import HttpClientMissing, LoadError, LoadStuck
from pytest_nsys.servers.load import (
    Dialect,
    Load,
    Reading,
    Target,
    client_values,
    prompts_of,
    schedule,
    send,
    synthetic,
)
from tests.support.load_server import (
    Answer,
    Server,
    begin_stream,
    completion,
    event,
    replies,
    serving,
    streams,
)

ONE = ("Say something.",)


def only(answer: Answer, dialect: str | Dialect = "openai-completions", **load: Any) -> Any:
    """The one exchange of a load of one request."""
    with serving(answer) as server:
        result = send(
            Load(ONE, requests=1, **{"timeout_s": 5, **load}), Target(server.url, "m", dialect)
        )
    (exchange,) = result.exchanges
    return exchange


def test_a_stream_is_measured() -> None:
    before_utc, before = time.time_ns(), time.monotonic_ns()
    with serving(streams(*completion(tokens=4))) as server:
        result = send(Load(ONE, requests=3), Target(server.url, "m"))
    after_utc, after = time.time_ns(), time.monotonic_ns()
    assert before_utc <= result.began_utc_ns <= result.ended_utc_ns <= after_utc
    assert before <= result.began_ns <= result.ended_ns <= after
    assert len(result.exchanges) == 3
    for exchange in result.exchanges:
        assert exchange.ok, exchange.error
        assert (exchange.prompt_tokens, exchange.output_tokens) == (5, 4)
        assert exchange.first_token_ns is not None
        assert exchange.last_token_ns is not None
        moments = (exchange.start_ns, exchange.first_token_ns, exchange.last_token_ns)
        assert result.began_ns <= moments[0] <= moments[1] <= moments[2] <= exchange.end_ns
        assert exchange.end_ns <= result.ended_ns
    assert result.counted == "usage"
    assert server.bodies[0] == {
        "model": "m",
        "prompt": "Say something.",
        "max_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    assert server.headers[0]["Content-Type"] == "application/json"


def test_a_connection_serves_one_request_after_another() -> None:
    with serving(streams(*completion())) as server:
        assert not send(Load(ONE, requests=20), Target(server.url)).failed
    assert len(server.connections) == 1


def test_prompts_are_cycled_through_and_headers_sent() -> None:
    with serving(streams(*completion())) as server:
        prompts = prompts_of(["a", [1, 2], "c"])
        target = Target(f"{server.url}/v1/", "m", headers={"Authorization": "Bearer secret"})
        result = send(Load(prompts, requests=5), target)
    assert not result.failed
    assert [body["prompt"] for body in server.bodies] == ["a", [1, 2], "c", "a", [1, 2]]
    assert set(server.paths) == {"/v1/completions"}
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(target)


def test_without_streaming_there_is_no_first_token() -> None:
    answer = replies({"choices": [{"text": "hi"}], "usage": {"completion_tokens": 7}})
    exchange = only(answer, stream=False)
    assert exchange.ok
    assert exchange.first_token_ns is None
    assert exchange.output_tokens == 7
    assert exchange.counted == "usage"


def test_chunks_are_counted_where_the_server_does_not_count() -> None:
    exchange = only(streams(*completion(tokens=4, usage=False)))
    assert (exchange.output_tokens, exchange.counted, exchange.error) == (4, "chunks", "")
    assert exchange.prompt_tokens is None


def test_without_a_stream_and_a_count_nothing_is_counted() -> None:
    exchange = only(replies({"choices": [{"text": "hi"}]}), stream=False)
    assert (exchange.ok, exchange.output_tokens, exchange.counted) == (True, 0, "nothing")


def test_tokens_without_text_have_their_moments() -> None:
    # A server without a tokenizer sends nothing but empty texts.
    chunks = [{"choices": [{"text": "", "finish_reason": None}]}] * 3
    exchange = only(streams(*chunks, {"choices": [], "usage": {"completion_tokens": 3}}, "[DONE]"))
    assert exchange.ok
    assert exchange.first_token_ns is not None
    assert exchange.output_tokens == 3


def test_the_first_token_may_be_slow() -> None:
    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(b": still thinking\n\n")
        await asyncio.sleep(0.05)
        for part in completion(tokens=2):
            await response.write(event(part))
        return response

    exchange = only(answer)
    assert exchange.first_token_ns - exchange.start_ns >= 50e6


def test_a_character_may_be_cut_by_the_network() -> None:
    whole = b"".join(
        event(part)
        for part in (
            {"choices": [{"text": "é漢🎉", "finish_reason": None}]},
            {"choices": [{"text": "x", "finish_reason": "stop"}]},
            "[DONE]",
        )
    )

    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        response = await begin_stream(request)
        for byte in whole:
            await response.write(bytes([byte]))
            await asyncio.sleep(0)
        return response

    exchange = only(answer)
    assert exchange.error == ""
    assert exchange.output_tokens == 2


def test_very_many_tokens() -> None:
    chunk = event({"choices": [{"text": " w", "finish_reason": None}]})
    exchange = only(streams(*[chunk * 1000] * 30, "[DONE]"), max_tokens=30_000)
    assert (exchange.error, exchange.output_tokens) == ("", 30_000)


def test_an_end_of_the_stream_completes_its_last_event() -> None:
    exchange = only(streams(*list(completion())[:-1], b"data: [DONE]"))
    assert exchange.error == ""


def test_a_finished_stream_needs_no_done() -> None:
    exchange = only(streams(*list(completion())[:-1]))
    assert (exchange.error, exchange.output_tokens) == ("", 3)


def test_a_stream_that_is_done_but_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_nsys.servers.load.client._REST_S", 0.05)

    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        response = await begin_stream(request)
        for part in completion():
            await response.write(event(part))
        await asyncio.sleep(60)
        return response

    assert only(answer).error == ""


# What goes wrong with a request is noted, and never raised.


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (replies("it\n broke " + "x" * 500, 500), "HTTP 500: it broke " + "x" * 191),
        (replies("", 503), "HTTP 503: Service Unavailable"),
        (replies({"error": {"message": "no"}}, 400), 'HTTP 400: {"error": {"message": "no"}}'),
        (replies("", 302), "HTTP 302: Found"),
        (replies({"choices": []}), 'answered JSON instead of a stream: {"choices": []}'),
        (streams("{nonsense"), "malformed answer: {nonsense (JSONDecodeError: "),
        (streams("[1]"), "malformed answer: [1] (ValueError: it is no JSON object)"),
        (streams({"choices": 3}), 'malformed answer: {"choices": 3} (TypeError: '),
        (streams({"error": {"message": "out of memory"}}), "the server says: out of memory"),
        (streams({"error": {"code": 3}}), "the server says: {'code': 3}"),
        (streams({"error": "broken"}, "[DONE]"), "the server says: broken"),
        (streams(*list(completion())[:2]), "the stream ended without [DONE]"),
        (streams(), "the stream ended without [DONE]"),
        (streams("[DONE]"), "the stream ended without any output"),
        (
            streams({"choices": [], "usage": {"completion_tokens": -1}}),
            "malformed answer: output_tokens is -1",
        ),
        (
            streams({"choices": [], "usage": {"prompt_tokens": "4"}}),
            "malformed answer: prompt_tokens is '4'",
        ),
    ],
)
def test_errors_of_a_stream(answer: Answer, error: str) -> None:
    assert only(answer).error.startswith(error)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (replies("<html>", 200), "malformed answer: <html> (JSONDecodeError: "),
        (replies({"choices": []}), 'malformed answer: {"choices": []} (ValueError: no choices)'),
        (replies({}), "malformed answer: {} (KeyError: 'choices')"),
        (replies({"error": {"message": "too long"}}), "the server says: too long"),
        (
            replies({"choices": [1], "usage": {"completion_tokens": True}}),
            "malformed answer: output_tokens is True",
        ),
    ],
)
def test_errors_of_a_reply(answer: Answer, error: str) -> None:
    assert only(answer, stream=False).error.startswith(error)


def test_a_stream_that_stops() -> None:
    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        response = await begin_stream(request)
        for part in list(completion())[:2]:
            await response.write(event(part))
        await asyncio.sleep(60)
        return response

    exchange = only(answer, timeout_s=0.5)
    assert exchange.error == "timed out: output had begun; not complete after 0.5 s"
    assert exchange.output_tokens == 2


def test_an_answer_that_never_comes() -> None:
    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    assert only(answer, timeout_s=0.1).error == "timed out: no output after 0.1 s"


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        (0, "the server closed the connection without an answer"),
        (2, "the connection ended in the middle of the answer"),
    ],
)
def test_a_connection_that_breaks(chunks: int, error: str) -> None:
    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        if chunks:
            response = await begin_stream(request)
            for part in list(completion())[:chunks]:
                await response.write(event(part))
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    assert only(answer).error == error


def test_a_connection_that_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def reset() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                # Closed with unread bytes, and without lingering: that is a reset.
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        threading.Thread(target=reset, daemon=True).start()
        (exchange,) = send(Load(ONE, requests=1, timeout_s=5), Target(url)).exchanges
    assert exchange.error == "connection lost: Connection reset by peer"


def test_a_connection_that_waits_to_send_is_closed() -> None:
    """Also a large body, of which aiohttp would warn, is no error: warnings are errors here."""
    body = "x" * 20_000_000  # more than the system takes of what nobody reads
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = Target(f"http://127.0.0.1:{listening.getsockname()[1]}")
        (exchange,) = send(Load((body,), requests=1, timeout_s=0.5), target).exchanges
        assert exchange.error == "timed out: no output after 0.5 s"
        gc.collect()  # an open socket is a warning


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    result = send(Load(ONE, requests=3, concurrency=2), Target(f"http://127.0.0.1:{port}"))
    assert [exchange.error for exchange in result.exchanges] == ["connection refused"] * 3


def test_no_such_host() -> None:
    (exchange,) = send(Load(ONE, requests=1), Target("http://nowhere.invalid")).exchanges
    assert exchange.error.startswith("no connection: ")


def test_a_url_that_the_client_refuses() -> None:
    (exchange,) = send(Load(ONE, requests=1), Target("http://[")).exchanges
    assert exchange.error.startswith("InvalidUrl")


def test_an_event_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_nsys.servers.load.sse.LONGEST", 100)
    error = only(streams(b"data: " + b"x" * 200)).error
    assert error == "malformed answer: an event of more than 100 bytes"


def test_some_requests_fail_and_the_others_count() -> None:
    async def answer(
        server: Server, request: web.Request, body: dict[str, Any]
    ) -> web.StreamResponse:
        failing = body["prompt"] == "bad"
        which = replies("no", 500) if failing else streams(*completion())
        return await which(server, request, body)

    with serving(answer) as server:
        load = Load(("good", "bad"), requests=10, concurrency=3)
        result = send(load, Target(server.url))
    assert [exchange.ok for exchange in result.exchanges] == [True, False] * 5
    values = client_values(result)
    assert (values["client.requests"], values["client.errors"]) == (10, 5)
    assert values["client.output_tokens"] == 15


# Around it.


def test_inside_a_running_event_loop() -> None:
    async def main(url: str) -> int:
        return len(send(Load(ONE, requests=2), Target(url)).succeeded)

    with serving(streams(*completion())) as server:
        assert asyncio.run(main(server.url)) == 2


def test_ctrl_c_ends_it_at_once() -> None:
    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(86400)
        return web.Response()

    # Where tests run in the background, the signal is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with serving(answer) as server:
            with pytest.raises(KeyboardInterrupt):
                send(Load(ONE, requests=1, timeout_s=86400), Target(server.url))
            assert server.given_up.wait(60)  # the connection is closed, too
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_deadline_cuts_off_what_is_under_way() -> None:
    async def answer(
        server: Server, request: web.Request, body: dict[str, Any]
    ) -> web.StreamResponse:
        if body["prompt"] == "slow":
            await asyncio.sleep(60)
        return await streams(*completion())(server, request, body)

    with serving(answer) as server:
        load = Load(("quick", "slow"), requests=100, concurrency=2)
        result = send(load, Target(server.url), deadline_s=1)
    first, *others = result.exchanges
    assert first.ok
    assert [each.error for each in others if not each.ok] == [
        "cut off: the load was at its deadline"
    ] * 2
    assert len(others) < 99


def test_a_dialect_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_nsys.servers.load.client.GRACE_S", 0.2)
    monkeypatch.setattr(schedule, "_CANCEL_S", 0.1)

    released = threading.Event()

    def hang(reply: object) -> Reading:
        released.wait(20)
        return Reading()

    dialect = Dialect("hangs", "/", lambda ask: {}, hang, hang)
    with serving(replies({})) as server, pytest.raises(LoadStuck, match="did not end"):
        send(Load(ONE, requests=1, stream=False), Target(server.url, "", dialect), deadline_s=0.1)
    released.set()
    for thread in threading.enumerate():
        if thread.name == "pytest-nsys load":
            thread.join(60)


def test_without_the_http_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(HttpClientMissing, match=r'pip install "pytest-nsys\[servers\]"'):
        send(Load(ONE, requests=1), Target("http://127.0.0.1:1"))


@pytest.mark.parametrize("dialect", ["openai-chat", "transformers", "tgi", "triton"])
def test_token_ids_where_only_texts_are_taken(dialect: str) -> None:
    with pytest.raises(LoadError, match="synthetic_text"):
        send(Load(synthetic(3, 1), requests=1), Target("http://127.0.0.1:1", "m", dialect))


def test_extra_fields_that_are_not_json() -> None:
    with pytest.raises(LoadError, match="not JSON"):
        send(Load(ONE, requests=1, extra={"x": {1, 2}}), Target("http://127.0.0.1:1"))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", None, 8000])
def test_urls_that_are_none(url: Any) -> None:
    with pytest.raises(LoadError, match="URL"):
        Target(url)


def test_an_unknown_dialect() -> None:
    with pytest.raises(LoadError, match=r"there is no dialect 'telnet'[\s\S]*tgi, triton"):
        Target("http://127.0.0.1:1", dialect="telnet")
