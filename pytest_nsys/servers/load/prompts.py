"""Prompts: from a list, from a file, or made up."""

from __future__ import annotations

import json
import operator
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_nsys.errors import PromptsError
from pytest_nsys.servers.load.model import Prompt, check_prompt, shortened
from pytest_nsys.support.own import own

SUFFIXES = (".txt", ".jsonl", ".json")
"""Files of prompts: a text a line; a JSON value a line; one JSON list."""

VOCABULARY = 32_000
"""Token ids that all usual models have: Llama 2, with 32,000, has one of the smallest."""

_LOWEST = 1_000
"""Below it are the ids of special tokens and single bytes (Llama 2, Mistral: 0 to 258; BERT: 0
to 998); those that newer models append (Llama 3, Qwen) are above `VOCABULARY`."""

_WORDS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city name team minute idea body back parent face others level office door "
    "health person art war history party result change morning reason research girl guy moment air "
    "teacher force order"
).split()
"""Frequent English words: one token each in the vocabularies of the usual models."""

FORMS = (
    "a list of texts or of lists of token ids, a file (.txt: a text a line; .jsonl: a line each of "
    'a text, token ids or {"prompt": ...}; .json: a list), or '
    "pytest_nsys.synthetic(tokens=128, count=64)"
)


def prompts_of(value: object) -> tuple[Prompt, ...]:
    """The prompts that somebody gave, as a load takes them.

    Args:
        value: a list or tuple of texts or of lists of token ids; or a file, as a path or a str
            that names one (see `SUFFIXES`).

    Raises:
        PromptsError: it is none of these; names the file and the line.
    """
    if isinstance(value, str | Path):
        return _of_file(Path(value))
    if not isinstance(value, list | tuple):
        raise PromptsError(
            f"{type(value).__name__} is no list of prompts",
            evidence=shortened(value),
            remedy=f"prompts are {FORMS}",
        )
    return _all(((f"prompt {number}", item) for number, item in enumerate(value, 1)), "the list")


def synthetic(
    tokens: int, count: int, seed: int = 0, vocabulary: int = VOCABULARY
) -> tuple[Prompt, ...]:
    """Prompts of exactly so many token ids each, always the same ones for a seed.

    No two begin alike, so that a cache of prefixes does not serve them.

    Args:
        tokens: ids in each prompt.
        count: how many prompts.
        seed: chooses the ids.
        vocabulary: ids that the model has; where it is that large, none below 1,000 is taken,
            which leaves special tokens out.

    Raises:
        PromptsError: an argument is no whole number in its range.
    """
    _check_counts(tokens=tokens, count=count)
    if not isinstance(vocabulary, int) or vocabulary < 2:
        raise PromptsError(
            "a vocabulary has at least two token ids", evidence=f"vocabulary={vocabulary!r}"
        )
    lowest = min(_LOWEST, vocabulary // 2)
    draw = random.Random(seed).random  # the one method whose numbers Python promises to keep
    return tuple(
        tuple(lowest + int(draw() * (vocabulary - lowest)) for _ in range(tokens))
        for _ in range(count)
    )


def synthetic_text(tokens: int, count: int, seed: int = 0) -> tuple[Prompt, ...]:
    """Prompts of about so many tokens as texts, for servers that take only texts.

    Each is ``tokens`` frequent English words. That is approximate: how many tokens they are is
    the tokenizer's choice, and servers add some (a beginning of sequence, a chat's template). The
    exact number is in the result (``client.prompt_tokens``), where the server tells it.

    Args:
        tokens: words in each prompt.
        count: how many prompts.
        seed: chooses the words.

    Raises:
        PromptsError: an argument is no whole number in its range.
    """
    _check_counts(tokens=tokens, count=count)
    draw = random.Random(seed).random
    return tuple(
        " ".join(_WORDS[int(draw() * len(_WORDS))] for _ in range(tokens)) for _ in range(count)
    )


def _check_counts(**counts: object) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PromptsError(
                f"{name} of synthetic prompts is wrong",
                evidence=f"{name}={value!r}",
                remedy="it is a whole number of at least 1",
            )


def _of_file(path: Path) -> tuple[Prompt, ...]:
    if path.suffix.lower() not in SUFFIXES:
        raise PromptsError(
            "a text alone is no list of prompts, and names no file of prompts",
            evidence=shortened(str(path)),
            remedy=f'for one prompt, write ["..."]; prompts are {FORMS}',
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PromptsError(
            "the file of prompts cannot be read",
            evidence=f"{path}: {error.strerror}",
            remedy="correct the path: it counts from the folder that pytest was started in",
        ) from None
    if path.suffix.lower() == ".json":
        return _all(_items_of_json(path, content), str(path))
    return _all(_items_of_lines(path, content), str(path))


def _items_of_lines(path: Path, content: bytes) -> Iterator[tuple[str, object]]:
    """Per line that is not empty, where it is, and the text or JSON value in it."""
    # By line ends only: str.splitlines would cut at characters that a text may have.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        where = f"{path}:{number}"
        text = _decoded(where, line.removesuffix(b"\r"))
        if text.strip():
            yield where, _parsed(where, text) if path.suffix.lower() == ".jsonl" else text


def _items_of_json(path: Path, content: bytes) -> Iterator[tuple[str, object]]:
    items = _parsed(str(path), _decoded(str(path), content.removeprefix(b"\xef\xbb\xbf")))
    if not isinstance(items, list):
        raise PromptsError(
            f"{path} has no list of prompts",
            evidence=shortened(items),
            remedy='write ["a text", [1, 2, 3], {"prompt": "..."}]',
        )
    for number, item in enumerate(items, 1):
        yield f"{path}, item {number},", item


def _decoded(where: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        raise PromptsError(
            f"{where} is not UTF-8",
            evidence=f"{error.reason} at byte {error.start}" + (f", line {line + 1}" * bool(line)),
            remedy="save the file as UTF-8",
        ) from None


def _parsed(where: str, text: str) -> object:
    try:
        return own.from_json(text)
    except json.JSONDecodeError as error:
        line = f" of line {error.lineno}" if error.lineno > 1 else ""
        raise PromptsError(
            f"{where} is not JSON",
            evidence=f"{error.msg} at column {error.colno}{line}: {shortened(text, 80)}",
            remedy=f"prompts are {FORMS}",
        ) from None
    except (ValueError, RecursionError) as error:  # numbers too long, lists too deep
        raise PromptsError(f"{where} is not JSON that can be read", evidence=str(error)) from None


def _all(items: Iterable[tuple[str, object]], source: str) -> tuple[Prompt, ...]:
    prompts = tuple(_prompt(where, item) for where, item in items)
    if not prompts:
        raise PromptsError(f"{source} has no prompts", remedy=f"prompts are {FORMS}")
    return prompts


def _prompt(where: str, item: object) -> Prompt:
    if isinstance(item, dict):
        if "prompt" not in item:
            raise PromptsError(
                f'{where} has no "prompt"',
                evidence=shortened(item),
                remedy='write {"prompt": "a text"} or {"prompt": [1, 2, 3]}',
            )
        item = item["prompt"]
    prompt = tuple(_token(token) for token in item) if isinstance(item, list | tuple) else item
    check_prompt(prompt, where)
    return prompt  # type: ignore[return-value]  # or check_prompt had raised


def _token(token: object) -> object:
    """A token id as a plain int, of whatever whole number it is (numpy has its own)."""
    try:
        return token if isinstance(token, bool) else operator.index(token)  # type: ignore[arg-type]
    except TypeError:
        return token  # for check_prompt to say what it is
