"""JSON read by annotations: what is there comes back, and what is wrong is named with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.json_values import (
    LARGEST,
    Amount,
    Check,
    Count,
    Maybe,
    Misread,
    Positive,
    load,
    read,
    read_keys,
    written,
)


def _reversed(value: object) -> str:
    return read(str, value)[::-1]


@dataclass(frozen=True)
class Part:
    """An object in another."""

    count: Positive
    size: Amount | None = None
    label: Maybe[str] = ""


@dataclass(frozen=True)
class Whole:
    """One of every kind."""

    name: str
    number: float
    count: Count
    flag: bool
    kind: Literal["one", "two"]
    parts: tuple[Part, ...]
    pair: tuple[int, str]
    by_name: Mapping[str, Mapping[Annotated[str, Check(str.islower, "is not small")], float]]
    anything: Any
    turned: Maybe[Annotated[str, _reversed]] = ""
    rest: Maybe[Mapping[str, int]] = field(default_factory=dict)


DATA: dict[str, Any] = {
    "name": "n",
    "number": 2,
    "count": 0,
    "flag": False,
    "kind": "two",
    "parts": [{"count": 1}, {"count": 2, "size": 0.0, "label": "l"}],
    "pair": [-1, ""],
    "by_name": {"a b": {"é.x": 1.5}},
    "anything": [None, {}],
}
VALUE = Whole(
    "n",
    2.0,
    0,
    False,
    "two",
    (Part(1), Part(2, 0.0, "l")),
    (-1, ""),
    {"a b": {"é.x": 1.5}},
    [None, {}],
)


def test_what_is_written_is_read() -> None:
    assert read(Whole, DATA) == VALUE
    assert written(VALUE) == DATA


def test_keys_that_no_field_has_are_left_alone() -> None:
    assert read(Whole, {**DATA, "of_tomorrow": 1}) == VALUE


def test_a_function_reads_in_its_own_way() -> None:
    assert read(Whole, {**DATA, "turned": "ab"}).turned == "ba"


WRONG = [
    ({"name": None}, ".name: null where there should be a text"),
    ({"number": float("nan")}, ".number: NaN is out of range"),
    ({"number": float("-inf")}, ".number: -Infinity is out of range"),
    ({"number": 10**400}, f".number: 1{'0' * 79} is out of range"),
    ({"number": True}, ".number: true where there should be a number"),
    ({"count": -1}, ".count: -1 is out of range"),
    ({"count": 1.0}, ".count: 1.0 where there should be a whole number"),
    ({"count": False}, ".count: false where there should be a whole number"),
    ({"count": LARGEST + 1}, f".count: {LARGEST + 1} is out of range"),
    ({"flag": 1}, ".flag: 1 where there should be true or false"),
    ({"kind": []}, ".kind: a list where there should be one of one, two"),
    ({"parts": {}}, ".parts: an object where there should be a list"),
    ({"parts": [{"count": 1}, 3]}, ".parts[1]: 3 where there should be an object"),
    ({"parts": [{}]}, ".parts[0].count: it is missing"),
    ({"parts": [{"count": 0}]}, ".parts[0].count: 0 is out of range"),
    (
        {"parts": [{"count": 1, "size": None}]},
        ".parts[0].size: null where there should be a number",
    ),
    ({"parts": [{"count": 1, "size": -0.5}]}, ".parts[0].size: -0.5 is out of range"),
    ({"pair": [1]}, ".pair: 1 values where there should be 2"),
    ({"pair": [1, "", 2]}, ".pair: 3 values where there should be 2"),
    ({"pair": ["", 1]}, '.pair[0]: "" where there should be a whole number'),
    (
        {"by_name": {"a b": {"x": "\x1b"}}},
        '.by_name["a b"].x: "\\u001b" where there should be a number',
    ),
    ({"by_name": {"a": {"X.y": 1}}}, '.by_name.a["X.y"]: "X.y" is not small'),
    ({"by_name": {"é": 1}}, '.by_name["\\u00e9"]: 1 where there should be an object'),
    ({"turned": 3}, ".turned: 3 where there should be a text"),
    ({"rest": {"x": "y" * 100}}, f'.rest.x: "{"y" * 79} where there should be a whole number'),
]


@pytest.mark.parametrize(("change", "problem"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(Misread) as caught:
        read(Whole, {**DATA, **change})
    assert str(caught.value) == problem


def test_the_first_that_is_wrong_is_named() -> None:
    with pytest.raises(Misread, match=r"^\.name: it is missing$"):
        read(Whole, {})
    with pytest.raises(Misread, match=r"^3 where there should be an object$"):
        read(Whole, 3)


def test_of_an_object_some_keys_are_read() -> None:
    assert read_keys({"a": int, "b": tuple[str, ...]}, {"a": 1, "b": ["x"], "c": 2}) == {
        "a": 1,
        "b": ("x",),
    }
    with pytest.raises(Misread, match=r"^\.b: it is missing$"):
        read_keys({"a": int, "b": str}, {"a": 1})


@given(st.floats(-1e15, 1e15), st.integers())
def test_numbers_are_rounded_and_whole_ones_are_whole(number: float, whole: int) -> None:
    (rounded, same) = written((number, whole), 3)
    assert same == whole
    assert abs(rounded - number) <= 0.0005 + 1e-15 * abs(number)
    assert isinstance(rounded, int) == (rounded == int(rounded))
    assert written(number) == number


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Misread, match=r"^the key 'b' is there twice$"):
        load('{"a": 1, "c": {"b": 1, "x": 2, "b": 1}}')


def test_an_error_is_no_longer_than_helps() -> None:
    deep: Any = 1
    for _ in range(4):
        deep = {"x" * 10_000: deep}
    with pytest.raises(Misread) as caught:
        read(
            Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]],
            json.loads(json.dumps(deep)),
        )
    assert len(str(caught.value)) < 500
