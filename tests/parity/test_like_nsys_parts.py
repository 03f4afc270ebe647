"""The parts of the reports, against plainer ways to the same."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity.cases import Export, named_export
from tests.parity.like_nsys import REPORTS, CsvTable, csv_text, like_nsys, projection
from tests.parity.like_nsys.calls import function_name
from tests.parity.like_nsys.grouping import by_columns, by_text, descending
from tests.parity.like_nsys.nesting import nest
from tests.parity.like_nsys.summary import summarise
from tests.parity.like_nsys.table import megabytes, percentages, rounded, whole

durations = st.integers(0, 10**13)
small = st.integers(0, 6)


def integers(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(st.lists(st.tuples(st.integers(0, 3), durations)))
def test_statistics_are_those_of_the_standard_library(rows: list[tuple[int, int]]) -> None:
    groups, values = integers([g for g, _ in rows]), integers([v for _, v in rows])
    summary = summarise(values, groups, 5)
    for group in range(5):
        own = [value for number, value in rows if number == group]
        assert summary.count[group] == len(own)
        assert summary.total[group] == sum(own)
        if not own:
            found = (summary.mean, summary.median, summary.minimum, summary.maximum)
            assert all(math.isnan(values[group]) for values in found)
            assert summary.deviation[group] == 0
            continue
        assert summary.mean[group] == sum(own) / len(own)
        assert summary.median[group] == statistics.median(own)
        assert (summary.minimum[group], summary.maximum[group]) == (min(own), max(own))
        deviation = statistics.stdev(own) if len(own) > 1 else 0.0
        assert summary.deviation[group] == pytest.approx(deviation, rel=1e-9, abs=1e-3)


def test_statistics_are_taken_in_any_order() -> None:
    summary = summarise(integers([5, 1, 9]), integers([0, 1, 1]), 2).take(integers([1, 0]))
    assert summary.total.tolist() == [10, 5]
    assert summary.deviation.tolist() == [statistics.stdev([1, 9]), 0.0]


@given(st.floats(-1e15, 1e15))
def test_a_number_is_rounded_to_the_nearest_tenth(value: float) -> None:
    assert abs(Decimal(rounded(value)) - Decimal(value)) <= Decimal("0.05")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.3"),  # exactly in the middle, where Python's round() takes the even one
        (2.5, "2.5"),
        (-0.25, "-0.3"),
        (1.15, "1.1"),  # held as 1.149999999999999911
        (5603.15, "5603.1"),
        (0.35, "0.3"),  # held as 0.34999999999999997
        (0.45, "0.5"),  # held as 0.45000000000000001
        (8, "8.0"),
        (math.nan, ""),
    ],
)
def test_halves_are_rounded_away_from_zero(value: float, text: str) -> None:
    assert rounded(value) == text


def test_how_numbers_are_written() -> None:
    assert whole(3.0) == "3"
    assert whole(math.nan) == ""
    assert megabytes(16_777_216) == "16.777"
    assert percentages(integers([1, 3])) == [25.0, 75.0]
    assert [rounded(value) for value in percentages(integers([0, 0]))] == ["", ""]
    assert percentages(integers([])) == []


def test_a_cell_with_a_comma_is_between_quotation_marks() -> None:
    table = CsvTable(("A", "B (ns)"), (("f(int, int)", "1"), ('g("x")', "")))
    assert csv_text(table) == 'A,B (ns)\n"f(int, int)",1\ng("x"),\n\n'


def test_nsys_prints_nothing_of_an_empty_report() -> None:
    assert csv_text(CsvTable(("A",), ())) == ""


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("cudaMalloc_v3020", "cudaMalloc"),
        ("cudaGraphLaunch_v10000", "cudaGraphLaunch_v10000"),
        ("cudaLaunchKernel_ptsz_v7000", "cudaLaunchKernel_ptsz"),
        ("cuMemAlloc_v2", "cuMemAlloc_v2"),
        ("_v3020", ""),
        ("v3020", "v3020"),
        ("", ""),
    ],
)
def test_versions_of_four_digits_are_left_out(raw: str, name: str) -> None:
    assert function_name(raw) == name


def test_ids_of_one_text_are_one_group() -> None:
    groups, texts = by_text(integers([4, 2, 9, 4, 7]), {4: "b", 9: "a", 2: "b"})
    assert texts == ["", "a", "b"]
    assert groups.tolist() == [2, 2, 1, 2, 0]


@given(st.lists(st.tuples(small, small)))
def test_groups_of_columns_ascend(rows: list[tuple[int, int]]) -> None:
    groups, first = by_columns([integers([a for a, _ in rows]), integers([b for _, b in rows])])
    distinct = sorted(set(rows))
    assert [distinct[group] for group in groups.tolist()] == rows
    assert [rows[row] for row in first.tolist()] == distinct


def test_of_equal_values_the_first_comes_first() -> None:
    assert descending(integers([1, 3, 1, 3])).tolist() == [1, 3, 0, 2]


def plain_nesting(ranges: list[tuple[int, int, int]]) -> tuple[list[int], list[float]]:
    """Parent and level of each range (start, end, thread), by looking at each pair."""
    parents = []
    for this, (start, end, thread) in enumerate(ranges):
        around = [
            (stop - begin, other)
            for other, (begin, stop, where) in enumerate(ranges)
            if other != this and where == thread and begin <= start and stop >= end
        ]
        parents.append(min(around)[1] if around else -1)
    levels = []
    for this in range(len(ranges)):
        above, seen = this, 0
        while parents[above] >= 0 and seen <= len(ranges):
            above, seen = parents[above], seen + 1
        levels.append(float(seen) if seen <= len(ranges) else math.nan)
    return parents, levels


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 2)), max_size=14))
@settings(max_examples=300)
def test_the_parent_is_the_shortest_range_around(rows: list[tuple[int, int, int]]) -> None:
    ranges = [(min(a, b), max(a, b), thread) for a, b, thread in rows]
    columns = [integers([row[place] for row in ranges]) for place in range(3)]
    nesting = nest(*columns)
    parents, levels = plain_nesting(ranges)
    assert nesting.parent.tolist() == parents
    assert [repr(level) for level in nesting.level.tolist()] == [repr(level) for level in levels]


@pytest.mark.parametrize("limit", [1, 7, 10**6])
def test_pairs_looked_at_at_once_change_nothing(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = named_export("nested_ranges").trace()
    before = like_nsys(trace, "nvtx_gpu_proj_sum")
    monkeypatch.setattr(projection, "_PAIRS", limit)
    assert like_nsys(trace, "nvtx_gpu_proj_sum") == before


@pytest.mark.parametrize("report", REPORTS)
def test_an_empty_trace_makes_an_empty_report(report: str, tmp_path: Path) -> None:
    table = like_nsys(Export().trace(), report)
    assert table.rows == ()
    assert len(table.columns) >= 8
