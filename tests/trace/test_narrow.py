"""What one device or one process did, as a trace of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.window import launching_names
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.trace.narrow import (
    devices,
    of_device,
    of_process,
    one_after_another,
    processes,
)
from pytest_nsys.trace.schema import process_number
from pytest_nsys.windows.cut import Cut, whole
from tests.support.exports.traces import PID, TraceBuilder

TABLES = ("kernels", "copies", "memsets", "graphs")
EVERYTHING = (*TABLES, "calls", "memory", "faults", "samples", "ranges")

launches = st.lists(
    st.tuples(
        st.sampled_from(["kernel", "copy", "memset", "graph", "call"]),
        st.integers(0, 2),  # device
        st.integers(1, 3),  # process, of kernels
        st.integers(0, 1000),  # launched
    ),
    max_size=20,
)


def _trace(rows: list[tuple[str, int, int, int]]) -> Trace:
    builder = TraceBuilder()
    for number, (what, device, process, launched) in enumerate(rows):
        if what == "kernel":
            tid = (process << 24) + 1
            name = f"cudaLaunchKernel_{number}"
            builder.kernel(f"k{number}", launched, 5, device=device, tid=tid, call=name)
        elif what == "copy":
            builder.copy(launched, 5, 64, device=device)
        elif what == "memset":
            builder.memset(launched, 5, 64, device=device)
        elif what == "graph":
            builder.graph(launched, 5, device=device)
        else:
            builder.call("cudaFree", launched, tid=(process << 24) + 1)
    return builder.build()


def _launches(trace: Trace, name: str) -> list[tuple[int, ...]]:
    """Per operation, when it was launched and what launched it."""
    table = getattr(trace, name)
    names = launching_names(table, trace.calls)
    return sorted(zip(table["launched"], table["start"], table["device"], names, strict=True))


@given(launches)
def test_devices_and_processes_are_parts_that_make_up_the_whole(
    rows: list[tuple[str, int, int, int]],
) -> None:
    trace = _trace(rows)
    for numbers, narrow in ((devices(trace), of_device), (processes(trace), of_process)):
        parts = [narrow(trace, number) for number in numbers]
        for name in TABLES:
            together = [row for part in parts for row in _launches(part, name)]
            assert sorted(together) == _launches(trace, name)
    calls = [of_process(trace, pid).calls for pid in processes(trace)]
    assert sum(map(len, calls)) == len(trace.calls)


@given(launches)
def test_a_part_is_sorted_and_its_launches_are_rows_of_its_calls(
    rows: list[tuple[str, int, int, int]],
) -> None:
    trace = _trace(rows)
    for pid in processes(trace):
        part = of_process(trace, pid)
        for name in TABLES:
            table = getattr(part, name)
            assert table["launched"].is_monotonic_increasing
            assert list(table.index) == list(range(len(table)))
            launched = part.calls["start"].to_numpy()[table["call"].to_numpy()]
            assert launched.tolist() == table["launched"].tolist()
            assert set(table["pid"]) <= {pid}


def test_an_operation_without_a_call_stays_one() -> None:
    builder = TraceBuilder()
    builder.kernel("a", 10, 5)
    builder.kernel("b", 20, 5)
    trace = builder.build()
    trace.kernels.loc[1, "call"] = -1
    assert of_process(trace, PID).kernels["call"].tolist() == [0, -1]


def test_everything_of_others_is_left_out() -> None:
    builder = TraceBuilder()
    other = 9 << 24
    builder.kernel("a", 10, 5, device=1, tid=other + 1)
    builder.kernel("a", 11, 5)
    builder.memory(12, 64, address=1)
    builder.memory(13, 64, address=1, pid=other)
    builder.fault(14, device=1)
    builder.fault(15)
    builder.sample(16, "SMs Active", 3)
    builder.sample(17, "SMs Active", 4, device=1)
    builder.range("mine", 1, 99)
    trace = builder.build()
    here, there = of_process(trace, PID), of_process(trace, other)
    sizes = {name: (len(getattr(here, name)), len(getattr(there, name))) for name in EVERYTHING}
    assert sizes == {
        **{"kernels": (1, 1), "copies": (0, 0), "memsets": (0, 0), "graphs": (0, 0)},
        **{"calls": (1, 1), "memory": (1, 1), "faults": (2, 0), "samples": (0, 0)},
        "ranges": (1, 0),
    }
    zero, one = of_device(trace, 0), of_device(trace, 1)
    sizes = {name: (len(getattr(zero, name)), len(getattr(one, name))) for name in EVERYTHING}
    assert sizes == {
        **{"kernels": (1, 1), "copies": (0, 0), "memsets": (0, 0), "graphs": (0, 0)},
        **{"calls": (2, 2), "memory": (2, 0), "faults": (0, 1), "samples": (1, 1)},
        "ranges": (1, 1),
    }
    assert (process_number(PID), process_number(other)) == (7, 9)


@pytest.mark.parametrize("name", ["nccl", "processes", "forked"])
def test_processes_of_real_captures_keep_their_launches(
    captures: Mapping[str, Path], name: str
) -> None:
    trace = load_trace(captures[name])
    assert len(processes(trace)) > 1
    for pid in processes(trace):
        part = of_process(trace, pid)
        for table in TABLES:
            operations = getattr(part, table)
            known = operations["call"].to_numpy() >= 0
            rows = operations["call"].to_numpy()[known]
            assert (part.calls["start"].to_numpy()[rows] == operations["launched"][known]).all()
        cut = whole(trace)
        assert len(Cut(part, cut.starts, cut.ends).kernels.row) == len(part.kernels)


@given(launches)
def test_processes_one_after_another_did_what_they_did(
    rows: list[tuple[str, int, int, int]],
) -> None:
    trace = _trace(rows)
    apart, delays = one_after_another(trace)
    if len(processes(trace)) < 2:
        assert apart is trace
        assert delays == {}
    ended = -1
    for pid in processes(trace):
        delay = delays.get(pid, 0)
        before, after = of_process(trace, pid), of_process(apart, pid)
        for name in (*TABLES, "calls"):
            old, new = getattr(before, name), getattr(after, name)
            for column in {"start", "end", "launched"} & {*old}:
                assert (old[column] + delay).tolist() == new[column].tolist()
            others = [column for column in old if column not in ("start", "end", "launched")]
            assert old[others].to_numpy().tolist() == new[others].to_numpy().tolist()
        for name in TABLES:
            assert getattr(apart, name)["launched"].is_monotonic_increasing
        times = [getattr(after, name)["start"] for name in (*TABLES, "calls")]
        assert min(int(one.min()) for one in times if len(one)) > ended
        ends = [getattr(after, name)["end"].tolist() for name in (*TABLES, "calls")]
        ended = max(end for one in ends for end in one)


def test_memory_that_a_process_kept_is_not_that_of_the_next() -> None:
    builder = TraceBuilder()
    for pid, size in ((PID, 1_000), (PID + (1 << 24), 64)):
        builder.kernel("gemm", 10, 5, tid=pid + 1)
        builder.memory(20, size, address=4_096, pid=pid)
        builder.memory(30, size, address=8_192, pid=pid, pool=1, pool_used=size)
    apart, delays = one_after_another(builder.build())
    memory = MemoryTimeline(apart)
    for (pid, delay), size in zip(delays.items(), (1_000, 64), strict=True):
        assert pid in processes(apart)
        window = np.array([delay + 10]), np.array([delay + 31])
        assert memory.live.peaks(*window).tolist() == [2 * size]
        assert memory.pools.peaks(*window).tolist() == [size]
    assert memory.unmatched_frees == 0


def test_samples_are_those_of_the_only_process_that_used_devices() -> None:
    builder = TraceBuilder()
    builder.kernel("gemm", 100, 5)
    builder.sample(102, "SM Active", 50)
    builder.made.range(0, 1_000, "launcher", globalTid=PID - (1 << 24) + 1)
    trace = builder.build()
    apart, delays = one_after_another(trace)
    assert apart.samples["time"].tolist() == [102 + delays[PID]]
    builder.kernel("gemm", 100, 5, tid=PID + (1 << 24) + 1)
    assert one_after_another(builder.build())[0].samples.empty
