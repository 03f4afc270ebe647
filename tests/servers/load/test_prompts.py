"""Prompts from lists and files, and made up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import PromptsError
from pytest_nsys.servers.load import (
    prompts_of,
    synthetic,
    synthetic_text,
)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lists() -> None:
    assert prompts_of(["a", [1, 2], (3,)]) == ("a", (1, 2), (3,))
    assert prompts_of(("a",)) == ("a",)
    prompts = prompts_of([list(np.array([7, 8]))])
    assert prompts == ((7, 8),)
    assert type(prompts[0][0]) is int


def test_texts(tmp_path: Path) -> None:
    content = "\ufefffirst\r\n\n  \nsecond, with a\x85line\u2028end\nlast"
    path = write(tmp_path, "p.txt", content)
    expected = ("first", "second, with a\x85line\u2028end", "last")
    assert prompts_of(path) == prompts_of(str(path)) == expected


def test_json_lines(tmp_path: Path) -> None:
    lines = ['{"prompt": "a", "id": 1}', '"b"', "", "[1, 2]", '{"prompt": [3]}']
    path = write(tmp_path, "p.jsonl", "\n".join(lines))
    assert prompts_of(path) == ("a", "b", (1, 2), (3,))


def test_json(tmp_path: Path) -> None:
    path = write(tmp_path, "p.JSON", json.dumps(["a", [1], {"prompt": "c"}]))
    assert prompts_of(path) == ("a", (1,), "c")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "\n\n", "p.txt has no prompts"),
        ("p.txt", b"a\nb\xff", r"p.txt:2 is not UTF-8[\s\S]*at byte 1"),
        ("p.jsonl", "", "p.jsonl has no prompts"),
        ("p.jsonl", '"a"\n{"text": "b"}', r'p.jsonl:2 has no "prompt"'),
        ("p.jsonl", '"a"\n\n{"prompt": 3}', "p.jsonl:3 is neither"),
        ("p.jsonl", '"a"\nnonsense', r"p.jsonl:2 is not JSON[\s\S]*at column 1: 'nonsense'"),
        ("p.jsonl", '"a"\n[1, 2.5]', r"p.jsonl:2 has a token id that is none[\s\S]*2.5"),
        ("p.jsonl", '"a"\n[true]', "p.jsonl:2 has a token id that is none"),
        ("p.jsonl", '"a"\n""', "p.jsonl:2 is empty"),
        ("p.jsonl", "[" * 200_000, "p.jsonl:1 is not JSON that can be read"),
        ("p.jsonl", "[" + "9" * 5000 + "]", "p.jsonl:1 is not JSON that can be read"),
        ("p.json", '{"prompt": "a"}', "p.json has no list of prompts"),
        ("p.json", "[]", "p.json has no prompts"),
        ("p.json", '[\n"a"\n"b"]', r"p.json is not JSON[\s\S]*column 1 of line 3"),
        ("p.json", '["a", null]', "p.json, item 2, is neither"),
        ("p.json", b'[\n"\xff"]', r"p.json is not UTF-8[\s\S]*byte 3, line 2"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(PromptsError, match=message) as caught:
        prompts_of(write(tmp_path, name, content))
    assert len(str(caught.value)) < 1000


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(PromptsError, match=r"cannot be read[\s\S]*No such file"):
        prompts_of(str(tmp_path / "none.txt"))
    write(tmp_path, "p.csv", "a")
    with pytest.raises(PromptsError, match="names no file of prompts"):
        prompts_of(tmp_path / "p.csv")


@pytest.mark.parametrize("value", ["Tell me a story.", "", "a\0b"])
def test_a_text_alone(value: str) -> None:
    with pytest.raises(PromptsError, match=r'write \["..."\]'):
        prompts_of(value)


@pytest.mark.parametrize("value", [None, 3, {"prompt": "a"}, b"a", {"a"}])
def test_what_is_no_list(value: Any) -> None:
    with pytest.raises(PromptsError, match="is no list of prompts"):
        prompts_of(value)


def test_empty_lists() -> None:
    with pytest.raises(PromptsError, match="the list has no prompts"):
        prompts_of([])


@given(st.integers(1, 300), st.integers(1, 5), st.integers(), st.integers(2, 200_000))
def test_synthetic_prompts(tokens: int, count: int, seed: int, vocabulary: int) -> None:
    prompts = synthetic(tokens, count, seed, vocabulary)
    assert prompts == synthetic(tokens, count, seed, vocabulary)
    assert [len(prompt) for prompt in prompts] == [tokens] * count
    lowest = min(1000, vocabulary // 2)
    assert all(lowest <= token < vocabulary for prompt in prompts for token in prompt)
    assert prompts_of([*prompts]) == prompts


def test_synthetic_prompts_differ() -> None:
    assert synthetic(8, 2, seed=1) != synthetic(8, 2, seed=2)
    assert len(set(synthetic(8, 100))) == 100
    # For ever: baselines compare loads of different days.
    assert synthetic(4, 1) == ((27177, 24496, 14037, 9026),)


def test_synthetic_texts() -> None:
    texts = synthetic_text(50, 20)
    assert texts == synthetic_text(50, 20)
    assert len(set(texts)) == 20
    assert all(isinstance(text, str) and len(text.split()) == 50 for text in texts)


@pytest.mark.parametrize("make", [synthetic, synthetic_text])
@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (True, 1), (1.5, 1), ("3", 1)])
def test_bad_counts(make: Any, arguments: tuple[Any, Any]) -> None:
    with pytest.raises(PromptsError, match="of synthetic prompts is wrong"):
        make(*arguments)


@pytest.mark.parametrize("vocabulary", [1, 2.5, None])
def test_bad_vocabularies(vocabulary: Any) -> None:
    with pytest.raises(PromptsError, match="at least two token ids"):
        synthetic(1, 1, vocabulary=vocabulary)
