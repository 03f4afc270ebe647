"""What one device or one process did, as a trace of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.metrics.window import launching_names
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.trace.narrow import devices, of_device, of_process, processes
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
