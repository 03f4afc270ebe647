"""What holds for any trace: rules never fail, shares are parts, and time has no origin."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_nsys.insights.bottlenecks import RULES, diagnose
from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.bottleneck import bottleneck_lines
from pytest_nsys.insights.bottlenecks.view import build_view, length
from pytest_nsys.support.arrays.intervals import intersection
from pytest_nsys.support.text import WIDTH
from pytest_nsys.trace import schema
from pytest_nsys.windows.cut import Cut
from tests.support.exports.rows import OTHER_PID, PID
from tests.support.programs import NAMING, US, Program

CALLS = (
    *("cudaLaunchKernel_v7000", "cudaMemcpyAsync_v3020", "cudaMemcpy_v3020", "cudaMemset_v3020"),
    *("cudaStreamSynchronize_v3020", "cudaMalloc_v3020", "cudaFree_v3020", "cuLibraryLoadData"),
)
KERNELS = ("gemm_a<1>", "gemm_a<2>", "norm_b", "comm_c", "other_d")
METRICS = ("SMs_Active", "Tensor_Active", "DRAM_Read_Bandwidth", "DRAM_Write_Bandwidth")

TIMES = st.integers(0, 400).map(lambda tens: tens * 10 * US)
DURATIONS = st.one_of(st.integers(0, 5), st.integers(0, 60 * US), st.integers(0, 2_000 * US))
THREADS = st.sampled_from([PID + 1, OTHER_PID + 1])
DEVICES = st.sampled_from([0, 0, 0, 1, 5, -1])


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Any trace, with operations and calls anywhere, of two processes and three devices."""
    program = Program()

    def host() -> tuple[str, int, int] | None:
        start = draw(TIMES)
        call = (draw(st.sampled_from(CALLS)), start, start + draw(DURATIONS))
        return call if draw(st.booleans()) else None

    for _ in range(draw(st.integers(0, 12))):
        start = draw(TIMES)
        end, device = start + draw(DURATIONS), draw(DEVICES)
        what = draw(st.sampled_from(["kernel", "kernel", "copy", "memset", "graph", "call"]))
        if what == "kernel":
            name, node = draw(st.sampled_from(KERNELS)), draw(st.integers(-1, 0))
            thread = draw(THREADS)
            program.kernel(start, end, host(), name, node=node, device=device, thread=thread)
        elif what == "copy":
            kind, size = draw(st.integers(-1, 11)), draw(st.integers(-1, 2**30))
            source, target = draw(st.integers(-1, 6)), draw(st.integers(-1, 6))
            program.copy(
                *(start, end, host()),
                **{"kind": kind, "size": size, "source": source, "target": target},
                device=device,
            )
        elif what == "memset":
            program.memset(start, end, host())
        elif what == "graph":
            program.graph(start, end, host())
        else:
            program.call(start, end, name=draw(st.sampled_from(CALLS)), thread=draw(THREADS))
    for number in range(draw(st.integers(0, 12))):
        values = {metric: draw(st.integers(-1, 101)) for metric in METRICS}
        program.samples(number * 100 * US, draw(st.sampled_from([0, 1])), **values)
    return program


WINDOWS = st.lists(
    st.tuples(TIMES, DURATIONS).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=4
)


def _cut(program: Program, windows: list[tuple[int, int]]) -> Cut:
    bounds = np.array(windows, dtype=np.int64).reshape(-1, 2)
    return Cut(program.trace(), bounds[:, 0], bounds[:, 1])


FEW = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(programs(), WINDOWS)
def test_no_rule_fails_and_shares_are_parts_of_the_time(
    program: Program, windows: list[tuple[int, int]]
) -> None:
    cut = _cut(program, windows)
    view = build_view(cut, Background(cut.trace, NAMING))
    for rule in RULES:  # windows that are too short as well
        found = rule(view)
        assert found is None or 0 <= found.share <= 1
    findings = diagnose(cut, NAMING)
    assert [f.share for f in findings] == sorted((f.share for f in findings), reverse=True)
    assert len({f.name for f in findings}) == len(findings)
    assert all(len(line) <= WIDTH for line in bottleneck_lines(findings))


@FEW
@given(programs(), WINDOWS)
def test_a_device_is_busy_or_idle_and_each_gap_has_one_cause(
    program: Program, windows: list[tuple[int, int]]
) -> None:
    cut = _cut(program, windows)
    view = build_view(cut, Background(cut.trace, NAMING))
    busy = view.union(np.ones(len(view.operations), dtype=np.bool_))
    assert length(busy) + length(view.idle) <= view.total
    assert length(intersection(busy, view.idle)) == 0
    assert length(view.within(view.idle)) == length(view.idle)
    gaps = view.gaps
    assert len(gaps.cause) == len(gaps.waited) == len(view.idle)
    assert sum(length(gaps.of(cause)) for cause in set(gaps.cause.tolist())) == length(view.idle)


@FEW
@given(programs(), WINDOWS, st.integers(-(10**15), 10**15))
def test_findings_do_not_depend_on_when_time_began(
    program: Program, windows: list[tuple[int, int]], by: int
) -> None:
    cut = _cut(program, windows)
    trace = cut.trace
    moved = {}
    for name in ("kernels", "copies", "memsets", "graphs", "calls", "samples"):
        table = getattr(trace, name).copy()
        for column in ("start", "end", "launched", "time"):
            if column in table:
                table[column] += by
        moved[name] = table
    later = Cut(replace(trace, **moved), cut.starts + by, cut.ends + by)
    assert diagnose(later, NAMING) == diagnose(cut, NAMING)


@FEW
@given(programs(), WINDOWS)
def test_the_same_again_later_changes_no_share(
    program: Program, windows: list[tuple[int, int]]
) -> None:
    once = _cut(program, windows)
    by = 100_000 * US
    twice = copy.deepcopy(program)
    later = dict.fromkeys(("start", "end", "timestamp"), by) | {
        "correlationId": len(program.rows[schema.RUNTIME])
    }
    for name, rows in program.rows.items():
        twice.rows[name] += [
            {
                column: value if value is None else value + later.get(column, 0)
                for column, value in row.items()
            }
            for row in rows
        ]
    cut = _cut(twice, windows + [(start + by, end + by) for start, end in windows])

    def only(cut: Cut) -> dict[str, float]:
        # Rules on sampled metrics need a number of samples, which are now twice as many.
        return {f.name: f.share for f in diagnose(cut, NAMING) if not f.name.startswith("low-")}

    assert only(cut) == pytest.approx(only(once))
