"""Metrics and breakdowns of windows, on traces made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_nsys.catalogue import Breakdown, parse_family
from pytest_nsys.cuda.names import api_name
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.breakdown import breakdowns
from pytest_nsys.metrics.values import family_metric
from pytest_nsys.metrics.window import WINDOW_METRICS
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.windows.cut import Cut, whole
from tests.support.exports.traces import TraceBuilder

NAMING = Naming(canonical=lambda raw: raw.split("<")[0], category=lambda raw: raw[:4])


def _value(builder: TraceBuilder, key: str) -> float:
    return float(WINDOW_METRICS[key](whole(builder.build()))[0])


def _family(builder: TraceBuilder, key: str, naming: Naming = NAMING) -> float:
    family = parse_family(key)
    assert family is not None
    return float(family_metric(whole(builder.build()), family, naming)[0])


def _rows(builder: TraceBuilder, kind: Breakdown) -> list[list[object]]:
    lines = breakdowns(whole(builder.build()), NAMING)[kind]
    columns = (lines.label, lines.raw, lines.count, lines.ns, lines.bytes)
    return [[*row] for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_kernel_time_is_the_sum_of_durations_and_overlap_counts_twice() -> None:
    builder = TraceBuilder()
    builder.kernel("a", 10, 100, start=50)
    builder.kernel("b", 11, 100, start=50)
    assert _value(builder, "gpu.kernel_time") == 200
    assert _value(builder, "gpu.kernel_count") == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("h2d", MemcpyKind.H2D),
        ("d2h", MemcpyKind.D2H),
        ("d2d", MemcpyKind.D2D),
        ("p2p", MemcpyKind.P2P),
    ],
)
def test_copies_are_counted_by_direction(name: str, kind: int) -> None:
    builder = TraceBuilder()
    builder.copy(10, 30, 4096, kind=kind)
    builder.copy(20, 12, 100, kind=kind)
    for other in ("h2d", "d2h", "d2d", "p2p"):
        found = [_value(builder, f"memcpy.{other}.{part}") for part in ("bytes", "count", "time")]
        assert found == ([4196, 2, 42] if other == name else [0, 0, 0])


def test_a_pageable_copy_is_an_asynchronous_one_with_a_side_in_pageable_memory() -> None:
    builder = TraceBuilder()
    builder.copy(10, 1, 8, source=MemKind.PAGEABLE)
    builder.copy(20, 1, 8, kind=MemcpyKind.D2H, source=MemKind.DEVICE, target=MemKind.PAGEABLE)
    builder.copy(30, 1, 8, source=MemKind.PAGEABLE, call="cudaMemcpy_v3020")
    builder.copy(40, 1, 8, source=MemKind.PINNED)
    builder.copy(50, 1, 8, source=MemKind.PAGEABLE, call="cuMemcpyHtoDAsync_v2")
    builder.copy(60, 1, 8, source=MemKind.PAGEABLE, call="cudaMemcpy2DAsync_ptsz_v7000")
    assert _value(builder, "memcpy.pageable") == 4


def test_memory_sets_are_counted() -> None:
    builder = TraceBuilder()
    builder.memset(10, 30, 4096)
    builder.memset(20, 12, 100)
    found = [_value(builder, f"memset.{part}") for part in ("bytes", "count", "time")]
    assert found == [4196, 2, 42]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("cudaDeviceSynchronize_v3020", True),
        ("cudaStreamSynchronize_v3020", True),
        ("cudaThreadSynchronize_v3020", True),
        ("cudaStreamSynchronize_ptsz_v7000", True),
        ("cudaEventSynchronize_v3020", True),
        ("cuCtxSynchronize", True),
        ("cuCtxSynchronize_v2", True),
        ("cuStreamSynchronize", True),
        ("cuEventSynchronize", True),
        ("cudaStreamWaitEvent_v3020", False),
        ("cudaEventQuery_v3020", False),
        ("cudaStreamQuery_v3020", False),
        ("cudaStreamIsCapturing_v10000", False),
        ("cudaLaunchKernel_v7000", False),
    ],
)
def test_only_calls_that_wait_for_the_device_are_synchronisations(name: str, blocks: bool) -> None:
    builder = TraceBuilder()
    builder.call(name, 10, 110)
    assert _value(builder, "sync.count") == blocks
    assert _value(builder, "sync.time") == 100 * blocks
    assert _rows(builder, "syncs") == ([[api_name(name), name, 1, 100, 0]] if blocks else [])


@pytest.mark.parametrize(
    ("name", "launches"),
    [
        ("cudaGraphLaunch_v10000", 1),
        ("cudaGraphLaunch_ptsz_v10000", 1),
        ("cuGraphLaunch", 1),
        ("cudaGraphInstantiateWithFlags_v11040", 0),
        ("cudaGraphExecDestroy_v10000", 0),
    ],
)
def test_graph_launches_are_counted(name: str, launches: int) -> None:
    builder = TraceBuilder()
    builder.call(name, 10)
    assert _value(builder, "graph.launches") == launches


def test_api_calls_and_the_time_on_the_host_are_counted() -> None:
    builder = TraceBuilder()
    builder.call("cudaMalloc_v3020", 10, 20)
    builder.kernel("a", 30, 5)
    assert _value(builder, "api.count") == 2
    cut = Cut(builder.build(), np.array([10, 50]), np.array([40, 75]))
    assert WINDOW_METRICS["wall.time"](cut).tolist() == [30, 25]
    assert WINDOW_METRICS["api.count"](cut).tolist() == [2, 0]


def test_every_metric_is_a_number_per_window_on_an_empty_trace() -> None:
    trace = TraceBuilder().build()
    for windows in ([], [(0, 10)], [(0, 10), (5, 7)]):
        starts, ends = ([pair[n] for pair in windows] for n in (0, 1))
        cut = Cut(trace, np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64))
        for key, compute in WINDOW_METRICS.items():
            values = compute(cut)
            assert values.dtype == np.float64
            expected = np.subtract(ends, starts) if key == "wall.time" else [0] * len(windows)
            assert values.tolist() == list(expected)


def test_kernels_are_broken_down_by_canonical_name_with_their_raw_names() -> None:
    builder = TraceBuilder()
    builder.kernel("gemm<64>", 10, 100)
    builder.kernel("gemm<32>", 20, 50)
    builder.kernel("gemm<64>", 30, 7)
    builder.kernel("norm", 40, 1)
    assert sorted(_rows(builder, "kernels")) == [
        ["gemm", "gemm<32>", 1, 50, 0],
        ["gemm", "gemm<64>", 2, 107, 0],
        ["norm", "norm", 1, 1, 0],
    ]


def test_copies_are_broken_down_by_direction_and_size() -> None:
    builder = TraceBuilder()
    builder.copy(10, 5, 4096)
    builder.copy(20, 5, 4096)
    builder.copy(30, 5, 4096, source=MemKind.PAGEABLE)
    builder.copy(40, 9, 1 << 20, kind=MemcpyKind.D2H, source=2, target=1)
    builder.copy(50, 9, 12, kind=3)
    h2d = "[CUDA memcpy HtoD] [CUDA memcpy Host-to-Device]"
    d2h = "[CUDA memcpy DtoH] [CUDA memcpy Device-to-Host]"
    assert sorted(_rows(builder, "copies"), key=str) == sorted(
        [
            ["h2d 4 KiB", h2d, 2, 10, 8192],
            ["h2d 4 KiB pageable", h2d, 1, 5, 4096],
            ["d2h 1 MiB", d2h, 1, 9, 1 << 20],
            ["copy kind 3 12 B", "copy kind 3", 1, 9, 12],
        ],
        key=str,
    )


def test_memory_sets_and_calls_are_broken_down() -> None:
    builder = TraceBuilder()
    builder.memset(10, 5, 2048)
    builder.memset(20, 6, 2048)
    builder.call("cudaMalloc_v3020", 30, 35)
    assert _rows(builder, "memsets") == [["memset 2 KiB", "[CUDA memset]", 2, 11, 4096]]
    assert sorted(_rows(builder, "calls")) == [
        ["cudaMalloc", "cudaMalloc_v3020", 1, 5, 0],
        ["cudaMemsetAsync", "cudaMemsetAsync_v3020", 2, 2, 0],
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel[gemm].time", 150),
        ("kernel[gemm].count", 2),
        ("kernel[gemm<64>].time", 100),
        ("kernel[*].time", 151),
        ("kernel[GEMM].time", 0),
        ("kernel[*norm*].count", 1),
        ("category[gemm].time", 150),
        ("category[gem*].time", 150),
        ("api[cudaLaunchKernel].count", 3),
        ("api[cuda*].time", 3),
        ("api[cudaLaunchKernel_v7000].count", 0),
    ],
)
def test_families_select_by_name(key: str, value: float) -> None:
    builder = TraceBuilder()
    builder.kernel("gemm<64>", 10, 100)
    builder.kernel("gemm<32>", 20, 50)
    builder.kernel("norm", 30, 1)
    assert _family(builder, key) == value


def test_a_bracketed_kernel_name_can_be_given_in_full() -> None:
    builder = TraceBuilder()
    builder.kernel("void f<int, 3>(T1 *)", 10, 7)
    assert _family(builder, "kernel[void f<int, 3>(T1 [*])].time") == 7
