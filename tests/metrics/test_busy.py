"""Busy, idle and exposed time against references that look at one instant, or row, at a time."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.busy import BUSY_METRICS, Busyness
from pytest_nsys.trace import Trace, load_trace
from pytest_nsys.windows.cut import Cut, whole
from pytest_nsys.windows.ranges import Selection, select
from tests.support.exports.traces import TraceBuilder

LAUNCH, WAIT = "cudaLaunchKernel_v7000", "cudaStreamSynchronize_v3020"
GEMM, REDUCE = "ampere_sgemm_128x64_tn", "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevArgs)"
STRINGS = [GEMM, REDUCE, LAUNCH, WAIT]
TABLES = ("kernels", "copies", "memsets", "graphs")


@dataclass(frozen=True)
class Operation:
    """Work of a device; ``launched`` None: no API call of it was recorded."""

    table: str
    start: int
    end: int
    launched: int | None
    device: int = 0
    name: str = GEMM
    node: int = -1

    @property
    def since(self) -> int:
        """The time by which it belongs to a window."""
        return self.start if self.launched is None else self.launched

    @property
    def instants(self) -> set[int]:
        return set(range(self.start, self.end))


@dataclass(frozen=True)
class Call:
    start: int
    end: int
    name: str = LAUNCH
    tid: int = 1


@dataclass(frozen=True)
class Case:
    """Operations, calls and windows; launches are calls of their own, of 1 ns."""

    operations: Sequence[Operation] = ()
    calls: Sequence[Call] = ()
    windows: Sequence[tuple[int, int]] = ((0, 100),)
    recorded: Sequence[Call] = field(init=False)

    def __post_init__(self) -> None:
        times = {part.launched for part in self.operations if part.launched is not None}
        calls = [*self.calls, *(Call(time, time + 1) for time in times)]
        object.__setattr__(self, "recorded", sorted(calls, key=lambda call: call.start))

    @property
    def cut(self) -> Cut:
        starts, ends = np.array(self.windows, dtype=np.int64).reshape(-1, 2).T
        return Cut(self.trace, starts, ends)

    @property
    def trace(self) -> Trace:
        calls = pd.DataFrame(
            [
                (call.start, call.end, 1, call.tid, STRINGS.index(call.name))
                for call in self.recorded
            ],
            columns=["start", "end", "pid", "tid", "name"],
            dtype="int64",
        )
        tables = {name: self._table(name) for name in TABLES}
        strings = dict(enumerate(STRINGS))
        return replace(TraceBuilder().build(), **tables, calls=calls, strings=strings)

    def _table(self, table: str) -> pd.DataFrame:
        starts = [call.start for call in self.recorded]
        rows = [
            (
                *(part.start, part.end, part.since),
                -1 if part.launched is None else starts.index(part.launched),
                *(part.device, STRINGS.index(part.name), part.node),
            )
            for part in self.operations
            if part.table == table
        ]
        columns = ["start", "end", "launched", "call", "device", "name", "graph_node"]
        frame = pd.DataFrame(rows, columns=columns, dtype="int64")
        return frame.sort_values(["launched", "start"], kind="stable", ignore_index=True)

    def values(self, key: str) -> list[float]:
        found = BUSY_METRICS[key](Busyness(self.cut))
        assert found.dtype == np.float64
        return found.tolist()


def kernel(
    start: int, end: int, launched: int | None = 1, device: int = 0, name: str = GEMM
) -> Operation:
    return Operation("kernels", start, end, launched, device, name)


class Reference:
    """One window of a case, instant by instant."""

    def __init__(self, case: Case, window: tuple[int, int]) -> None:
        self.case = case
        self.inside = [part for part in case.operations if window[0] <= part.since < window[1]]
        self.calls = [call for call in case.recorded if window[0] <= call.start < window[1]]

    def device(self, number: int, *tables: str, names: Iterable[str] = STRINGS) -> set[int]:
        return set().union(
            *(
                part.instants
                for part in self.inside
                if part.device == number and part.table in tables and part.name in names
            )
        )

    @property
    def busy(self) -> dict[int, set[int]]:
        """The instants of each device that the window used."""
        devices = {part.device for part in self.case.operations}
        found = {device: self.device(device, *TABLES) for device in devices}
        return {device: instants for device, instants in found.items() if instants}

    @property
    def idle(self) -> list[set[int]]:
        every = set().union(*self.busy.values())
        span = set(range(min(every), max(every) + 1)) if every else set()
        return [span - instants for instants in self.busy.values()]

    def value(self, key: str) -> float:
        return float(getattr(self, key.replace(".", "_"))())

    def gpu_busy(self) -> int:
        return sum(map(len, self.busy.values()))

    def gpu_idle(self) -> int:
        return sum(map(len, self.idle))

    def gpu_max_gap(self) -> int:
        return max((run for part in self.idle for run in _runs(part)), default=0)

    def api_time(self) -> int:
        return len(set().union(*(range(call.start, call.end) for call in self.calls)))

    def launch_latency(self) -> float:
        latencies = [
            part.start - part.launched
            for part in self.inside
            if part.table == "kernels" and part.launched is not None and part.node == -1
        ]
        return statistics.median(latencies) if latencies else math.nan

    def sync_exposed(self) -> int:
        waits = [range(call.start, call.end) for call in self.calls if call.name == WAIT]
        running = set().union(*(part.instants for part in self.case.operations))
        return len(set().union(*waits) - running)

    def nccl_time(self) -> int:
        return sum(part.end - part.start for part in self.inside if part.name == REDUCE)

    def nccl_exposed(self) -> int:
        return sum(
            len(self.device(device, "kernels", names=[REDUCE]) - self._compute(device))
            for device in self.busy
        )

    def _compute(self, device: int) -> set[int]:
        return self.device(device, "kernels", names=[GEMM])


def _runs(instants: set[int]) -> Iterable[int]:
    """Lengths of the runs of consecutive instants."""
    ends = sorted(instant + 1 for instant in instants if instant + 1 not in instants)
    starts = sorted(instant for instant in instants if instant - 1 not in instants)
    return [end - start for start, end in zip(starts, ends, strict=True)]


# A narrow axis, so that operations overlap, touch and repeat. Devices need not be numbered from 0.
times = st.integers(0, 30)
operations = st.builds(
    lambda table, start, ns, launched, device, name, node: Operation(
        *(table, start, start + ns, launched, device),
        *((name, node) if table == "kernels" else (GEMM, -1)),
    ),
    table=st.sampled_from([*TABLES, "kernels", "kernels"]),
    start=times,
    ns=st.integers(0, 9),
    launched=st.one_of(st.none(), times),
    device=st.sampled_from([1, 2, 5]),
    name=st.sampled_from([GEMM, REDUCE]),
    node=st.sampled_from([-1, -1, 3]),
)
calls = st.builds(
    lambda start, ns, name, tid: Call(start, start + ns, name, tid),
    *(times, st.integers(0, 9), st.sampled_from([LAUNCH, WAIT]), st.integers(1, 2)),
)
windows = st.tuples(times, times)  # in no order, nested, overlapping, some empty
cases = st.builds(
    Case,
    st.lists(operations, max_size=12),
    st.lists(calls, max_size=6),
    st.lists(windows, max_size=4),
)


@given(cases)
def test_every_metric_is_that_of_the_reference(case: Case) -> None:
    busyness = Busyness(case.cut)  # one for all, as what one metric leaves there serves others
    references = [Reference(case, window) for window in case.windows]
    for key, compute in BUSY_METRICS.items():
        expected = [one.value(key) for one in references]
        assert compute(busyness).tolist() == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


def test_two_streams_at_a_time_are_busy_once() -> None:
    case = Case([kernel(10, 20), kernel(15, 30), kernel(40, 50)])
    assert case.values("gpu.busy") == [30]
    assert case.values("gpu.idle") == [10]
    assert case.values("gpu.max_gap") == [10]


def test_work_that_ends_after_its_window_belongs_to_it_whole() -> None:
    case = Case([kernel(10, 90, launched=1)], windows=[(0, 20), (20, 100)])
    assert case.values("gpu.busy") == [80, 0]


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_work_is_busy_time(table: str) -> None:
    """A whole CUDA graph, of which the capture has no kernels, is work and not idle time."""
    case = Case([kernel(10, 20), Operation(table, 20, 45, 2), kernel(50, 60)])
    assert case.values("gpu.busy") == [45]
    assert case.values("gpu.idle") == [5]


def test_a_graph_and_the_kernels_in_it_are_busy_once() -> None:
    case = Case([Operation("graphs", 10, 40, 1), replace(kernel(12, 20), node=3)])
    assert case.values("gpu.busy") == [30]


def test_a_device_is_idle_before_and_after_its_work_while_another_works() -> None:
    case = Case([kernel(10, 50, device=0), kernel(30, 35, device=3)])
    assert case.values("gpu.busy") == [45]
    assert case.values("gpu.idle") == [35]  # of device 3: 20 before and 15 after
    assert case.values("gpu.max_gap") == [20]


def test_a_device_the_window_did_not_use_is_not_idle() -> None:
    operations = [kernel(10, 50, device=0), kernel(130, 135, launched=120, device=3)]
    case = Case(operations, windows=[(0, 100), (100, 200)])
    assert case.values("gpu.idle") == [0, 0]
    assert case.values("gpu.busy") == [40, 5]


def test_api_time_is_the_union_over_threads_and_nested_calls() -> None:
    case = Case(calls=[Call(10, 30), Call(12, 20), Call(25, 40, tid=2), Call(60, 61, tid=2)])
    assert case.values("api.time") == [31]


def test_latency_is_of_kernels_with_a_call_of_their_own() -> None:
    operations = [
        kernel(10, 11, launched=1),
        kernel(50, 51, launched=30),
        replace(kernel(90, 91, launched=2), node=7),
        kernel(60, 61, launched=None),
        Operation("copies", 99, 100, 3),
    ]
    assert Case(operations).values("launch.latency") == [14.5]
    assert np.isnan(Case(operations[2:]).values("launch.latency")).all()


def test_a_wait_is_exposed_while_no_device_runs_anything_of_any_window() -> None:
    waits = [Call(10, 60, WAIT), Call(20, 30, WAIT, tid=2), Call(40, 50, LAUNCH)]
    # One was launched before the window, one is another device's, one ends after the wait.
    running = [kernel(5, 15, 0), kernel(25, 35, 11, device=4), Operation("copies", 55, 99, 12)]
    assert Case(running, waits, windows=[(8, 100)]).values("sync.exposed") == [50 - 5 - 10 - 5]
    assert Case([], waits).values("sync.exposed") == [50]


def test_communication_is_exposed_where_its_own_device_computes_nothing() -> None:
    operations = [
        kernel(10, 50, name=REDUCE),
        kernel(40, 60, name=REDUCE),
        kernel(20, 30),
        kernel(45, 70),
        kernel(10, 70, device=1),
        Operation("copies", 10, 20, 1),
    ]
    case = Case(operations)
    assert case.values("nccl.time") == [60]
    assert case.values("nccl.exposed") == [25]


def test_what_communicates_is_what_the_naming_says() -> None:
    cut = Case([kernel(10, 50), kernel(40, 60, name=REDUCE)]).cut
    site = Naming(category=lambda raw: "comm" if raw == GEMM else "other")
    assert Busyness(cut, site).nccl_time().tolist() == [40]
    assert Busyness(cut, site).nccl_exposed().tolist() == [30]


def test_a_clock_that_goes_backwards_makes_no_negative_time() -> None:
    case = Case([kernel(10, 20), kernel(30, 5)], [Call(10, 4, WAIT), Call(20, 22)])
    assert case.values("gpu.busy") == [10]
    assert case.values("gpu.idle") == [0]
    assert case.values("api.time") == [3]  # the launch's one and the second call's two
    assert case.values("sync.exposed") == [0]


@pytest.mark.parametrize("key", BUSY_METRICS)
def test_an_empty_trace_and_no_windows(key: str) -> None:
    nothing = math.nan if key == "launch.latency" else 0.0
    assert Case().values(key) == pytest.approx([nothing], nan_ok=True)
    assert Case(windows=[]).values(key) == []


def _sweep(rows: Iterable[tuple[int, int]]) -> tuple[int, list[int]]:
    """Length of the union of intervals, and the lengths of its gaps, by one look at each."""
    total, holes, reached = 0, [], None
    for start, end in sorted(rows):
        if reached is None:
            reached = start
        if start > reached:
            holes.append(start - reached)
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total, holes


def _minus(rows: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]) -> int:
    """Length of what only the first cover: what the union of all is longer by."""
    others = list(others)
    return _sweep([*rows, *others])[0] - _sweep(others)[0]


def _inside(trace: Trace, table: str, start: int, end: int) -> list[tuple[int, int]]:
    frame = getattr(trace, table)
    since = frame["start" if table == "calls" else "launched"]
    found = zip(frame["start"].tolist(), frame["end"].tolist(), since.tolist(), strict=True)
    return [(begin, stop) for begin, stop, time in found if start <= time < end]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("basic", "step"),
        ("train", "bwd"),
        ("train", "h2d"),
        ("llama_node", "graph_replay"),
        ("llama_node", "generate"),
        ("llama_node", None),
    ],
)
def test_real_captures_are_as_a_sweep_says(
    captures: dict[str, Path], name: str, text: str | None
) -> None:
    trace = load_trace(captures[name])
    cut = whole(trace) if text is None else select(trace, Selection(text))
    values = {key: metric(Busyness(cut)).tolist() for key, metric in BUSY_METRICS.items()}
    assert set(trace.kernels["device"]) == {0}
    everything = [row for table in TABLES for row in _inside(trace, table, -1, 2**62)]
    blocks = re.compile(r"cu\w*(Device|Ctx|Stream|Event)Synchronize\w*")
    waiting = [bool(blocks.fullmatch(trace.strings[name])) for name in trace.calls["name"]]
    waits = replace(trace, calls=trace.calls[waiting])
    for number, (start, end) in enumerate(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)):
        parts = {table: _inside(trace, table, start, end) for table in (*TABLES, "calls")}
        busy, holes = _sweep([row for table in TABLES for row in parts[table]])
        assert values["gpu.busy"][number] == busy
        assert values["gpu.idle"][number] == sum(holes)
        assert values["gpu.max_gap"][number] == max(holes, default=0)
        assert values["api.time"][number] == _sweep(parts["calls"])[0]
        exposed = _minus(_inside(waits, "calls", start, end), everything)
        assert values["sync.exposed"][number] == exposed
        assert values["nccl.time"][number] == values["nccl.exposed"][number] == 0
    assert max(values["gpu.busy"]) > 0  # so that the range is about something


def test_latency_in_a_capture_is_that_of_kernels_outside_graphs(captures: dict[str, Path]) -> None:
    trace = load_trace(captures["llama_node"])
    begun = trace.calls["start"].tolist()
    columns = ("start", "call", "graph_node")
    rows = zip(*(trace.kernels[column].tolist() for column in columns), strict=True)
    latencies = [start - begun[call] for start, call, node in rows if call >= 0 and node == -1]
    assert 0 < len(latencies) < len(trace.kernels)
    expected = statistics.median(latencies)
    assert Busyness(whole(trace)).launch_latency().tolist() == [expected]
    replay = select(trace, Selection("graph_replay"))
    assert np.isnan(Busyness(replay).launch_latency()).all()


def test_ranges_one_after_another_are_busy_as_long_as_all_together(
    captures: dict[str, Path],
) -> None:
    """A window's busy time does not depend on which other windows are asked for."""
    trace = load_trace(captures["train"])
    cut = whole(trace)
    edges = np.linspace(cut.starts[0], cut.ends[0], 40).astype(np.int64)
    many = Cut(trace, edges[:-1], edges[1:])
    alone = [
        Busyness(Cut(trace, np.array([start]), np.array([end]))).busy()[0]
        for start, end in pairwise(edges)
    ]
    assert Busyness(many).busy().tolist() == alone
    assert sum(alone) >= Busyness(cut).busy()[0] > 0
