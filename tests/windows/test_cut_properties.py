"""Which operation belongs to which window, against loops over all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import CaptureError
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.support.arrays.rows import Members
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut, cut_records, whole
from pytest_nsys.windows.ranges import user_ranges
from pytest_nsys.windows.record import DOMAIN, WindowRecord
from tests.support.exports.traces import PID, TraceBuilder

TIMES = st.one_of(st.integers(-20, 120), st.sampled_from([-(2**61), 2**61, 2**61 - 1]))
LAUNCHES = st.one_of(st.integers(-20, 120), st.sampled_from([-(2**61), 2**61 - 60, 2**61 - 61]))
"""No capture has an operation that ends after 2^61 ns."""

SPANS = st.lists(st.tuples(TIMES, TIMES), max_size=8)
"""Windows of any kind: nested, overlapping, of no length, and ending before they start."""

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["kernel", "copy", "memset", "graph"]), LAUNCHES, st.integers(0, 50)),
    max_size=15,
)
ADDITIVE = [key for key in WINDOW_METRICS if key != "wall.time"]


def cut(trace: Trace, spans: list[tuple[int, int]]) -> Cut:
    ends = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return Cut(trace, ends[:, 0], ends[:, 1])


def trace_of(operations: list[tuple[str, int, int]]) -> Trace:
    made = TraceBuilder()
    for number, (kind, launched, ns) in enumerate(operations):
        thread = PID + 1 + number % 3
        if kind == "kernel":
            made.kernel(f"kernel {number % 2}", launched, ns, tid=thread)
        elif kind == "copy":
            made.copy(launched, ns, 10 * ns, kind=(1, 2, 8, 10)[number % 4])
        elif kind == "memset":
            made.memset(launched, ns, 3 * ns)
        else:
            made.graph(launched, ns)
    return made.build()


def pairs(members: Members) -> list[tuple[int, int]]:
    return [*zip(members.window.tolist(), members.row.tolist(), strict=True)]


@given(OPERATIONS, SPANS)
def test_an_operation_is_in_exactly_the_windows_that_hold_its_launch(
    operations: list[tuple[str, int, int]], spans: list[tuple[int, int]]
) -> None:
    trace = trace_of(operations)
    found = cut(trace, spans)
    for name in ("kernels", "copies", "memsets", "graphs"):
        launched = getattr(trace, name)["launched"].tolist()
        assert pairs(getattr(found, name)) == [
            (window, row)
            for window, (start, end) in enumerate(spans)
            for row, time in enumerate(launched)
            if start <= time < end
        ]
    begun = trace.calls["start"].tolist()
    assert pairs(found.calls) == [
        (window, row)
        for window, (start, end) in enumerate(spans)
        for row, time in enumerate(begun)
        if start <= time < end
    ]


@given(OPERATIONS, st.lists(st.integers(-20, 120), max_size=6))
def test_windows_side_by_side_and_what_is_outside_are_the_whole(
    operations: list[tuple[str, int, int]], borders: list[int]
) -> None:
    trace = trace_of(operations)
    everything = whole(trace)
    first, last = int(everything.starts[0]), int(everything.ends[0])
    edges = [first, *sorted(border for border in borders if first < border < last), last]
    parts = cut(trace, [*itertools.pairwise(edges)])
    for key in ADDITIVE:
        total = float(WINDOW_METRICS[key](everything)[0])
        assert WINDOW_METRICS[key](parts).sum() == total, key


@given(OPERATIONS, SPANS)
def test_lines_by_name_add_up_to_the_totals(
    operations: list[tuple[str, int, int]], spans: list[tuple[int, int]]
) -> None:
    trace = trace_of(operations)
    found = cut(trace, spans)
    ns = (trace.kernels["end"] - trace.kernels["start"]).to_numpy()
    assert found.times(found.kernel_names).tolist() == found.total(found.kernels, ns).tolist()
    assert found.counts(found.kernel_names).tolist() == found.total(found.kernels).tolist()
    assert found.counts(found.call_names).tolist() == found.total(found.calls).tolist()


def test_no_windows_have_no_values() -> None:
    trace = trace_of([("kernel", 5, 5), ("copy", 10, 5)])
    assert {len(compute(cut(trace, []))) for compute in WINDOW_METRICS.values()} == {0}
    assert measure(trace, [], naming=Naming()) == {}


def test_a_range_before_time_zero_is_closed() -> None:
    """Times count from the session's start, which some events precede."""
    made = TraceBuilder()
    made.range("early", -100, -50)
    made.range("open", -100, -1)
    made.window(-40, -20)
    trace = made.build()
    assert user_ranges(trace)["text"].tolist() == ["early"]
    found = cut_records(trace, made.windows)
    assert (found.starts.tolist(), found.ends.tolist()) == ([-40], [-20])


class TestWindowsThatAreTwiceInACapture:
    RECORD = WindowRecord(3, "round", "test_a", "test", 0)

    def test_those_of_another_pytest_below_are_told_by_their_text(self) -> None:
        made = TraceBuilder()
        for start in (10, 50):
            made.range("3 another test round 0", start, start + 5, domain=DOMAIN)
        made.range(self.RECORD.label, 30, 40, domain=DOMAIN)
        assert cut_records(made.build(), [self.RECORD]).starts.tolist() == [30]

    def test_one_alone_may_have_any_text(self) -> None:
        """nsys may have shortened it."""
        made = TraceBuilder()
        made.range("3 test", 30, 40, domain=DOMAIN)
        assert cut_records(made.build(), [self.RECORD]).starts.tolist() == [30]

    @pytest.mark.parametrize("text", [RECORD.label, "3 something else"])
    def test_the_same_twice_is_refused(self, text: str) -> None:
        made = TraceBuilder()
        for start in (10, 50):
            made.range(text, start, start + 5, domain=DOMAIN)
        with pytest.raises(CaptureError, match="1 of 1 windows are in the capture more than once"):
            cut_records(made.build(), [self.RECORD])

    def test_numbers_that_are_none_of_ours_are_no_matter(self) -> None:
        made = TraceBuilder()
        made.range("9" * 5000, 1, 2, domain=DOMAIN)
        made.range("", 1, 2, domain=DOMAIN)
        made.range(self.RECORD.label, 30, 40, domain=DOMAIN)
        assert cut_records(made.build(), [self.RECORD]).ends.tolist() == [40]
