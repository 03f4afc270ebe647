"""Which of the program's NVTX ranges are looked at, and what belongs to them."""

from __future__ import annotations

import pytest

from pytest_nsys.errors import NotACapture
from pytest_nsys.trace import Trace
from pytest_nsys.trace.schema import process_number
from pytest_nsys.windows.ranges import Selection, named, select, selected_ranges, user_ranges
from tests.support.exports.rows import PID
from tests.support.exports.traces import TraceBuilder

FIRST, SECOND = PID + 1, PID + (1 << 24) + 1


def of_names() -> Trace:
    builder = TraceBuilder()
    for number, (text, domain) in enumerate(
        [("step", ""), ("step", "lib"), ("layer[0]", ""), ("layer0", ""), ("a:b", "lib"), ("", "")]
    ):
        builder.range(text, 100 * number, 100 * number + 50, domain=domain)
    return builder.build()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("step", ["step", "step"]),
        (":step", ["step"]),
        ("lib:step", ["step"]),
        ("lib:*", ["step", "a:b"]),
        ("*:step", ["step", "step"]),
        ("st?p", ["step", "step"]),
        ("layer[0]", ["layer[0]", "layer0"]),
        ("layer*", ["layer[0]", "layer0"]),
        ("a:b", ["a:b"]),
        ("lib:a:b", ["a:b"]),
        ("", [""]),
        ("STEP", []),
        ("ste", []),
    ],
)
def test_a_range_has_its_text_and_the_name_that_nsys_prints(pattern: str, found: list[str]) -> None:
    ranges = user_ranges(of_names())
    assert ranges[named(ranges, pattern)]["text"].tolist() == found


def test_of_no_ranges_none_has_a_name() -> None:
    assert named(user_ranges(TraceBuilder().build()), "*").tolist() == []


def two_processes() -> Trace:
    """Both are in ranges at the same time, and use the same device."""
    builder = TraceBuilder()
    for number in range(3):
        at = 1_000 * number
        for tid, ns in ((FIRST, 10), (SECOND, 200)):
            builder.made.range(at, at + 500, "step", globalTid=tid)
            builder.kernel("gemm", at + 50, ns, tid=tid)
            builder.call("cudaDeviceSynchronize", at + 60, at + 60 + ns, tid=tid)
        builder.made.range(at + 600, at + 700, "rest", globalTid=SECOND)
    return builder.build()


def counts(trace: Trace, selection: Selection) -> list[float]:
    cut = select(trace, selection)
    return [*cut.total(cut.kernels).tolist(), *cut.total(cut.calls).tolist()]


def test_instances_are_left_out_by_range_and_process() -> None:
    trace = two_processes()
    first, second = process_number(FIRST), process_number(SECOND)
    assert len(selected_ranges(trace, Selection("*"))) == 9
    assert len(selected_ranges(trace, Selection("*", skip=1))) == 6
    assert len(selected_ranges(trace, Selection("step", skip=2))) == 2
    assert counts(trace, Selection("step", skip=2)) == [1, 1, 2, 2]
    assert counts(trace, Selection("step", 2, first)) == [1, 2]
    assert counts(trace, Selection("rest", process=second)) == [0] * 6
    with pytest.raises(NotACapture, match="no NVTX range 'rest'"):
        select(trace, Selection("rest", process=first))
    whole = select(trace, Selection(process=first))
    assert whole.total(whole.kernels).tolist() == [3]


def test_a_range_of_another_process_than_that_of_the_gpu_holds_nothing() -> None:
    builder = TraceBuilder()
    builder.made.range(0, 1_000, "launcher", globalTid=SECOND)
    builder.kernel("gemm", 100, 10)
    assert counts(builder.build(), Selection("launcher")) == [0, 0]


def test_a_selection_of_nothing_is_everything() -> None:
    assert Selection().is_everything
    assert not Selection("a").is_everything
    assert not Selection(process=1).is_everything
