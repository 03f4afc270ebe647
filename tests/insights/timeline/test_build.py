"""From a trace to a timeline: lanes, what is on them, and memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pytest_nsys.insights.timeline import Label, Timeline
from pytest_nsys.insights.timeline.build import timeline_of
from pytest_nsys.insights.timeline.document import render
from pytest_nsys.insights.timeline.model import LONGEST_TEXT, MOST_ELEMENTS, MOST_LANES, Point
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.windows import measure
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.storage.recordings.stored import load_stored
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.windows.cut import whole
from pytest_nsys.windows.ranges import user_ranges
from tests.support.exports.traces import PID, TraceBuilder
from tests.support.harness import TESTS

CAPTURES = TESTS / "captures"
NAMES = sorted(path.name.partition(".")[0] for path in CAPTURES.glob("*.sqlite.xz"))
OTHER = (8 << 24) + 1  # a thread of another process


def made(builder: TraceBuilder, start: int = 1000, end: int = 2000) -> Timeline:
    """The timeline of a window, kernels named as they are."""
    naming = Naming(lambda raw: raw, lambda raw: "gemm" if "gemm" in raw else "other")
    return timeline_of(builder.build(), start, end, naming)


def shown(timeline: Timeline) -> list[tuple[str, str, str, int, int]]:
    """Lane, name, category, start and end of every element."""
    return [
        (timeline.lanes[row.lane].title, *timeline.labels[row.label], row.start, row.end)
        for row in timeline.elements
    ]


def test_what_was_launched_in_the_window_is_on_the_lane_of_its_stream() -> None:
    builder = TraceBuilder()
    builder.kernel("before", 900, 500)
    builder.kernel("gemm", 1000, 100, stream=13)
    builder.kernel("norm", 1200, 900, stream=7)  # launched in the window, ends after it
    builder.kernel("after", 2000, 5)
    found = made(builder)
    assert shown(found) == [
        ("stream 7", "norm", "other", 205, 1105),
        ("stream 13", "gemm", "gemm", 5, 105),
    ]
    assert (found.length, found.extent, found.operations) == (1000, 1105, 2)
    assert found.reduced == ""


def test_copies_memsets_and_graphs_are_named_and_classed() -> None:
    builder = TraceBuilder()
    builder.copy(1000, 10, 4 * 2**20, source=MemKind.PAGEABLE)
    builder.copy(1100, 10, 64, kind=MemcpyKind.D2H, source=MemKind.DEVICE, target=MemKind.PINNED)
    builder.copy(1200, 10, 64, kind=MemcpyKind.UM_D2H)
    builder.copy(1300, 10, 64, kind=3)
    builder.memset(1400, 10, 1024)
    builder.graph(1500, 10)
    assert [row[1:3] for row in shown(made(builder))] == [
        ("h2d 4 MiB pageable", "h2d"),
        ("d2h 64 B", "d2h"),
        ("unified d2h 64 B", "unified"),
        ("copy kind 3 64 B", "copy"),
        ("memset 1 KiB", "memset"),
        ("CUDA graph", "graph"),
    ]


def test_processes_and_devices_are_named_only_where_there_are_several() -> None:
    builder = TraceBuilder()
    builder.kernel("a", 1000, 10, tid=OTHER)
    builder.kernel("b", 1100, 10, device=1)
    builder.kernel("c", 1200, 10, device=0)
    assert [lane.title for lane in made(builder).lanes] == [
        "process 1, GPU 0, stream 7",
        "process 2, GPU 0, stream 7",
        "process 2, GPU 1, stream 7",
    ]


def test_waits_are_the_calls_that_block_by_thread() -> None:
    builder = TraceBuilder()
    builder.call("cudaDeviceSynchronize_v3020", 1100, 1300)
    builder.call("cudaStreamSynchronize_v3020", 1400, 1450, tid=PID + 2)
    builder.call("cudaLaunchKernel_v7000", 1500, 1550)
    found = made(builder)
    assert shown(found) == [
        ("waits, thread 1", "cudaDeviceSynchronize", "sync", 100, 300),
        ("waits, thread 2", "cudaStreamSynchronize", "sync", 400, 450),
    ]
    assert found.operations == 0


def test_nested_ranges_are_below_those_around_them_and_end_with_the_window() -> None:
    builder = TraceBuilder()
    builder.range("step", 1000, 1900)
    builder.range("forward", 1000, 1400)
    builder.range("layer", 1100, 1200)
    builder.range("backward", 1400, 2500)
    builder.range("around", 500, 3000)
    found = made(builder)
    rows = [(row.lane, found.labels[row.label].text, row.end) for row in found.elements]
    assert rows == [
        (0, "step", 900),
        (1, "forward", 400),
        (1, "backward", 1000),
        (2, "layer", 200),
    ]
    assert [lane.title for lane in found.lanes] == ["ranges", "", ""]


def test_too_many_lanes_of_a_kind_are_one_with_all_that_is_on_them() -> None:
    builder = TraceBuilder()
    for number in range(40):
        builder.kernel("k", 1000 + number, 100 + number, stream=number)
    found = made(builder)
    most = MOST_LANES["gpu"]
    assert len(found.lanes) == most
    assert found.lanes[-1].title == f"{40 - most + 1} more streams"
    assert found.lanes[0].title == f"stream {40 - most + 1}"  # those with most on them stay
    assert found.operations == 40
    assert sum(row.busy for row in found.elements) == sum(100 + number for number in range(40))


def test_a_gpu_clock_that_is_a_little_behind_puts_nothing_before_the_window() -> None:
    builder = TraceBuilder()
    builder.kernel("k", 1000, 100, start=900)
    (row,) = made(builder).elements
    assert (row.start, row.end, row.busy) == (0, 0, 100)


def test_memory_begins_with_what_was_live_and_keeps_the_last_value_of_an_instant() -> None:
    builder = TraceBuilder()
    builder.memory(10, 100, address=1)
    builder.memory(1100, 50, address=2)
    builder.memory(1200, 50, address=2, free=True)
    builder.memory(1200, 70, address=3)
    builder.memory(2500, 70, address=4)
    assert made(builder).memory == (Point(0, 100), Point(100, 150), Point(200, 170))


def test_memory_that_was_not_recorded_is_not_zero() -> None:
    builder = TraceBuilder()
    builder.call("cudaMalloc_v3020", 1100)
    assert made(builder).memory == ()
    assert made(TraceBuilder()).memory == (Point(0, 0),)


def test_long_names_are_cut() -> None:
    builder = TraceBuilder()
    builder.kernel("k" * 5000, 1000, 1)
    builder.range("r" * 5000, 1000, 1500)
    assert {len(label.text) for label in made(builder).labels} == {LONGEST_TEXT}


def test_a_hundred_thousand_operations_are_few_elements() -> None:
    builder = TraceBuilder()
    names = ("gemm_a", "gemm_b", "add")
    count = 100_000
    for number in range(count):
        at, ns = 1000 + 100 * number, 60 + number % 7
        builder.kernel(names[number % 3], at, ns, stream=7 + number % 3)
    trace = builder.build()
    found = timeline_of(trace, 1000, 1000 + 100 * count)
    assert len(found.elements) <= MOST_ELEMENTS
    assert found.operations == count
    assert sum(row.busy for row in found.elements) == sum(60 + n % 7 for n in range(count))
    assert found.reduced.startswith("100,000 operations, waits and ranges are drawn as ")
    assert len(render(found, "")) < 100_000


def test_the_median_round_of_the_body_is_drawn_with_its_named_parts() -> None:
    builder = TraceBuilder()
    for number, ns in enumerate([300, 100, 200, 250]):
        at = number * 1000
        builder.window(at, at + 900, round=number)
        builder.window(at + 5, at + 800, name="step", kind="range", round=number)
        builder.kernel("gemm", at + 10, ns)
    builder.window(5000, 5500, nodeid="u")
    found = measure(builder.build(), builder.windows, timelines=True)
    drawn = found["t"].timeline
    assert drawn is not None
    assert [(drawn.labels[row.label].text, row.busy) for row in drawn.elements] == [
        ("step", 795),
        ("gemm", 200),
    ]
    assert found["u"].timeline == Timeline(500, memory=(Point(0, 0),))
    without = measure(builder.build(), builder.windows)
    assert [test.timeline for test in without.values()] == [None, None]


@pytest.mark.parametrize("name", NAMES)
def test_of_real_captures_it_holds_what_the_metrics_count(name: str) -> None:
    trace = load_stored(CAPTURES / f"{name}.sqlite.xz")
    cut = whole(trace)
    found = timeline_of(trace, int(cut.starts[0]), int(cut.ends[0]))
    values = {key: int(compute(cut)[0]) for key, compute in WINDOW_METRICS.items()}
    counts: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for (_, category), (count, busy) in found.sums().items():
        counts[category] += count
        times[category] += busy
    for kind in ("h2d", "d2h", "d2d", "p2p"):
        assert counts.pop(kind, 0) == values[f"memcpy.{kind}.count"]
        assert times[kind] == values[f"memcpy.{kind}.time"]
    assert counts.pop("memset", 0) == values["memset.count"]
    assert (counts.pop("sync", 0), times["sync"]) == (values["sync.count"], values["sync.time"])
    assert counts.pop("range", 0) == len(user_ranges(trace))
    assert counts["graph"] == len(trace.graphs)  # they stand for their kernels
    kinds = [MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D]
    assert counts.pop("unified", 0) == np.count_nonzero(trace.copies["kind"].isin(kinds))
    # The rest is kernels, and copies from and to arrays, which are of the category "copy", too.
    known = [*kinds, MemcpyKind.H2D, MemcpyKind.D2H, MemcpyKind.D2D, MemcpyKind.P2P]
    arrays = trace.copies[~trace.copies["kind"].isin(known)]
    assert sum(counts.values()) == values["gpu.kernel_count"] + len(arrays)
    spent = int((arrays["end"] - arrays["start"]).sum())
    assert sum(times[kind] for kind in counts) == values["gpu.kernel_time"] + spent
    assert len(found.elements) <= MOST_ELEMENTS
    assert all(0 <= row.start <= row.end <= found.extent for row in found.elements)
    assert found == timeline_of(trace, int(cut.starts[0]), int(cut.ends[0]))
    assert len(render(found, "x")) < 50_000
    assert Label("", "") not in found.labels
