"""The file of a timeline: small, the same for the same timeline, and read strictly."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nsys.insights.timeline import Timeline, document
from pytest_nsys.insights.timeline.model import LONGEST_TEXT, MOST_ELEMENTS, MOST_POINTS, Point
from tests.support.timelines import element, timeline, timelines

MADE = Timeline(
    1000,
    timeline().lanes,
    timeline().labels,
    (element(10, 5), element(20, 7, 1, operations=3, mixed=True)),
    (Point(0, 100), Point(50, 90)),
)
DAMAGE = (KeyError, TypeError, ValueError)


def _file(change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = json.loads(gzip.decompress(document.render(MADE, "it")))
    change(data)
    return gzip.compress(json.dumps(data).encode())


@given(timelines(), st.text(max_size=20))
def test_what_was_written_is_read(made: Timeline, recording: str) -> None:
    data = document.render(made, recording)
    assert document.parse(data) == (made, recording)
    assert document.render(made, recording) == data


def test_a_timeline_of_the_most_elements_has_some_ten_thousand_bytes() -> None:
    rows = [element(7 * at, 3 + at * at % 40, at % 4) for at in range(MOST_ELEMENTS)]
    data = document.render(timeline(*rows, length=7 * MOST_ELEMENTS), "")
    assert len(data) < 40_000
    assert len(document.parse(data)[0].elements) == MOST_ELEMENTS


def test_no_time_of_writing_is_in_the_file() -> None:
    assert document.render(MADE, "it")[4:8] == b"\0\0\0\0"


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no_schema": lambda d: d.pop("schema"),
    "a_newer_schema": lambda d: d.update(schema=2),
    "no_recording": lambda d: d.pop("recording"),
    "a_number_for_the_recording": lambda d: d.update(recording=1),
    "a_negative_length": lambda d: d.update(length=-1),
    "a_length_that_is_no_number": lambda d: d.update(length="9"),
    "a_fraction": lambda d: d.update(length=1.5),
    "a_truth_for_a_number": lambda d: d.update(length=True),
    "a_length_out_of_all_bounds": lambda d: d.update(length=2**60),
    "a_cell_below_zero": lambda d: d.update(cell=-5),
    "a_flag_of_two": lambda d: d.update(sparse=2),
    "elements_that_are_a_list": lambda d: d.update(elements=[]),
    "a_column_that_is_missing": lambda d: d["elements"].pop("busy"),
    "a_column_that_is_short": lambda d: d["elements"]["start"].pop(),
    "a_short_column_of_flags": lambda d: d["elements"]["mixed"].pop(),
    "a_short_column_of_operations": lambda d: d["elements"]["operations"].pop(),
    "a_short_column_of_times": lambda d: d["elements"]["busy"].pop(),
    "a_lane_that_is_not_there": lambda d: d["elements"].update(lane=[0, 1]),
    "a_lane_below_zero": lambda d: d["elements"].update(lane=[-1, 1]),
    "a_label_that_is_not_there": lambda d: d["elements"].update(label=[0, 4]),
    "an_end_before_the_start": lambda d: d["elements"].update(duration=[-1, 5]),
    "elements_out_of_order": lambda d: d["elements"].update(start=[20, -1]),
    "starts_that_add_up_to_too_much": lambda d: d["elements"].update(start=[2**53, 2**53]),
    "no_operation_at_all": lambda d: d["elements"].update(operations=[-1, 2]),
    "a_time_below_zero": lambda d: d["elements"].update(busy=[-6, 0]),
    "text_for_a_flag": lambda d: d["elements"].update(mixed=["0", "1"]),
    "too_many_elements": lambda d: d["elements"].update(lane=[0] * 10**5),
    "a_lane_of_another_kind": lambda d: d.update(lanes=[["other", "x"]]),
    "a_lane_of_three": lambda d: d.update(lanes=[["gpu", "x", "y"]]),
    "a_lane_of_one": lambda d: d.update(lanes=[["gpu"]]),
    "a_lane_without_text": lambda d: d.update(lanes=[["gpu", None]]),
    "too_many_lanes": lambda d: d.update(lanes=[["gpu", "x"]] * 41),
    "a_text_that_is_too_long": lambda d: d.update(labels=[["x" * (LONGEST_TEXT + 1), "gemm"]] * 4),
    "a_category_that_is_too_long": lambda d: d.update(labels=[["x", "y" * 9999]] * 4),
    "memory_out_of_order": lambda d: d["memory"].update(time=[5, -1]),
    "memory_below_zero": lambda d: d["memory"].update(live=[5, -6]),
    "memory_without_times": lambda d: d["memory"].update(time=[]),
    "too_much_memory": lambda d: d["memory"].update(
        time=[0] * (MOST_POINTS + 1), live=[0] * (MOST_POINTS + 1)
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(name: str) -> None:
    with pytest.raises(DAMAGE):
        document.parse(_file(WRONG[name]))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"schema": 1',
        b'{"schema": 1, "schema": 1}',
        b"[" * 100_000,
        b'{"schema": 1, "recording": "", "length": ' + b"9" * 5000 + b"}",
        b'{"schema": NaN}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_such_json_is_refused(text: bytes) -> None:
    with pytest.raises(DAMAGE):
        document.parse(gzip.compress(text))


def test_what_is_not_packed_or_cut_off_or_followed_by_something_is_refused() -> None:
    good = document.render(MADE, "it")
    for data in (b"", b"{}", good[:-1], good[: len(good) // 2], good + b"x", good + good):
        with pytest.raises(ValueError, match=r"it c|it is"):
            document.parse(data)


def test_what_unpacks_to_very_much_is_refused_before_it_fills_memory() -> None:
    with pytest.raises(ValueError, match="too large"):
        document.parse(gzip.compress(b" " * (17 * 2**20)))


@settings(max_examples=200)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 3))
def test_a_damaged_file_is_refused_or_read_as_a_timeline(place: int, byte: int, kind: int) -> None:
    """Of the file, or of the JSON in it, bytes are replaced, inserted and left out."""
    packed = document.render(MADE, "it")
    plain = bytearray(gzip.decompress(packed) if kind else packed)
    place %= len(plain)
    if kind == 2:
        del plain[place]
    elif kind == 3:
        plain.insert(place, byte)
    else:
        plain[place] = byte
    data = gzip.compress(bytes(plain)) if kind else bytes(plain)
    try:
        found, recording = document.parse(data)
    except DAMAGE:
        return
    assert document.parse(document.render(found, recording)) == (found, recording)
