"""What servers speak: how a request is put, and how its answer is read.

A dialect is data and three functions. Those of the usual servers are here; a user's own is one
more instance, made known by `register_dialect`::

    register_dialect(Dialect(
        name="mine", path="/predict",
        body=lambda ask: {"text": ask.prompt, "n": ask.max_tokens},
        read_reply=lambda reply: Reading(output_tokens=len(reply["tokens"])),
        read_chunk=lambda chunk: Reading(token=True, text=True),
    ))

The dialects and what says so:

- ``openai-completions`` and ``openai-chat``: https://platform.openai.com/docs/api-reference/completions
  and https://platform.openai.com/docs/api-reference/chat. With ``stream_options`` of
  ``include_usage`` a last chunk, of no choices, tells the tokens. ``ignore_eos`` is an addition of
  the engines: vLLM (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, "Extra
  Parameters"), SGLang (https://docs.sglang.ai/backend/sampling_params.html) and TensorRT-LLM
  (tensorrt_llm/serve/openai_protocol.py in https://github.com/NVIDIA/TensorRT-LLM).
- ``transformers``: ``transformers serve``, which is ``openai-chat`` but refuses fields that it does
  not use, among them ``stream_options`` (https://huggingface.co/docs/transformers/serving; the list
  is UNUSED_CHAT_COMPLETION_FIELDS in its source).
- ``tgi``: https://huggingface.github.io/text-generation-inference/ (docs/openapi.json in
  https://github.com/huggingface/text-generation-inference). It has no parameter against an early
  end.
- ``triton``: the generate extension, https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_generate.html.
  What a model takes besides ``text_input`` is the model's own affair; ``max_tokens`` and ``stream``
  are of the backends of TensorRT-LLM (https://github.com/triton-inference-server/tensorrtllm_backend)
  and vLLM. It tells no number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from pytest_nsys.errors import LoadError
from pytest_nsys.servers.load.model import Load, Prompt
from pytest_nsys.support.text import suggest

Json = Mapping[str, Any]
"""A JSON object that a server has sent."""


@dataclass(frozen=True)
class Ask:
    """What a dialect puts into the body of one request.

    Attributes:
        model: name of the model at the server.
        prompt: a text, or token ids where the dialect takes them.
        max_tokens: output tokens to ask for.
        stream: whether the output is to come token by token.
        ignore_eos: whether to generate ``max_tokens`` tokens in any case.
    """

    model: str
    prompt: Prompt
    max_tokens: int
    stream: bool
    ignore_eos: bool


@dataclass(frozen=True)
class Reading:
    """What one chunk of a stream says, or a whole reply.

    Attributes:
        token: output has arrived: this is the moment of a token.
        text: and it has text. Where a server tells no count, such chunks are counted.
        prompt_tokens: the server's count; None where this does not tell it.
        output_tokens: the server's count of all output tokens, likewise.
        finished: the output is complete.
        error: what the server says went wrong.
    """

    token: bool = False
    text: bool = False
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    finished: bool = False
    error: str = ""


@dataclass(frozen=True)
class Dialect:
    """What a server speaks.

    Attributes:
        name: how a target names it.
        path: of the URL; ``{model}`` in it is the model's name.
        body: gives the body of a request, a JSON object.
        read_reply: reads the answer to a request without streaming.
        read_chunk: reads the data of one server-sent event. What these two raise makes the
            answer a malformed one.
        stream_path: the path for streaming, where it is another one.
        takes_token_ids: whether a prompt may be token ids.
        done: the data of the event that ends a stream.
        says_end: whether a stream says that it is complete, by ``done`` or by a chunk that is
            ``finished``. One that ends before is an error.
    """

    name: str
    path: str
    body: Callable[[Ask], Mapping[str, object]]
    read_reply: Callable[[Json], Reading]
    read_chunk: Callable[[Json], Reading]
    stream_path: str = ""
    takes_token_ids: bool = False
    done: str = "[DONE]"
    says_end: bool = True

    def path_of(self, model: str, stream: bool) -> str:
        """The path that a request goes to."""
        path = self.stream_path if stream and self.stream_path else self.path
        return path.replace("{model}", quote(model, safe=""))

    def request(self, load: Load, model: str, prompt: Prompt) -> dict[str, object]:
        """The body of a request of this load.

        Raises:
            LoadError: the prompt is token ids and the dialect takes only texts.
        """
        if not isinstance(prompt, str) and not self.takes_token_ids:
            raise LoadError(
                f"the dialect {self.name!r} takes prompts as texts, not as token ids",
                evidence=f"a prompt of {len(prompt)} token ids",
                remedy="give texts (pytest_nsys.synthetic_text(tokens=128, count=64) makes some), "
                'or use dialect="openai-completions" where the server has it',
            )
        ask = Ask(model, prompt, load.max_tokens, load.stream, load.ignore_eos)
        return _merged(self.body(ask), load.extra)


def _merged(body: Mapping[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    """The body with the extra fields: objects are merged, None takes a field out."""
    merged = dict(body)
    for name, value in extra.items():
        known = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(known, Mapping):
            merged[name] = _merged(known, value)
        else:
            merged[name] = value
    return merged


def _error_of(data: Json) -> str:
    """What the server says went wrong; ``error`` is a text, or an object with a message."""
    error = data.get("error")
    if not error:
        return ""
    return str(error.get("message") or error) if isinstance(error, Mapping) else str(error)


def _usage(data: Json) -> tuple[int | None, int | None]:
    """Prompt and output tokens of OpenAI's ``usage``, which chunks have as null, or not at all."""
    usage = data.get("usage") or {}
    return usage.get("prompt_tokens"), usage.get("completion_tokens")


def _choices(chunk: Json) -> Any:
    """The choices of a chunk; one that tells the usage need not have any."""
    return chunk.get("choices", ()) if chunk.get("usage") else chunk["choices"]


def _openai_body(ask: Ask, **prompt: object) -> dict[str, object]:
    return {
        "model": ask.model,
        **prompt,
        "max_tokens": ask.max_tokens,
        "stream": ask.stream,
        **({"stream_options": {"include_usage": True}} if ask.stream else {}),
        **({"ignore_eos": True} if ask.ignore_eos else {}),
    }


def _openai_reply(reply: Json) -> Reading:
    if error := _error_of(reply):
        return Reading(error=error)
    if not reply["choices"]:
        raise ValueError("no choices")
    prompt_tokens, output_tokens = _usage(reply)
    return Reading(True, True, prompt_tokens, output_tokens, finished=True)


def _completions_chunk(chunk: Json) -> Reading:
    if error := _error_of(chunk):
        return Reading(error=error)
    choices = _choices(chunk)
    return Reading(
        # With or without text: special tokens have none, nor has any where the server has no
        # tokenizer.
        bool(choices),
        any(choice.get("text") for choice in choices),
        *_usage(chunk),
        finished=any(choice.get("finish_reason") for choice in choices),
    )


def _chat_chunk(chunk: Json) -> Reading:
    if error := _error_of(chunk):
        return Reading(error=error)
    choices = _choices(chunk)
    deltas = [choice.get("delta") or {} for choice in choices]
    text = any(map(_says, deltas))
    return Reading(
        # The first chunk may only say whose turn it is, long before there is a token.
        text or any(d.get("content") is not None and not d.get("role") for d in deltas),
        text,
        *_usage(chunk),
        finished=any(choice.get("finish_reason") for choice in choices),
    )


_SPOKEN = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls")
"""Where a chat's output can be: models that reason do so under a name of their own."""


def _says(delta: Json) -> bool:
    return any(delta.get(name) for name in _SPOKEN)


def _chat_messages(ask: Ask) -> list[dict[str, object]]:
    return [{"role": "user", "content": ask.prompt}]


def _tgi_body(ask: Ask) -> dict[str, object]:
    # "details" makes the server tell its counts of tokens.
    return {
        "inputs": ask.prompt,
        "parameters": {"max_new_tokens": ask.max_tokens, "details": True},
    }


def _tgi_reply(reply: Json) -> Reading:
    if error := _error_of(reply):
        return Reading(error=error)
    if not isinstance(reply["generated_text"], str):
        raise ValueError("generated_text is no text")
    details = reply.get("details") or {}
    return Reading(True, True, None, details.get("generated_tokens"), finished=True)


def _tgi_chunk(chunk: Json) -> Reading:
    if error := _error_of(chunk):
        return Reading(error=error)
    # Each event is one token; the last one has the whole text and the details besides.
    details = chunk.get("details") or {}
    return Reading(
        "id" in chunk["token"],
        True,
        details.get("input_length"),
        details.get("generated_tokens"),
        finished=chunk.get("generated_text") is not None,
    )


def _triton_body(ask: Ask) -> dict[str, object]:
    return {"text_input": ask.prompt, "max_tokens": ask.max_tokens, "stream": ask.stream}


def _triton_chunk(chunk: Json) -> Reading:
    if error := _error_of(chunk):
        return Reading(error=error)
    return Reading(True, bool(chunk["text_output"]))


OPENAI_COMPLETIONS = Dialect(
    name="openai-completions",
    path="/v1/completions",
    body=lambda ask: _openai_body(ask, prompt=ask.prompt),
    read_reply=_openai_reply,
    read_chunk=_completions_chunk,
    takes_token_ids=True,
)
OPENAI_CHAT = Dialect(
    name="openai-chat",
    path="/v1/chat/completions",
    body=lambda ask: _openai_body(ask, messages=_chat_messages(ask)),
    read_reply=_openai_reply,
    read_chunk=_chat_chunk,
)
TRANSFORMERS = replace(
    OPENAI_CHAT,
    name="transformers",
    body=lambda ask: {
        "model": ask.model,
        "messages": _chat_messages(ask),
        "max_tokens": ask.max_tokens,
        "stream": ask.stream,
    },
)
TGI = Dialect(
    name="tgi",
    path="/generate",
    stream_path="/generate_stream",
    body=_tgi_body,
    read_reply=_tgi_reply,
    read_chunk=_tgi_chunk,
)
TRITON = Dialect(
    name="triton",
    path="/v2/models/{model}/generate",
    stream_path="/v2/models/{model}/generate_stream",
    body=_triton_body,
    read_reply=_triton_chunk,
    read_chunk=_triton_chunk,
    says_end=False,
)

_BUILT_IN = {d.name: d for d in (OPENAI_COMPLETIONS, OPENAI_CHAT, TRANSFORMERS, TGI, TRITON)}
_registered: dict[str, Dialect] = {}


def register_dialect(dialect: Dialect) -> Dialect:
    """Make a dialect known by its name. One registered before under this name is replaced.

    Raises:
        LoadError: the name is that of a dialect that comes with this package.
    """
    if dialect.name in _BUILT_IN:
        raise LoadError(
            f"there is a dialect {dialect.name!r} already",
            remedy="give yours another name",
        )
    _registered[dialect.name] = dialect
    return dialect


def dialect_names() -> tuple[str, ...]:
    """The names of all dialects."""
    return (*_BUILT_IN, *_registered)


def dialect_of(dialect: str | Dialect) -> Dialect:
    """The dialect itself, or the one of that name.

    Raises:
        LoadError: none has this name.
    """
    if isinstance(dialect, Dialect):
        return dialect
    found = _BUILT_IN.get(dialect) or _registered.get(dialect)
    if found is None:
        raise LoadError(
            f"there is no dialect {dialect!r}",
            evidence="dialects: " + ", ".join(dialect_names()),
            remedy=suggest(str(dialect), dialect_names())
            + " (pytest_nsys.register_dialect makes others known)",
        )
    return found
