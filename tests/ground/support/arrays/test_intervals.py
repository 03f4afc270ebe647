"""The algebra of intervals against sets of whole numbers, one set per group."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.arrays.intervals import (
    Intervals,
    bounds,
    clipped,
    concatenated,
    difference,
    gaps,
    holes,
    intersection,
    length_before,
    lengths,
    longest,
    merged,
    sorted_within,
    spans,
    union,
)

GROUPS = 4
Row = tuple[int, int, int]
Model = dict[int, set[int]]


def made(*rows: Row) -> Intervals:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return Intervals(table[:, 0], table[:, 1], table[:, 2])


def rows_of(intervals: Intervals) -> list[Row]:
    columns = (intervals.group, intervals.start, intervals.end)
    assert all(column.dtype == np.int64 for column in columns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def model(rows: list[Row]) -> Model:
    """The instants in each group."""
    return {
        group: {instant for g, start, end in rows if g == group for instant in range(start, end)}
        for group in range(GROUPS)
    }


def runs(found: Model) -> list[Row]:
    """The instants as intervals that are as long as can be."""
    rows = []
    for group, instants in sorted(found.items()):
        starts = sorted(instant for instant in instants if instant - 1 not in instants)
        ends = sorted(instant + 1 for instant in instants if instant + 1 not in instants)
        rows += [(group, start, end) for start, end in zip(starts, ends, strict=True)]
    return rows


# A narrow axis, so that intervals nest, touch and repeat; some end before they start.
instants = st.integers(-6, 14)
families = st.lists(st.tuples(st.integers(0, GROUPS - 1), instants, instants), max_size=14)
windows = st.lists(st.tuples(instants, instants), min_size=GROUPS, max_size=GROUPS)

# What keeps groups on one axis, and what does not fit in 64 bits there: the same must come out.
stretches = st.sampled_from([(0, 1), (-(2**61), 1), (2**61, 1), (0, 2**57), (10, 2**58 - 1)])


def stretched(rows: list[Row], stretch: tuple[int, int]) -> list[Row]:
    origin, scale = stretch
    return [(group, origin + start * scale, origin + end * scale) for group, start, end in rows]


def edges(window: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    starts, ends = np.array(window, dtype=np.int64).reshape(-1, 2).T
    return starts, ends


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([(0, 3, 3)], []),
        ([(0, 5, 3)], []),
        ([(0, 0, 2), (0, 2, 4)], [(0, 0, 4)]),
        ([(0, 0, 2), (0, 3, 4)], [(0, 0, 2), (0, 3, 4)]),
        ([(0, 0, 9), (0, 2, 4), (0, 9, 9)], [(0, 0, 9)]),
        ([(0, 0, 9), (0, 2, 4), (0, 8, 11)], [(0, 0, 11)]),
        ([(0, 1, 2), (0, 1, 2)], [(0, 1, 2)]),
        ([(0, 8, 9), (0, 0, 1)], [(0, 0, 1), (0, 8, 9)]),
        ([(1, 0, 5), (0, 4, 9)], [(0, 4, 9), (1, 0, 5)]),
        ([(0, 0, 5), (1, 5, 9)], [(0, 0, 5), (1, 5, 9)]),
        ([(0, 0, 5), (1, 0, 2), (1, 3, 4)], [(0, 0, 5), (1, 0, 2), (1, 3, 4)]),
        # One that ends before it starts must not join what it lies across.
        ([(0, 0, 2), (0, 7, 1), (0, 5, 6)], [(0, 0, 2), (0, 5, 6)]),
    ],
)
def test_the_union_of_each_group(rows: list[Row], expected: list[Row]) -> None:
    assert rows_of(merged(made(*rows))) == expected


@given(families, stretches)
def test_the_union_is_that_of_the_sets(rows: list[Row], stretch: tuple[int, int]) -> None:
    expected = stretched(runs(model(rows)), stretch)
    assert rows_of(merged(made(*stretched(rows, stretch)))) == expected
    assert rows_of(merged(merged(made(*stretched(rows, stretch))))) == expected


# One family is much smaller than the other, so that it is inserted and not merged; or it is not.
many = st.lists(
    st.tuples(st.integers(0, GROUPS - 1), st.integers(0, 400), st.integers(1, 3)),
    min_size=30,
    max_size=80,
).map(lambda rows: [(group, start, start + length) for group, start, length in rows])


@given(many, families | many, st.sampled_from([(0, 1), (-(2**61), 1), (0, 2**52)]))
def test_the_union_of_two_families_is_that_of_all_their_rows(
    one: list[Row], other: list[Row], stretch: tuple[int, int]
) -> None:
    parts = [merged(made(*stretched(rows, stretch))) for rows in (one, other)]
    expected = rows_of(merged(made(*stretched([*one, *other], stretch))))
    assert rows_of(union(parts[0], parts[1])) == expected
    assert rows_of(union(parts[1], parts[0])) == expected


@given(families, families, stretches)
def test_intersection_and_difference_are_those_of_the_sets(
    one: list[Row], other: list[Row], stretch: tuple[int, int]
) -> None:
    a, b = merged(made(*stretched(one, stretch))), merged(made(*stretched(other, stretch)))
    in_one, in_other = model(one), model(other)
    both = {group: in_one[group] & in_other[group] for group in in_one}
    rest = {group: in_one[group] - in_other[group] for group in in_one}
    assert rows_of(intersection(a, b)) == stretched(runs(both), stretch)
    assert rows_of(difference(a, b)) == stretched(runs(rest), stretch)


@given(families, families)
def test_laws(one: list[Row], other: list[Row]) -> None:
    a, b = merged(made(*one)), merged(made(*other))
    both, rest = intersection(a, b), difference(a, b)
    assert rows_of(merged(concatenated(both, rest))) == rows_of(a)
    assert rows_of(both) == rows_of(intersection(b, a))
    assert rows_of(intersection(a, a)) == rows_of(a)
    assert rows_of(intersection(both, rest)) == []
    assert rows_of(difference(a, a)) == []
    assert rows_of(difference(a, made())) == rows_of(a)
    size = {name: lengths(part, GROUPS) for name, part in (("a", a), ("b", b), ("both", both))}
    assert (lengths(rest, GROUPS) == size["a"] - size["both"]).all()
    whole = lengths(merged(concatenated(a, b)), GROUPS)
    assert (whole == size["a"] + size["b"] - size["both"]).all()


@pytest.mark.parametrize(
    ("one", "other", "rest"),
    [
        ([(0, 0, 9)], [(0, 2, 3), (0, 5, 6)], [(0, 0, 2), (0, 3, 5), (0, 6, 9)]),
        ([(0, 3, 4)], [(0, 0, 1), (0, 5, 6)], [(0, 3, 4)]),
        ([(0, 3, 4), (0, 6, 7)], [(0, 3, 7)], []),
        ([(0, 0, 4)], [(0, 4, 6)], [(0, 0, 4)]),
        ([(7, 0, 4)], [(3, 1, 2), (9, 1, 2)], [(7, 0, 4)]),
        ([(3, 0, 4), (7, 0, 4)], [(5, 1, 2), (7, 1, 2)], [(3, 0, 4), (7, 0, 1), (7, 2, 4)]),
    ],
)
def test_what_a_difference_leaves(one: list[Row], other: list[Row], rest: list[Row]) -> None:
    assert rows_of(difference(made(*one), made(*other))) == rest


@pytest.mark.parametrize("part", [intersection, difference])
def test_nothing_to_compute_with(part: object) -> None:
    assert callable(part)
    assert rows_of(part(made(), made())) == []
    assert rows_of(part(made(), made((0, 1, 2)))) == []


@given(families, stretches)
def test_gaps_and_union_fill_the_span(rows: list[Row], stretch: tuple[int, int]) -> None:
    whole = merged(made(*stretched(rows, stretch)))
    between = gaps(whole)
    # All lengths here are sums of whole stretches, so nothing has to be exact but them.
    filled = rows_of(merged(concatenated(whole, between)))
    first, last = bounds(whole, GROUPS)
    used = sorted({group for group, _, _ in rows_of(whole)})
    assert filled == [(group, int(first[group]), int(last[group])) for group in used]
    assert rows_of(intersection(whole, between)) == []
    assert rows_of(merged(between)) == rows_of(between)


def test_gaps_are_inside_groups_only() -> None:
    whole = made((0, 0, 2), (0, 5, 6), (2, 8, 9), (2, 10, 11), (2, 20, 21))
    assert rows_of(gaps(whole)) == [(0, 2, 5), (2, 9, 10), (2, 11, 20)]
    assert rows_of(gaps(made())) == []


@given(families, windows, stretches)
def test_clipped_and_holes_share_out_each_window(
    rows: list[Row], window: list[tuple[int, int]], stretch: tuple[int, int]
) -> None:
    inside = model([(group, start, end) for group, (start, end) in enumerate(window)])
    covered = model(rows)
    starts, ends = edges([row[1:] for row in stretched([(0, *edge) for edge in window], stretch)])
    whole = merged(made(*stretched(rows, stretch)))
    part = {group: covered[group] & inside[group] for group in covered}
    rest = {group: inside[group] - covered[group] for group in covered}
    assert rows_of(clipped(whole, starts, ends)) == stretched(runs(part), stretch)
    assert rows_of(holes(whole, starts, ends)) == stretched(runs(rest), stretch)


@given(families, windows)
def test_unmerged_intervals_are_clipped_one_by_one(
    rows: list[Row], window: list[tuple[int, int]]
) -> None:
    pairs = [(group, max(s, window[group][0]), min(e, window[group][1])) for group, s, e in rows]
    expected = [(group, start, end) for group, start, end in pairs if start < end]
    assert rows_of(clipped(made(*rows), *edges(window))) == expected


def test_holes_of_groups_without_intervals() -> None:
    starts, ends = edges([(0, 5), (3, 3), (9, 2), (1, 4)])
    assert rows_of(holes(made((3, 2, 3)), starts, ends)) == [(0, 0, 5), (3, 1, 2), (3, 3, 4)]
    assert rows_of(holes(made(), *edges([]))) == []


@given(families)
def test_sizes_count_every_row_and_none_that_is_empty(rows: list[Row]) -> None:
    intervals = made(*rows)
    sizes: list[list[int]] = [
        [end - start for g, start, end in rows if g == group and end > start]
        for group in range(GROUPS)
    ]
    assert lengths(intervals, GROUPS).tolist() == [sum(size) for size in sizes]
    assert longest(intervals, GROUPS).tolist() == [max(size, default=0) for size in sizes]
    covered = model(rows)
    expected = [max(part) + 1 - min(part) if part else 0 for part in covered.values()]
    assert spans(intervals, GROUPS).tolist() == expected
    first, last = bounds(intervals, GROUPS)
    assert first.tolist() == [min(part, default=0) for part in covered.values()]
    assert last.tolist() == [max(part, default=-1) + 1 for part in covered.values()]


def test_sizes_are_exact_where_floats_are_not() -> None:
    odd = made((1, 0, 2**61 + 1), (1, 0, 2**60 + 1))
    assert lengths(odd, 2).tolist() == [0, 2**61 + 2**60 + 2]
    assert longest(odd, 2).tolist() == [0, 2**61 + 1]
    assert spans(made((1, -(2**61), 1), (1, 5, 2**61 + 1)), 2).tolist() == [0, 2**62 + 1]
    assert lengths(made(), 0).tolist() == []


@given(families, st.lists(instants, max_size=8))
def test_length_before_counts_what_is_earlier(rows: list[Row], times: list[int]) -> None:
    one_group = [(0, start, end) for _, start, end in rows]
    covered = model(one_group)[0]
    found = length_before(merged(made(*one_group)), np.array(times, dtype=np.int64))
    assert found.tolist() == [sum(t < when for t in covered) for when in times]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.one_of(st.integers(-(2**62), 2**62), st.integers(-9, 9)),
        ),
        max_size=12,
    )
)
def test_values_are_sorted_in_their_groups_whatever_their_size(rows: list[tuple[int, int]]) -> None:
    group, values = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    assert sorted_within(group, values).tolist() == [value for _, value in sorted(rows)]


def test_many_groups_of_long_lives_do_not_overflow() -> None:
    groups = np.repeat(np.arange(5000), 3)
    start = np.tile(np.array([2**62 - 10, 0, 2**61]), 5000)
    end = np.tile(np.array([2**62, 2**61, 2**61 + 7]), 5000)
    whole = merged(Intervals(groups, start, end))
    one = [(0, 2**61 + 7), (2**62 - 10, 2**62)]
    assert rows_of(whole) == [(group, *edge) for group in range(5000) for edge in one]
    assert set(lengths(whole, 5000).tolist()) == {2**61 + 17}


@pytest.mark.parametrize("origin", [-(2**62) + 1, -(2**61), 2**62 - 40])
def test_groups_far_from_zero_do_not_overflow(origin: int) -> None:
    """The axis of all groups must not be moved out of 64 bits by where its origin is."""
    low, extent = origin, 30
    for groups in (2, 2**57, 2**58):
        rows = [(0, low, low + extent), (groups - 1, low + 3, low + 5), (0, low + 1, low + 2)]
        assert rows_of(merged(made(*rows))) == [
            (0, low, low + extent),
            (groups - 1, low + 3, low + 5),
        ]


@given(st.permutations(list(itertools.product(range(3), range(0, 12, 3)))))
def test_the_order_of_the_rows_does_not_matter(cells: list[tuple[int, int]]) -> None:
    rows = [(group, start, start + 4) for group, start in cells]
    assert rows_of(merged(made(*rows))) == [(group, 0, 13) for group in range(3)]


def test_a_million_intervals_add_up() -> None:
    random = np.random.default_rng(7)
    start = random.integers(0, 10**12, 10**6)
    intervals = Intervals(
        random.integers(0, 1000, 10**6), start, start + random.integers(0, 10**6, 10**6)
    )
    all_of_them = merged(intervals)
    covered, between = lengths(all_of_them, 1000), lengths(gaps(all_of_them), 1000)
    assert (covered + between == spans(intervals, 1000)).all()
