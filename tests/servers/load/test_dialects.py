"""What the dialects send, and what they read, each from a server that speaks it."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.errors import LoadError
from pytest_nsys.servers.load import (
    Ask,
    Dialect,
    Load,
    LoadResult,
    Reading,
    Target,
    dialect_names,
    dialect_of,
    dialects,
    register_dialect,
    send,
)
from tests.support.load_server import completion, replies, serving, streams


def talk(dialect: str, answer: Any, **load: Any) -> tuple[LoadResult, str, dict[str, Any]]:
    """The result, the path, and the body of a load of one request."""
    with serving(answer) as server:
        target = Target(server.url, "meta/llama", dialect)
        result = send(Load(("Hello",), requests=1, max_tokens=9, **load), target)
    return result, server.paths[0], server.bodies[0]


def counts(result: LoadResult) -> tuple[str, int | None, int, str]:
    (exchange,) = result.exchanges
    return exchange.error, exchange.prompt_tokens, exchange.output_tokens, exchange.counted


def chat(**delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}


CHAT = [
    chat(role="assistant", content=""),
    chat(content="Hi"),
    chat(content=""),
    {"choices": [{"index": 0, "delta": {"content": " you"}, "finish_reason": "length"}]},
    {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}},
    "[DONE]",
]


def test_completions() -> None:
    result, path, body = talk("openai-completions", streams(*completion()), ignore_eos=False)
    assert counts(result) == ("", 5, 3, "usage")
    assert path == "/v1/completions"
    assert "ignore_eos" not in body


def test_completions_without_streaming() -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 9}
    answer = replies({"choices": [{"text": "x"}], "usage": usage})
    result, path, body = talk("openai-completions", answer, stream=False)
    assert counts(result) == ("", 2, 9, "usage")
    assert path == "/v1/completions"
    assert body == {
        "model": "meta/llama",
        "prompt": "Hello",
        "max_tokens": 9,
        "stream": False,
        "ignore_eos": True,
    }


def test_the_last_chunk_may_have_no_choices_at_all() -> None:
    chunks = [*list(completion(usage=False))[:-1], {"usage": {"completion_tokens": 8}}, "[DONE]"]
    result, _, _ = talk("openai-completions", streams(*chunks))
    assert counts(result) == ("", None, 8, "usage")


def test_chat() -> None:
    result, path, body = talk("openai-chat", streams(*CHAT))
    assert counts(result) == ("", 12, 3, "usage")
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "meta/llama",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }


def test_chat_without_streaming() -> None:
    answer = replies({"choices": [{"message": {}}], "usage": {"completion_tokens": 4}})
    result, path, body = talk("openai-chat", answer, stream=False)
    assert counts(result) == ("", None, 4, "usage")
    assert path == "/v1/chat/completions"
    assert "stream_options" not in body


@pytest.mark.parametrize(
    ("delta", "token", "text"),
    [
        ({"role": "assistant"}, False, False),
        ({"role": "assistant", "content": ""}, False, False),
        ({"role": "assistant", "content": "Hi"}, True, True),
        ({"role": None, "content": ""}, True, False),
        ({"content": None}, False, False),
        ({"reasoning_content": "Hm"}, True, True),
        ({"content": None, "tool_calls": [{"index": 0}]}, True, True),
        ({}, False, False),
        (None, False, False),
    ],
)
def test_what_is_a_token_of_a_chat(delta: Any, token: bool, text: bool) -> None:
    reading = dialect_of("openai-chat").read_chunk({"choices": [{"delta": delta}]})
    assert (reading.token, reading.text) == (token, text)


def test_chat_errors_in_the_stream() -> None:
    result, _, _ = talk("openai-chat", streams({"error": {"message": "no memory"}}, "[DONE]"))
    assert counts(result)[0] == "the server says: no memory"


def test_transformers_is_asked_for_nothing_it_refuses() -> None:
    chunks = [
        chat(role="assistant"),
        chat(content="a"),
        chat(content="b"),
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
    ]
    result, path, body = talk("transformers", streams(*chunks))
    assert counts(result) == ("", None, 2, "chunks")
    assert path == "/v1/chat/completions"
    assert set(body) == {"model", "messages", "max_tokens", "stream"}


def test_tgi() -> None:
    def token(number: int, **more: object) -> dict[str, object]:
        return {"index": number, "token": {"id": number, "text": " x", "special": False}, **more}

    details = {"finish_reason": "length", "generated_tokens": 3, "input_length": 6}
    chunks = [
        token(1, generated_text=None, details=None),
        token(2, generated_text=None, details=None),
        token(3, generated_text=" x x x", details=details),
    ]
    result, path, body = talk("tgi", streams(*chunks))
    assert counts(result) == ("", 6, 3, "usage")
    assert path == "/generate_stream"
    assert body == {"inputs": "Hello", "parameters": {"max_new_tokens": 9, "details": True}}
    assert counts(talk("tgi", streams(*chunks[:2]))[0])[0] == "the stream ended without [DONE]"


def test_tgi_without_streaming() -> None:
    answer = replies({"generated_text": "x", "details": {"generated_tokens": 9}})
    result, path, _ = talk("tgi", answer, stream=False)
    assert counts(result) == ("", None, 9, "usage")
    assert path == "/generate"
    assert counts(talk("tgi", replies({"generated_text": "x"}), stream=False)[0])[3] == "nothing"


@pytest.mark.parametrize(
    ("answer", "stream", "error"),
    [
        (streams({"error": "overloaded", "error_type": "x"}), True, "the server says: overloaded"),
        (replies({"error": "overloaded"}), False, "the server says: overloaded"),
        (replies({"generated_text": None}), False, "malformed answer: "),
    ],
)
def test_tgi_errors(answer: Any, stream: bool, error: str) -> None:
    assert counts(talk("tgi", answer, stream=stream)[0])[0].startswith(error)


def test_triton() -> None:
    chunks = [{"model_name": "m", "text_output": text} for text in ("a", "b", "")]
    result, path, body = talk("triton", streams(*chunks))
    assert counts(result) == ("", None, 2, "chunks")
    assert path == "/v2/models/meta%2Fllama/generate_stream"
    assert body == {"text_input": "Hello", "max_tokens": 9, "stream": True}


def test_triton_without_streaming() -> None:
    result, path, _ = talk("triton", replies({"text_output": "a b"}), stream=False)
    assert counts(result) == ("", None, 0, "nothing")
    assert path == "/v2/models/meta%2Fllama/generate"


def test_triton_errors() -> None:
    result, _, _ = talk("triton", streams({"text_output": "a"}, {"error": "unloaded"}))
    assert counts(result)[0] == "the server says: unloaded"


def test_extra_fields_are_merged_and_taken_out() -> None:
    extra = {"temperature": 0, "stream_options": None, "nothing": None}
    _, _, body = talk("openai-completions", streams(*completion()), extra=extra)
    assert body["temperature"] == 0
    assert "stream_options" not in body
    assert "nothing" not in body
    _, _, body = talk("tgi", streams(), extra={"parameters": {"details": None, "top_k": 5}})
    assert body["parameters"] == {"max_new_tokens": 9, "top_k": 5}


@pytest.fixture
def no_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "_registered", {})


@pytest.mark.usefixtures("no_registered")
def test_a_dialect_of_the_users_own() -> None:
    def body(ask: Ask) -> dict[str, object]:
        return {"text": ask.prompt, "n": ask.max_tokens}

    mine = Dialect(
        "mine",
        "/predict/{model}",
        body,
        read_reply=lambda reply: Reading(output_tokens=len(reply["tokens"])),
        read_chunk=lambda chunk: Reading(token=True, text=True, finished=chunk["last"]),
        done="THE END",
    )
    register_dialect(mine)
    assert dialect_names()[-1] == "mine"
    result, path, sent = talk("mine", replies({"tokens": [1, 2]}), stream=False)
    assert counts(result) == ("", None, 2, "usage")
    assert path == "/predict/meta%2Fllama"
    assert sent == {"text": "Hello", "n": 9}
    result, _, _ = talk("mine", streams({"last": False}, "THE END"))
    assert counts(result) == ("", None, 1, "chunks")
    register_dialect(Dialect("mine", "/other", body, mine.read_reply, mine.read_chunk))
    assert dialect_of("mine").path == "/other"


def test_a_dialect_that_comes_with_the_package_stays() -> None:
    with pytest.raises(LoadError, match="another name"):
        register_dialect(dialect_of("tgi"))
