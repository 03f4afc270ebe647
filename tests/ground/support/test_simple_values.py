"""Values of Python's own types, through JSON and back; and values as they would be shown."""

from __future__ import annotations

import datetime
import enum
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.simple_values import as_shown, from_json, to_json

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = st.integers() | st.text() | st.just("$type") | st.tuples(st.text())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(st.integers())
        | st.frozensets(st.text())
    ),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_sent_arrives_as_it_was(value: Any) -> None:
    arrived = from_json(json.loads(json.dumps(to_json(value))))
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize("value", [object(), Path("a"), numpy.float64(1), [{"a": datetime}]])
def test_anything_else_is_named(value: object) -> None:
    with pytest.raises(TypeError, match="not a simple value"):
        to_json(value)


class Mode(enum.Enum):
    FAST = 1

    def __str__(self) -> str:
        return "fast"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, 3),
        (True, True),
        ("text", "text"),
        (None, None),
        ([1, {"a": 2.5}], [1, {"a": 2.5}]),
        (numpy.float64(3.5), 3.5),
        (numpy.float32(3.5), "3.5"),
        (numpy.int64(7), "7"),
        (Path("/models/llama"), "/models/llama"),
        (Mode.FAST, "fast"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ((1, 2), "(1, 2)"),
        ({1: 2}, "{1: 2}"),
        (float("inf"), float("inf")),
    ],
)
def test_a_value_is_shown_as_str_shows_it(value: object, shown: object) -> None:
    found = as_shown(value)
    assert str(found) == str(shown) == str(value)
    assert type(found) is type(shown)
    assert str(as_shown(Level.HIGH)) == str(Level.HIGH)
