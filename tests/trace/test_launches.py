"""The join of operations and API calls against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.trace.launches import Launches, find_launches, in_order

PIDS = st.sampled_from([7 << 24, 8 << 24, (1 << 56) + (7 << 24), -1])
DENSE = st.integers(-1, 12)
SPARSE = st.one_of(DENSE, st.integers(-(2**62), 2**62), st.sampled_from([2**31, 2**32 - 1]))


def array(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def ids(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(PIDS, values), max_size=30)


def check(calls: list[tuple[int, int]], operations: list[tuple[int, int]]) -> None:
    first: dict[tuple[int, int], int] = {}
    for number, pair in enumerate(calls):
        first.setdefault(pair, number)
    launches = Launches(
        array([*range(len(calls))]), array([pid for pid, _ in calls]), array([c for _, c in calls])
    )
    found = find_launches(
        launches, array([pid for pid, _ in operations]), array([c for _, c in operations])
    )
    assert found.tolist() == [-1 if pair[1] == -1 else first.get(pair, -1) for pair in operations]


@given(ids(DENSE), ids(DENSE))
def test_ids_counted_up_are_found_as_in_a_dictionary(
    calls: list[tuple[int, int]], operations: list[tuple[int, int]]
) -> None:
    check(calls, operations)


@given(ids(SPARSE), ids(SPARSE))
def test_ids_of_any_size_are_found_as_in_a_dictionary(
    calls: list[tuple[int, int]], operations: list[tuple[int, int]]
) -> None:
    check(calls, operations + calls)


@given(st.lists(SPARSE, max_size=30), st.lists(SPARSE, max_size=30))
def test_one_process_alone_is_no_other_case(calls: list[int], operations: list[int]) -> None:
    check([(7 << 24, c) for c in calls], [(7 << 24, c) for c in operations + calls])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=30))
def test_rows_are_sorted_by_all_keys_and_equal_ones_stay(rows: list[tuple[int, int]]) -> None:
    columns = {
        "launched": array([row[0] for row in rows]),
        "start": array([row[1] for row in rows]),
        "number": array([*range(len(rows))]),
    }
    found = in_order(columns, ("launched", "start"))
    expected = sorted(range(len(rows)), key=lambda number: rows[number])
    assert found["number"].tolist() == expected
    assert [*zip(found["launched"], found["start"], strict=True)] == sorted(rows)
