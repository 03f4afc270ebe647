"""Device memory over time, against a reference that replays the events one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.metrics.breakdown import peak_allocations
from pytest_nsys.metrics.memory import SPAN_METRICS, MemoryTimeline
from pytest_nsys.trace.schema import MemKind
from pytest_nsys.windows.cut import Cut
from tests.support.exports.traces import PID, TraceBuilder


class Event(NamedTuple):
    time: int
    pid: int
    context: int
    address: int
    size: int
    free: bool
    kind: int


# Few addresses, processes and times, so that blocks are replaced, freed twice and never freed.
events = st.lists(
    st.builds(
        Event,
        time=st.integers(0, 25),
        pid=st.sampled_from([PID, PID * 2]),
        context=st.integers(1, 2),
        address=st.integers(1, 3),
        size=st.integers(1, 1000),
        free=st.booleans(),
        kind=st.sampled_from([MemKind.DEVICE] * 4 + [MemKind.PINNED, MemKind.MANAGED]),
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda event: event.time))


def _build(found: list[Event]) -> TraceBuilder:
    builder = TraceBuilder()
    for event in found:
        builder.memory(
            event.time,
            event.size,
            address=event.address,
            free=event.free,
            pid=event.pid,
            context=event.context,
            kind=event.kind,
        )
    return builder


def _live_after(found: list[Event], time: float) -> dict[tuple[int, int], Event]:
    """What lives once everything up to and at ``time`` has happened."""
    live: dict[tuple[int, int], Event] = {}
    for event in found:
        if event.time > time or event.kind == MemKind.PINNED:
            continue
        key = (event.pid, event.address)
        live.pop(key, None)
        if not event.free:
            live[key] = event
    return live


def _bytes_after(found: list[Event], time: float) -> int:
    return sum(event.size for event in _live_after(found, time).values())


@given(events, st.integers(-1, 27))
def test_live_bytes_are_those_of_a_replay(found: list[Event], time: int) -> None:
    assert MemoryTimeline(_build(found).build()).live.before(time) == _bytes_after(
        found, time - 0.5
    )


@given(events, st.integers(0, 26), st.integers(0, 26))
def test_the_peak_is_the_highest_of_a_replay(found: list[Event], start: int, end: int) -> None:
    memory = MemoryTimeline(_build(found).build())
    moments = [start - 0.5, *range(start, end)]
    highest = max(_bytes_after(found, moment) for moment in moments)
    size, at = memory.live.peak(start, end)
    assert size == highest
    first = next(moment for moment in moments if _bytes_after(found, moment) == highest)
    assert at == max(first, start)


@given(events, st.integers(0, 26), st.integers(0, 26))
def test_live_allocations_are_those_made_since_and_not_freed(
    found: list[Event], since: int, time: int
) -> None:
    memory = MemoryTimeline(_build(found).build())
    live = memory.live_sizes(since, time)
    expected = [event for event in _live_after(found, time).values() if event.time >= since]
    assert sorted(live.tolist()) == sorted(event.size for event in expected)


@given(events, st.lists(st.tuples(st.integers(0, 26), st.integers(0, 26)), max_size=4))
def test_the_metrics_of_spans_follow_from_the_timeline(
    found: list[Event], spans: list[tuple[int, int]]
) -> None:
    spans = [(min(span), max(span)) for span in spans]
    trace = _build(found).build()
    cut = Cut(trace, *(np.array([s[n] for s in spans], dtype=np.int64) for n in (0, 1)))
    memory = MemoryTimeline(trace)
    values = {key: compute(cut, memory).tolist() for key, compute in SPAN_METRICS.items()}
    for number, (start, end) in enumerate(spans):
        before = _bytes_after(found, start - 0.5)
        peak = max(_bytes_after(found, moment) for moment in (start - 0.5, *range(start, end)))
        assert values["mem.peak"][number] == peak - before >= 0
        assert values["mem.peak_total"][number] == peak
        assert values["mem.live_end"][number] == _bytes_after(found, end - 0.5) - before
        assert values["mem.alloc_count"][number] == sum(
            start <= event.time < end and not event.free and event.kind != MemKind.PINNED
            for event in found
        )


def test_a_free_of_what_was_never_allocated_changes_nothing() -> None:
    builder = TraceBuilder()
    builder.memory(10, 4096, address=1, free=True)
    builder.memory(20, 100, address=2)
    memory = MemoryTimeline(builder.build())
    assert [memory.live.before(time) for time in (5, 15, 25)] == [0, 0, 100]


def test_a_block_at_a_live_address_replaces_it_and_is_never_live_twice() -> None:
    builder = TraceBuilder()
    builder.memory(10, 100, address=1)
    builder.memory(20, 80, address=1)
    memory = MemoryTimeline(builder.build())
    assert memory.live.peak(0, 30) == (100, 10)
    assert memory.live.before(30) == 80


def test_the_same_address_in_another_process_is_another_block() -> None:
    builder = TraceBuilder()
    builder.memory(10, 1, address=1)
    builder.memory(12, 4, address=1, pid=PID * 2)
    builder.memory(13, 4, address=1, pid=PID * 2, free=True)
    assert MemoryTimeline(builder.build()).live.before(20) == 1


def test_the_contexts_of_a_process_share_its_addresses() -> None:
    builder = TraceBuilder()
    builder.memory(10, 1, address=1, context=0, kind=MemKind.MANAGED)
    builder.memory(11, 1, address=1, context=1, kind=MemKind.MANAGED, free=True)
    memory = MemoryTimeline(builder.build())
    assert memory.live.before(20) == 0
    assert memory.unmatched_frees == 0


def test_static_variables_take_memory_and_are_no_allocations_of_the_program() -> None:
    builder = TraceBuilder()
    builder.memory(10, 8, address=1, kind=MemKind.DEVICE_STATIC)
    builder.memory(11, 16, address=2)
    builder.memory(12, 32, address=3, kind=MemKind.MANAGED_STATIC)
    trace = builder.build()
    cut, memory = Cut(trace, np.array([0]), np.array([20])), MemoryTimeline(trace)
    assert SPAN_METRICS["mem.alloc_count"](cut, memory).tolist() == [1]
    assert SPAN_METRICS["mem.peak"](cut, memory).tolist() == [56]


def test_the_free_and_the_next_allocation_of_one_instant_are_no_peak() -> None:
    builder = TraceBuilder()
    builder.memory(10, 100, address=1)
    builder.memory(20, 100, address=2)
    builder.memory(20, 100, address=1, free=True)
    assert MemoryTimeline(builder.build()).live.peak(0, 30) == (100, 10)


def test_host_memory_is_not_counted_and_arrays_managed_and_static_memory_are() -> None:
    builder = TraceBuilder()
    kinds = (
        MemKind.PAGEABLE,
        MemKind.PINNED,
        MemKind.DEVICE,
        MemKind.ARRAY,
        MemKind.MANAGED,
        MemKind.DEVICE_STATIC,
        MemKind.MANAGED_STATIC,
    )
    for number, kind in enumerate(kinds):
        builder.memory(number, 2**number, address=number, kind=kind)
    assert MemoryTimeline(builder.build()).live.before(99) == 0b1111100


def test_what_makes_up_the_peak_of_a_span_is_listed_by_size() -> None:
    builder = TraceBuilder()
    builder.memory(1, 1 << 30, address=9)
    for number in range(3):
        builder.memory(10 + number, 1 << 20, address=number)
    builder.memory(14, 1 << 10, address=5)
    builder.memory(15, 1 << 20, address=0, free=True)
    builder.memory(16, 1 << 10, address=6)
    trace = builder.build()
    cut = Cut(trace, np.array([5, 50]), np.array([30, 60]))
    lines = peak_allocations(cut, MemoryTimeline(trace))
    columns = (lines.window, lines.label, lines.raw, lines.count, lines.ns, lines.bytes)
    assert [*zip(*(column.tolist() for column in columns), strict=True)] == [
        (0, "1 KiB", "1 KiB", 1, 0, 1 << 10),
        (0, "1 MiB", "1 MiB", 3, 0, 3 << 20),
    ]


def test_frees_without_an_allocation_are_counted() -> None:
    builder = TraceBuilder()
    builder.memory(10, 4096, address=1, free=True)
    builder.memory(11, 4096, address=1)
    builder.memory(12, 4096, address=1, free=True)
    builder.memory(13, 4096, address=1, free=True)
    builder.memory(14, 4096, address=2, free=True, context=2)
    assert MemoryTimeline(builder.build()).unmatched_frees == 3


def test_a_free_says_what_was_in_use_of_its_pool_before_it() -> None:
    builder = TraceBuilder()
    builder.memory(10, 4, address=1, pool=1 << 20, pool_used=4)
    builder.memory(20, 8, address=2, pool=1 << 20, pool_used=12)
    builder.memory(30, 4, address=1, free=True, pool=1 << 20, pool_used=12)
    builder.memory(40, 8, address=2, free=True, pool=1 << 20, pool_used=8)
    pools = MemoryTimeline(builder.build()).pools
    assert [pools.before(time) for time in (15, 25, 35, 45)] == [4, 12, 8, 0]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 25),
            st.sampled_from([PID, PID * 2]),
            st.integers(1, 2),
            st.integers(0, 9),
        ),
        max_size=20,
    ).map(lambda found: sorted(found, key=lambda event: event[0])),
    st.integers(0, 26),
    st.integers(0, 26),
)
def test_the_use_of_pools_is_that_of_all_at_their_last_known_sizes(
    found: list[tuple[int, int, int, int]], start: int, end: int
) -> None:
    builder = TraceBuilder()
    for time, pid, pool, used in found:
        builder.memory(time, 1, address=time, pid=pid, pool=pool << 20, pool_used=used)

    def used_after(time: float) -> int:
        last = {(pid, pool): used for at, pid, pool, used in found if at <= time}
        return sum(last.values())

    trace = builder.build()
    cut = Cut(trace, np.array([start]), np.array([end]))
    (value,) = SPAN_METRICS["mem.pool_peak"](cut, MemoryTimeline(trace)).tolist()
    assert value == max(used_after(moment) for moment in (start - 0.5, *range(start, end)))
