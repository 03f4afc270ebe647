"""Sums by window and name against loops."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.support.arrays import grouping
from pytest_nsys.support.arrays.grouping import are_among, chosen, coded, name_sums, sums
from pytest_nsys.support.arrays.rows import Members

IDS = st.one_of(
    st.integers(-1, 20),
    st.integers(-(2**62), 2**62),
    st.sampled_from([2**16 - 1, 2**16, 2**16 + 8, 2**24, -2]),
)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Members, np.ndarray, np.ndarray]:
    """Members of few windows, in order, of a table with names and durations."""
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(IDS.filter(lambda x: x >= 0), min_size=rows, max_size=rows))
    ns = draw(st.lists(st.integers(0, 2**40), min_size=rows, max_size=rows))
    windows = st.one_of(st.integers(0, 5), st.integers(0, 10_000))
    pairs = sorted(draw(st.lists(st.tuples(windows, st.integers(0, rows - 1)), max_size=30)))
    members = Members(array([window for window, _ in pairs]), array([row for _, row in pairs]))
    return members, array(names), array(ns)


@given(st.lists(IDS, max_size=20), st.lists(IDS, max_size=8))
def test_are_among_says_of_each_id_whether_it_is_wanted(ids: list[int], wanted: list[int]) -> None:
    assert are_among(array(ids), wanted).tolist() == [key in wanted for key in ids]


@given(st.lists(IDS, max_size=20))
def test_codes_are_dense_and_lead_back(ids: list[int]) -> None:
    codes, values = coded(array(ids))
    assert values.tolist() == sorted(set(ids))
    assert values[codes].tolist() == ids


@given(tables(), st.data())
def test_chosen_are_the_members_whose_row_is_flagged(
    table: tuple[Members, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    members, names, _ = table
    flags = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    found = chosen(members, np.array(flags))
    pairs = zip(members.window.tolist(), members.row.tolist(), strict=True)
    assert [*zip(found.window.tolist(), found.row.tolist(), strict=True)] == [
        (window, row) for window, row in pairs if flags[row]
    ]


def by_hand(members: Members, codes: np.ndarray, ns: np.ndarray) -> list[tuple[int, ...]]:
    found: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for window, row in zip(members.window.tolist(), members.row.tolist(), strict=True):
        cell = found[window, int(codes[row])]
        cell[0] += 1
        cell[1] += int(ns[row])
    return [(*pair, *cell) for pair, cell in sorted(found.items())]


# A table of all pairs in one go, one window at a time, and sorted pairs.
@pytest.mark.parametrize(("cells", "empty"), [(2**20, 32), (1, 10**9), (0, 0)])
@given(table=tables())
def test_sums_are_those_of_a_loop(
    cells: int, empty: int, table: tuple[Members, np.ndarray, np.ndarray]
) -> None:
    members, names, ns = table
    codes, values = coded(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "_CELLS", cells)
        patch.setattr(grouping, "_EMPTY", empty)
        found = sums(members, codes, len(values), ns)
    assert [*zip(*(column.tolist() for column in found), strict=True)] == by_hand(
        members, codes, ns
    )


@given(tables())
def test_lines_of_names_are_those_of_a_loop(
    table: tuple[Members, np.ndarray, np.ndarray],
) -> None:
    members, names, ns = table
    lines = name_sums(members, names, ns)
    columns = (lines.window, lines.name, lines.count, lines.ns)
    assert [*zip(*(column.tolist() for column in columns), strict=True)] == by_hand(
        members, names, ns
    )
    only = lines.only(lines.count > 1)
    assert only.name.tolist() == [line[1] for line in by_hand(members, names, ns) if line[2] > 1]


def test_many_windows_by_many_names_take_no_time_for_the_empty_pairs() -> None:
    """Of 10^10 pairs of a window and a name, 10^5 occur."""
    size = 100_000
    each = np.arange(size)
    window, code, count, total = sums(Members(each, each), each[::-1].copy(), size, each + 1)
    assert window.tolist() == each.tolist()
    assert code.tolist() == each[::-1].tolist()
    assert set(count.tolist()) == {1}
    assert total.tolist() == (each + 1).tolist()
