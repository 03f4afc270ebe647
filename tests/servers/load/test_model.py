"""What makes a load, and what its result says of itself."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pytest_nsys.errors import LoadError, PromptsError
from pytest_nsys.servers.load import (
    Exchange,
    Load,
    LoadResult,
)

ONE = ("Say something.",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a load needs an end"),
        ({"requests": 0}, "requests of a load is wrong"),
        ({"requests": 1.5}, "requests=1.5"),
        ({"requests": True}, "requests=True"),
        ({"duration_s": 0}, "duration of a load is wrong"),
        ({"duration_s": math.nan}, "duration=nan"),
        ({"duration_s": math.inf}, "duration=inf"),
        ({"duration_s": "30s"}, "duration='30s'"),
        ({"requests": 1, "concurrency": 0}, "concurrency=0"),
        ({"requests": 1, "rate_per_s": -1}, "rate=-1"),
        ({"requests": 1, "rate_per_s": True}, "rate=True"),
        ({"requests": 1, "concurrency": 1, "rate_per_s": 5}, "either a concurrency or a rate"),
        ({"requests": 1, "max_tokens": 0}, "max_tokens=0"),
        ({"requests": 1, "timeout_s": 0}, "timeout=0"),
        ({"requests": 1, "stream": 1}, "stream=1"),
        ({"requests": 1, "ignore_eos": None}, "ignore_eos=None"),
        ({"requests": 1, "extra": [1]}, r"extra=\[1\]"),
        ({"requests": 1, "extra": {1: 2}}, "extra="),
    ],
)
def test_what_is_no_load(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError, match=message) as caught:
        Load(ONE, **arguments)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["a"], "as a tuple, not as list"),
        ("a", "as a tuple, not as str"),
        ((), "no prompts"),
        (("a", ""), "prompt 2 is empty"),
        (((),), "prompt 1 is empty"),
        (("a", 3), "prompt 2 is neither"),
        ((b"a",), "prompt 1 is neither"),
        (((1, -1),), "prompt 1 has a token id that is none"),
        (((1, True),), "prompt 1 has a token id that is none"),
        (((1, "2"),), "prompt 1 has a token id that is none"),
    ],
)
def test_what_are_no_prompts(prompts: Any, message: str) -> None:
    with pytest.raises(PromptsError, match=message):
        Load(prompts, requests=1)


def test_a_load_has_one_request_in_flight_by_default() -> None:
    assert Load(ONE, requests=1).concurrency == 1
    assert Load(ONE, requests=1, rate_per_s=2).concurrency is None


@pytest.mark.parametrize(
    ("arguments", "longest"),
    [
        ({"requests": 10}, 100),
        ({"requests": 10, "concurrency": 4}, 30),
        ({"requests": 11, "rate_per_s": 2}, 15),
        ({"duration_s": 30}, 40),
        ({"requests": 2, "duration_s": 30}, 20),
        ({"requests": 200, "duration_s": 30}, 40),
    ],
)
def test_how_long_a_load_can_take(arguments: dict[str, Any], longest: float) -> None:
    assert Load(ONE, timeout_s=10, **arguments).longest_s == longest


def test_a_result_says_where_its_counts_are_from() -> None:
    def result(*counted: Any) -> LoadResult:
        each = [Exchange(0, 1, 2, 3, None, 4, counted=source) for source in counted]
        failed = Exchange(0, None, None, 3, None, 0, "HTTP 500: no", "nothing")
        return LoadResult((*each, failed), 0, 0, 0, 0)

    assert result("usage").counted == "usage"
    assert result("usage", "chunks").counted == "chunks"
    assert result("chunks", "nothing", "usage").counted == "nothing"
    assert result().counted == "nothing"
    assert result("usage", "usage").output_tokens == 8
    assert len(result("usage").failed) == 1
