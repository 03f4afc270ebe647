"""Which rows belong to which window, against a reference that asks every row of every window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import WindowsMissing
from pytest_nsys.support.json_values import written
from pytest_nsys.windows.cut import Cut, cut_records, whole
from pytest_nsys.windows.ranges import cut_ranges
from pytest_nsys.windows.record import DOMAIN, WindowRecord
from tests.support.exports.traces import TraceBuilder

# Few different times, so that starts, ends and rows coincide.
times = st.integers(0, 20)
spans = st.lists(st.tuples(times, times), max_size=8)
rows = st.lists(times, max_size=30).map(sorted)


def _cut(windows: list[tuple[int, int]], builder: TraceBuilder | None = None) -> Cut:
    trace = (builder or TraceBuilder()).build()
    starts = np.array([start for start, _ in windows], dtype=np.int64)
    return Cut(trace, starts, np.array([end for _, end in windows], dtype=np.int64))


@given(spans, rows)
def test_members_are_the_rows_from_a_windows_start_to_before_its_end(
    windows: list[tuple[int, int]], launched: list[int]
) -> None:
    members = _cut(windows).members(pd.Series(launched, dtype="int64"))
    expected = [
        (number, row)
        for number, (start, end) in enumerate(windows)
        for row, time in enumerate(launched)
        if start <= time < end
    ]
    assert list(zip(members.window.tolist(), members.row.tolist(), strict=True)) == expected


@given(spans, st.lists(st.tuples(times, st.integers(0, 2**40)), max_size=30).map(sorted))
def test_totals_are_sums_and_counts_of_members(
    windows: list[tuple[int, int]], table: list[tuple[int, int]]
) -> None:
    cut = _cut(windows)
    values = np.array([value for _, value in table], dtype=np.int64)
    members = cut.members(pd.Series([time for time, _ in table], dtype="int64"))
    inside = [[value for time, value in table if start <= time < end] for start, end in windows]
    assert cut.total(members, values).tolist() == [float(sum(found)) for found in inside]
    assert cut.total(members).tolist() == [float(len(found)) for found in inside]
    assert len(cut) == len(windows)


def test_an_operation_belongs_to_the_window_it_was_launched_in_not_where_it_ran() -> None:
    builder = TraceBuilder()
    builder.kernel("late", 15, 100, start=40)
    builder.kernel("other", 35, 10, start=140)
    cut = _cut([(10, 20), (30, 40)], builder)
    names = cut.trace.kernels["name"].map(cut.trace.strings).to_numpy()
    assert names[cut.kernels.row].tolist() == ["late", "other"]
    assert cut.kernels.window.tolist() == [0, 1]


def test_a_launch_from_another_thread_or_process_counts() -> None:
    builder = TraceBuilder()
    builder.kernel("here", 11, 5)
    builder.kernel("thread", 12, 5, tid=(7 << 24) + 99)
    builder.kernel("process", 13, 5, tid=(8 << 24) + 1)
    cut = _cut([(10, 20)], builder)
    assert cut.total(cut.kernels).tolist() == [3.0]
    assert cut.total(cut.calls).tolist() == [3.0]


def test_the_whole_holds_everything() -> None:
    builder = TraceBuilder()
    builder.kernel("a", 3, 500)
    builder.copy(700, 9, 64)
    builder.memset(5, 1, 8)
    builder.memory(9000, 64, address=1)
    cut = whole(builder.build())
    assert (cut.starts.tolist(), cut.ends.tolist()) == ([3], [9001])
    totals = [cut.total(part)[0] for part in (cut.kernels, cut.copies, cut.memsets, cut.calls)]
    assert totals == [1, 1, 1, 3]


def test_the_whole_of_an_empty_trace_is_one_empty_window() -> None:
    cut = whole(TraceBuilder().build())
    assert len(cut) == 1
    assert cut.total(cut.kernels).tolist() == [0.0]


def test_ranges_are_windows() -> None:
    builder = TraceBuilder()
    builder.range("a", 5, 9)
    builder.range("b", 7, 8)
    trace = builder.build()
    cut = cut_ranges(trace, trace.ranges)
    assert (cut.starts.tolist(), cut.ends.tolist()) == ([5, 7], [9, 8])


def test_records_are_found_by_the_first_word_of_their_range() -> None:
    builder = TraceBuilder()
    builder.window(10, 20, nodeid="a.py::test[x y]")
    builder.window(30, 45, nodeid="b", name="part one", kind="range")
    builder.range("0 not ours", 1, 2)
    builder.range("no number", 1, 2, domain=DOMAIN)
    builder.range("", 1, 2, domain=DOMAIN)
    first, second = builder.windows
    cut = cut_records(builder.build(), [second, first])
    assert (cut.starts.tolist(), cut.ends.tolist()) == ([30, 10], [45, 20])


def test_no_records_are_no_windows() -> None:
    cut = cut_records(TraceBuilder().build(), [])
    assert len(cut) == 0
    assert cut.total(cut.kernels).tolist() == []


def test_windows_that_are_missing_are_named() -> None:
    builder = TraceBuilder()
    builder.window(10, 20, nodeid="kept")
    lost = WindowRecord(7, "round", "t.py::test_lost", "test", 3)
    with pytest.raises(WindowsMissing, match="1 of 2 windows are missing") as caught:
        cut_records(builder.build(), [*builder.windows, lost])
    assert "missing: 7 t.py::test_lost round 3" in caught.value.evidence
    assert "of them ours: 1" in caught.value.evidence
    assert "nsys 2025.3.2" in caught.value.evidence
    assert "run again" in caught.value.remedy


def test_a_window_that_never_ended_is_missing() -> None:
    builder = TraceBuilder()
    builder.window(10, -1)
    with pytest.raises(WindowsMissing):
        cut_records(builder.build(), builder.windows)


def test_a_capture_without_any_of_our_ranges_points_to_the_nvtx_package() -> None:
    builder = TraceBuilder()
    builder.range("theirs", 1, 2)
    record = WindowRecord(0, "round", "t", "test", 0)
    with pytest.raises(WindowsMissing) as caught:
        cut_records(builder.build(), [record])
    assert "nvtx" in caught.value.remedy


@given(st.integers(0, 2**40), st.text(), st.text(), st.sampled_from([-1, 0, 17]), st.integers(1, 9))
def test_a_record_survives_json_and_its_label_names_it(
    index: int, nodeid: str, name: str, round_: int, tokens: int
) -> None:
    record = WindowRecord(index, "round", nodeid, name, round_, {"tokens": tokens})
    assert WindowRecord.from_json(written(record)) == record
    assert record.label.partition(" ")[0] == str(index)
    assert len(record.label) < 500
