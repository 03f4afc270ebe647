"""JSON texts in lines: what any reader reads, and which lines there are."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.json_lines import json_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.integers(0, 4))
def test_is_the_value(value: object, levels: int) -> None:
    assert json.loads("".join(json_lines(value, levels))) == value


def test_what_is_in_the_upper_levels_has_lines() -> None:
    value = {"a": [{"b": [1, 2]}, {}], "c": {}, "d": [], "e": "text"}
    text = "".join(json_lines(value, 2))
    assert text == '{\n "a": [\n  {"b":[1,2]},\n  {}\n ],\n "c": {},\n "d": [],\n "e": "text"\n}'


def test_an_iterator_is_a_list_whose_items_are_made_when_they_are_written() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    text = ""
    for piece in json_lines({"all": items()}, 2):
        text += piece
        assert len(made) <= text.count("\n")
    assert json.loads(text) == {"all": [0, 1, 2]}
