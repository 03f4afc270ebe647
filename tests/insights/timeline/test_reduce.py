"""Making timelines smaller: what is kept exactly, and how far what is drawn is off."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.insights.timeline import Timeline
from pytest_nsys.insights.timeline.model import MOST_POINTS
from pytest_nsys.insights.timeline.reduce import reduced_points, reduced_to
from pytest_nsys.support.arrays.rows import Ints
from tests.support.timelines import element, timeline, timelines


def test_what_is_few_enough_stays_as_it_is() -> None:
    given = timeline(element(0, 5), element(10, 5, 1))
    assert reduced_to(given, 2) is given


def test_short_neighbours_of_one_category_are_one_and_long_ones_stay() -> None:
    short = [element(at, 1) for at in (0, 2, 4)] + [element(6, 3, 1)]
    given = timeline(*short, element(500, 400), length=16_000)
    found = reduced_to(given, 2)
    first, long = found.elements
    assert long == element(500, 400)
    assert (first.start, first.end, first.operations, first.busy) == (0, 6, 4, 6)
    assert first.mixed
    assert given.labels[first.label].text == "gemm_a"  # 3 ns of it, as of the other: the first
    assert found.cell >= 8
    assert found.sums() == given.sums()


def test_of_one_label_they_are_not_mixed() -> None:
    (one,) = reduced_to(timeline(element(0, 1, 1), element(2, 1, 1)), 1).elements
    assert not one.mixed
    again = timeline(element(0, 1, operations=3, mixed=True), element(2, 1))
    (one,) = reduced_to(again, 1).elements
    assert one.mixed


def test_categories_of_one_stretch_stand_side_by_side() -> None:
    rows = [element(2 * at, 1, label) for at, label in enumerate([0, 2] * 20)]
    found = reduced_to(timeline(*rows, length=80), 2)
    assert [(row.start, row.end, row.label) for row in found.elements] == [(0, 20, 0), (20, 40, 2)]


def test_operations_at_the_same_time_do_not_make_an_element_longer_than_they_last() -> None:
    rows = [element(0, 4) for _ in range(10)]
    (one,) = reduced_to(timeline(*rows, length=8000), 1).elements
    assert (one.start, one.end, one.busy, one.operations) == (0, 4, 40, 10)


def test_lanes_are_never_put_together() -> None:
    rows = [element(0, 1, lane=lane) for lane in range(5)]
    assert len(reduced_to(timeline(*rows, lanes=5), 2).elements) == 5


@given(timelines(), st.integers(1, 30), st.integers(1, 30))
def test_counts_and_times_are_kept_and_there_are_no_more_than_asked_for(
    made: Timeline, most: int, fewer: int
) -> None:
    found = reduced_to(made, most)
    again = reduced_to(found, min(most, fewer))
    for one in (found, again):
        assert one.sums() == made.sums()
        assert (one.length, one.lanes, one.labels) == (made.length, made.lanes, made.labels)
        assert all(0 <= row.start <= row.end <= made.extent for row in one.elements)
        assert [row[:2] for row in one.elements] == sorted(row[:2] for row in one.elements)
    assert len(again.elements) <= max(min(most, fewer), len(made.sums()))
    assert again.cell >= found.cell >= made.cell
    assert bool(found.cell) == bool(made.cell or len(made.elements) > most)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 40)), max_size=80), st.integers(1, 20))
def test_of_operations_one_after_another_places_are_right_to_one_cell(
    steps: list[tuple[int, int]], most: int
) -> None:
    rows, at = [], 0
    for number, (ns, pause) in enumerate(steps):
        rows.append(element(at, ns, number % 4))
        at += ns + pause
    made = timeline(*rows, length=at + 1)
    found = reduced_to(made, most)
    # What is drawn before any time is what ran before it, but for one cell on either side.
    for row in found.elements:
        assert row.end - row.start == row.busy
        ran = sum(min(r.end, row.start) - r.start for r in rows if r.start < row.start)
        drawn = sum(min(r.end, row.start) - r.start for r in found.elements if r.start < row.start)
        assert abs(ran - drawn) <= 2 * found.cell


def test_how_it_was_reduced_is_said() -> None:
    made = timeline(*(element(at, 1) for at in range(100)))
    assert made.reduced == ""
    found = reduced_to(made, 5)
    assert found.reduced.startswith("100 operations, waits and ranges are drawn as ")
    assert "begin in the same " in found.reduced


def test_that_points_of_memory_were_left_out_is_said() -> None:
    assert replace(timeline(), sparse=True).reduced == (
        "of memory, the highest and the last value of each of 250 stretches of time are drawn"
    )


def _points(values: list[int]) -> tuple[Ints, Ints]:
    return np.arange(len(values), dtype=np.int64) * 10, np.array(values, dtype=np.int64)


def test_few_points_of_memory_stay() -> None:
    points, fewer = reduced_points(*_points([5, 3, 8]), 100)
    assert (points, fewer) == (((0, 5), (10, 3), (20, 8)), False)


@given(st.lists(st.integers(0, 1000), min_size=MOST_POINTS + 1, max_size=MOST_POINTS + 60))
def test_of_many_points_peaks_and_ends_are_kept(values: list[int]) -> None:
    times, live = _points(values)
    points, fewer = reduced_points(times, live, int(times[-1]))
    assert fewer
    assert len(points) <= MOST_POINTS
    assert max(point.live for point in points) == max(values)
    assert points[0] == (0, values[0])
    assert points[-1] == (int(times[-1]), values[-1])
    assert all(one.time < other.time for one, other in pairwise(points))
    assert set(points) <= set(zip(times.tolist(), values, strict=True))
