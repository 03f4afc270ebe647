"""Each rule at its thresholds, on traces made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_nsys.insights.bottlenecks import RULES, Bottleneck, diagnose
from pytest_nsys.insights.bottlenecks.background import Background
from pytest_nsys.insights.bottlenecks.bottleneck import percent
from pytest_nsys.trace import schema
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.windows.cut import Cut
from tests.support.exports.rows import LAUNCH, OTHER_PID
from tests.support.programs import MS, NAMING, US, Program

SYNC = "cudaStreamSynchronize_v3020"
ASYNC = "cudaMemcpyAsync_v3020"


def _shown(finding: Bottleneck) -> str:
    return "\n".join((finding.summary, *finding.evidence, finding.advice))


# Nothing to find


def test_an_empty_trace_has_no_findings() -> None:
    assert Program().findings() == {}
    assert diagnose(Cut(Program().trace(), np.zeros(0, np.int64), np.zeros(0, np.int64))) == ()


def test_a_device_that_is_always_busy_with_several_kernels_has_no_findings() -> None:
    program = Program()
    for number in range(10):
        name = f"gemm_{'ab'[number % 2]}"
        start = 100 * US * number
        program.kernel(start, start + 100 * US, (LAUNCH, number * 10, number * 10 + 5), name=name)
    assert program.findings() == {}


@pytest.mark.parametrize(("end", "found"), [(50 * US, True), (50 * US - 1, False)])
def test_windows_shorter_than_50_us_have_no_findings(end: int, found: bool) -> None:
    program = Program()
    program.copy(0, 20 * US)
    assert bool(program.findings((0, end))) == found


# The host


@pytest.mark.parametrize(("start", "found"), [(300 * US, True), (300 * US - 1, False)])
def test_host_bound_from_30_percent_idle_on(start: int, found: bool) -> None:
    program = Program()
    program.kernel(start, 700 * US, (LAUNCH, 250 * US, 260 * US), name="gemm_a")
    program.kernel(700 * US, MS, (LAUNCH, 270 * US, 280 * US), name="gemm_b")
    findings = program.findings()
    assert ("host-bound" in findings) == found
    if found:
        assert findings["host-bound"].share == 0.3


@pytest.mark.parametrize(("idle", "found"), [(100 * US, True), (100 * US - 1, False)])
def test_host_bound_needs_100_us_per_window(idle: int, found: bool) -> None:
    program = Program()
    windows = []
    for begin in (0, MS):
        program.kernel(begin + idle, begin + 160 * US, (LAUNCH, begin, begin + 5 * US))
        windows.append((begin, begin + 160 * US))
    assert ("host-bound" in program.findings(*windows)) == found


def test_host_bound_says_what_the_host_did_in_the_gaps() -> None:
    program = Program()
    program.call(100 * US, 200 * US, name="cudaEventQuery_v3020")
    program.call(200 * US, 300 * US, name="cudaEventQuery_v3020")
    program.call(300 * US, 350 * US, name="cudaStreamIsCapturing_v10000")
    program.kernel(500 * US, MS, (LAUNCH, 490 * US, 505 * US))
    found = program.findings()["host-bound"]
    assert found.summary == ("The GPU is idle for 50% of 1 ms because the host gives it no work.")
    assert found.evidence == (
        "1 gap, 500 us together, the longest 500 us",
        "48% of it the host was in no CUDA call",
        "40% of it in cudaEventQuery (2 calls)",
        "10% of it in cudaStreamIsCapturing (1 call)",
        "2% of it in cudaLaunchKernel (1 call)",
    )
    assert "CUDA graph (torch.cuda.graph" in found.advice


def test_host_bound_without_cuda_calls_advises_to_look_at_the_cpu() -> None:
    program = Program()
    program.kernel(900 * US, MS, (LAUNCH, 890 * US, 895 * US))
    found = program.findings()["host-bound"]
    assert "99% of it the host was in no CUDA call" in found.evidence
    assert "py-spy" in found.advice


def test_host_bound_by_loading_kernels_advises_to_warm_up() -> None:
    program = Program()
    program.call(100 * US, 800 * US, name="cuLibraryLoadData")
    program.kernel(900 * US, MS, (LAUNCH, 890 * US, 895 * US))
    assert "warm-up" in program.findings()["host-bound"].advice


def test_the_end_of_a_window_in_which_the_host_goes_on_counts_as_idle() -> None:
    program = Program()
    program.kernel(0, 500 * US, (LAUNCH, 0, 5))
    assert program.findings()["host-bound"].share == 0.5


def test_a_window_is_looked_at_until_its_work_is_done() -> None:
    program = Program()
    program.kernel(0, 500 * US, (LAUNCH, 0, 5), name="gemm_a")
    program.kernel(500 * US, MS, (LAUNCH, 10, 15), name="gemm_b")
    assert program.findings((0, 100 * US)) == {}
    program.kernel(1600 * US, 2 * MS, (LAUNCH, 20, 1600 * US), name="gemm_c")
    assert program.findings((0, 100 * US))["host-bound"].share == 0.3


def test_work_of_other_windows_keeps_the_device_from_being_idle() -> None:
    program = Program()
    program.kernel(100 * US, 900 * US, (LAUNCH, 0, 5 * US), name="gemm_a")
    program.kernel(900 * US, MS, (LAUNCH, 150 * US, 160 * US), name="gemm_b")
    assert "host-bound" not in program.findings((140 * US, 200 * US))


def test_a_gap_before_work_that_was_launched_long_ago_is_not_the_hosts() -> None:
    program = Program()
    program.kernel(0, 500 * US, (LAUNCH, 0, 10))
    program.kernel(900 * US, MS, (LAUNCH, 20, 30), stream=8)  # waits for an event, say
    assert "host-bound" not in program.findings()


def test_windows_are_taken_together_and_overlapping_ones_once() -> None:
    program = Program()
    for begin in (0, 2 * MS):
        program.kernel(begin + 600 * US, begin + MS, (LAUNCH, begin + 590 * US, begin + 595 * US))
    found = program.findings((0, MS), (2 * MS, 3 * MS))["host-bound"]
    assert found.share == pytest.approx(0.6)
    assert "60% of 1 ms (mean of 2 windows)" in found.summary
    assert found.evidence[0] == "1 gap, 600 us together, the longest 600 us"
    nested = program.findings((0, MS), (0, MS))["host-bound"]
    assert nested.share == pytest.approx(0.6)


def test_ranges_of_two_processes_at_the_same_time_are_one_window() -> None:
    program = Program()
    program.kernel(600 * US, MS, (LAUNCH, 590 * US, 595 * US))
    program.kernel(1600 * US, 2 * MS, (LAUNCH, 1590 * US, 1595 * US))
    windows = ((0, MS), (5, MS - 5), (MS, 2 * MS), (MS + 5, 2 * MS - 5))
    found = program.findings(*windows)["host-bound"]
    assert "60% of 1 ms (mean of 2 windows)" in found.summary


def test_every_device_that_the_windows_use_counts() -> None:
    program = Program()
    program.kernel(0, MS, (LAUNCH, 0, 5), name="gemm_a")
    program.kernel(0, 200 * US, (LAUNCH, 10, 15), name="gemm_b", device=1)
    found = program.findings()["host-bound"]
    assert found.share == 0.4
    assert "(mean of 2 devices)" in found.summary


@pytest.mark.parametrize(("work", "found"), [(20 * US, True), (20 * US - 1, False)])
def test_a_device_with_hardly_any_work_does_not_count(work: int, found: bool) -> None:
    program = Program()
    program.kernel(0, MS, (LAUNCH, 0, 5))
    program.kernel(0, work, (LAUNCH, 10, 15), name="gemm_b", device=1)
    assert ("host-bound" in program.findings()) == found


def test_calls_count_for_the_devices_that_their_process_drives() -> None:
    program = Program()
    other = OTHER_PID + 1
    program.kernel(900 * US, MS, (LAUNCH, 890 * US, 895 * US))
    program.kernel(0, MS, (LAUNCH, 0, 5), device=1, thread=other)
    program.call(100 * US, 800 * US, thread=other, name="cudaEventQuery_v3020")
    evidence = program.findings()["host-bound"].evidence
    assert not any("cudaEventQuery" in line for line in evidence)


# Synchronisation


def _waits(gaps: int, ns: int) -> Program:
    """A device that is busy but for gaps in which the host comes back from a wait and launches."""
    program = Program()
    begin = 0
    for number in range(gaps):
        end = begin + 200 * US
        program.kernel(begin, end, (LAUNCH, begin, begin + 5), name=f"gemm_{number}")
        program.call(begin + 10, end + ns // 4, name=SYNC)
        begin = end + ns
    program.kernel(begin, MS, (LAUNCH, begin - ns // 4, begin), name="gemm_z")
    return program


@pytest.mark.parametrize(("gaps", "ns", "found"), [(3, 50, True), (2, 80, False), (3, 49, False)])
def test_sync_bound_from_three_gaps_and_15_percent_on(gaps: int, ns: int, found: bool) -> None:
    findings = _waits(gaps, ns * US).findings()
    assert ("sync-bound" in findings) == found
    assert "host-bound" not in findings


def test_sync_bound_names_what_the_host_waited_in() -> None:
    found = _waits(3, 60 * US).findings()["sync-bound"]
    assert found.share == 0.18
    assert found.evidence == ("3 gaps after cudaStreamSynchronize: 180 us together, 60 us each",)
    assert ".item()" in found.advice


def test_a_long_gap_after_a_wait_is_the_hosts() -> None:
    findings = _waits(3, 101 * US).findings()
    assert "sync-bound" not in findings
    assert "3 of the gaps began in a wait for the GPU, mostly cudaStreamSynchronize" in _shown(
        findings["host-bound"]
    )


def test_a_long_gap_that_the_wait_itself_fills_is_the_waits() -> None:
    program = _waits(3, 60 * US)
    program.rows[schema.RUNTIME][1] |= {"start": 10, "end": 230 * US}
    assert "sync-bound" in program.findings()


def test_a_copy_to_pageable_memory_is_a_wait() -> None:
    program = Program()
    begin = 0
    for number in range(4):
        end = begin + 150 * US
        program.kernel(begin, end, (LAUNCH, begin, begin + 5), name=f"gemm_{number}")
        program.copy(
            *(end, end + 2 * US, (ASYNC, begin + 10, end + 30 * US)),
            **{"kind": MemcpyKind.D2H, "size": 4},
            **{"source": MemKind.DEVICE, "target": MemKind.PAGEABLE},
        )
        begin = end + 52 * US
    program.kernel(begin, MS, (LAUNCH, begin - 5 * US, begin))
    assert "4 gaps after cudaMemcpyAsync" in _shown(program.findings()["sync-bound"])


def test_a_wait_for_what_was_launched_before_costs_nothing() -> None:
    program = Program()
    for number in range(4):
        begin = number * 250 * US
        program.kernel(begin, begin + 200 * US, (LAUNCH, begin, begin + 5), name=f"gemm_{number}")
        launch = (ASYNC, begin + 10, begin + 15)
        program.copy(begin + 240 * US, begin + 250 * US, launch, size=4)
        program.call(begin + 20, begin + 250 * US, name=SYNC)
    assert "sync-bound" not in program.findings()


def test_of_waits_on_several_threads_the_one_under_way_counts() -> None:
    program = _waits(3, 60 * US)
    for row in list(program.rows[schema.RUNTIME]):
        if row["nameId"] == program.string(SYNC):
            start, thread = row["start"], row["globalTid"] + 1
            program.call(start + 5, start + 10, thread=thread, name="cudaEventSynchronize_v3020")
    assert "3 gaps after cudaStreamSynchronize" in _shown(program.findings()["sync-bound"])


# Launches


def _short_kernels(count: int, gap: int, *, long: int = 0, took: int = 2 * US) -> Program:
    """Kernels of 2 us that take 4 us to launch, each after a gap, and then longer ones."""
    program = Program()
    begin = 0
    for _ in range(count):
        start = begin + gap
        program.kernel(start, start + took, (LAUNCH, start - 4 * US, start), name="gemm_a<2>")
        begin = start + took
    for number in range(long):
        end = begin + (MS - begin) // (long - number)
        program.kernel(begin, end, (LAUNCH, begin - 4 * US, begin), name=f"gemm_b{number}")
        begin = end
    return program


@pytest.mark.parametrize(
    ("count", "gap", "long", "found"),
    [
        (10, 15 * US, 10, True),
        (9, 20 * US, 9, False),  # too few short kernels
        (10, 15 * US, 11, False),  # too few of all
        (10, 15 * US - 1, 10, False),  # 15 % idle is not reached
    ],
)
def test_launch_bound_at_its_thresholds(count: int, gap: int, long: int, found: bool) -> None:
    assert ("launch-bound" in _short_kernels(count, gap, long=long).findings()) == found


def test_launch_bound_compares_kernels_with_their_launches() -> None:
    found = _short_kernels(100, 8 * US).findings()["launch-bound"]
    assert found.share == 0.8
    assert found.evidence == (
        "100 of 100 kernels are shorter than their launch: 2 us against 4 us (medians)",
        "100 gaps of less than 100 us before them, 800 us together",
        "100x gemm_a",
    )
    assert "CUDA graph" in found.advice
    assert "mode='reduce-overhead'" in found.advice


def test_a_kernel_as_long_as_its_launch_is_not_short() -> None:
    findings = _short_kernels(50, 16 * US, took=4 * US).findings()
    assert "launch-bound" not in findings
    assert findings["host-bound"].share == 0.8


def test_long_gaps_before_short_kernels_are_the_hosts() -> None:
    program = Program()
    for number in range(1, 21):
        start = number * 500 * US
        program.kernel(start, start + 2 * US, (LAUNCH, start - 4 * US, start))
    findings = program.findings((0, 10 * MS))
    assert "launch-bound" not in findings
    assert findings["host-bound"].share > 0.99


def test_kernels_of_cuda_graphs_are_not_launched_one_by_one() -> None:
    program = Program()
    launch = program.call(0, 100 * US, name="cudaGraphLaunch_v10000")
    for number in range(100):
        start = number * 10 * US
        program.kernel(start, start + 2 * US, launch, "gemm_a", node=number)
    assert "launch-bound" not in program.findings()


# Copies


def _copy_and_compute(copy: int, *, beside: int = 0) -> Program:
    """A copy, the last part of it beside the first of two kernels that fill the window."""
    program = Program()
    program.copy(0, copy, (ASYNC, 0, 5))
    begin = copy - beside
    middle = (begin + MS) // 2
    program.kernel(begin, middle, (LAUNCH, 10, 15), name="gemm_a", stream=8)
    program.kernel(middle, MS, (LAUNCH, 20, 25), name="gemm_b", stream=8)
    return program


@pytest.mark.parametrize(("copy", "found"), [(300 * US, True), (300 * US - 1, False)])
def test_transfer_bound_from_30_percent_on(copy: int, found: bool) -> None:
    findings = _copy_and_compute(copy).findings()
    assert ("transfer-bound" in findings) == found


def test_transfer_bound_counts_only_what_lies_beside_no_kernel() -> None:
    findings = _copy_and_compute(400 * US, beside=101 * US).findings()
    assert "transfer-bound" not in findings
    found = _copy_and_compute(400 * US, beside=100 * US).findings()["transfer-bound"]
    assert found.share == 0.3
    assert found.evidence == (
        "1x host to device: 1 MiB in 400 us, 2.621 GB/s",
        "25% of the copies' time lies beside kernels",
    )


def test_kernels_of_other_windows_hide_copies() -> None:
    program = Program()
    program.kernel(0, 2 * MS, (LAUNCH, 0, 5))
    program.copy(600 * US, MS, (ASYNC, 500 * US, 510 * US))
    assert program.findings((500 * US, MS)) == {}


def test_copies_within_a_device_are_no_transfers() -> None:
    program = Program()
    program.copy(0, MS, (ASYNC, 0, 5), kind=MemcpyKind.D2D, source=MemKind.DEVICE)
    assert program.findings() == {}


def test_a_kind_of_copy_without_a_name_is_shown_by_number() -> None:
    program = Program()
    program.copy(0, MS, (ASYNC, 0, 5), kind=3)
    assert "1x kind 3: 1 MiB" in _shown(program.findings()["transfer-bound"])


@pytest.mark.parametrize(("copy", "found"), [(150 * US, True), (150 * US - 1, False)])
def test_copy_overlap_from_15_percent_on(copy: int, found: bool) -> None:
    findings = _copy_and_compute(copy).findings()
    assert ("copy-overlap" in findings) == found
    if found:
        assert findings["copy-overlap"].evidence[:2] == (
            "150 us of copies, of which 0% beside kernels; 850 us of kernels with no copy beside"
            " them",
            "copies on streams 7, kernels on streams 8",
        )


def test_copies_with_no_kernels_to_hide_behind_are_no_lack_of_overlap() -> None:
    program = Program()
    program.copy(0, 900 * US, (ASYNC, 0, 5))
    program.kernel(900 * US, MS, (LAUNCH, 10, 15))
    findings = program.findings()
    assert "copy-overlap" not in findings
    assert "transfer-bound" in findings


def test_many_streams_are_shortened() -> None:
    program = _copy_and_compute(200 * US)
    for stream in range(10, 20):
        program.kernel(500 * US, 501 * US, (LAUNCH, 30, 35), name="gemm_a", stream=stream)
    assert "kernels on streams 8, 10, 11, 12, 13, ..." in _shown(program.findings()["copy-overlap"])


@pytest.mark.parametrize(
    ("end", "size", "call", "source", "found"),
    [
        (50 * US, 2**20, ASYNC, MemKind.PAGEABLE, True),
        (50 * US, 2**20, "cuMemcpyHtoDAsync_v2", MemKind.PAGEABLE, True),
        (50 * US - 1, 2**20, ASYNC, MemKind.PAGEABLE, False),
        (50 * US, 64 * 1024, ASYNC, MemKind.PAGEABLE, False),
        (50 * US, 2**20, ASYNC, MemKind.PINNED, False),
        (50 * US, 2**20, "cudaMemcpy_v3020", MemKind.PAGEABLE, False),
    ],
)
def test_pageable_copies_at_their_thresholds(
    end: int, size: int, call: str, source: int, found: bool
) -> None:
    program = Program()
    program.copy(0, end, (call, 0, 5), size=size, source=source)
    program.kernel(0, MS, (LAUNCH, 10, 15), stream=8)
    assert ("pageable-copies" in program.findings()) == found


def test_pageable_copies_count_the_idle_device_while_the_host_copies() -> None:
    program = Program()
    program.copy(100 * US, 120 * US, (ASYNC, 0, 120 * US), size=2**20, source=MemKind.PAGEABLE)
    program.kernel(120 * US, MS, (LAUNCH, 115 * US, 118 * US))
    assert program.findings()["pageable-copies"].share == 0.12


def test_pageable_copies_are_set_against_pinned_ones_of_their_kind() -> None:
    program = Program()
    program.copy(0, 100 * US, (ASYNC, 0, 5), source=MemKind.PAGEABLE)
    program.copy(2 * MS, 2 * MS + 10 * US, (ASYNC, 2 * MS, 2 * MS + 5))
    program.copy(3 * MS, 3 * MS + 1 * US, (ASYNC, 3 * MS, 3 * MS + 5), kind=MemcpyKind.D2H)
    program.copy(4 * MS, 4 * MS + 90 * US, (ASYNC, 4 * MS, 4 * MS + 5), size=8)  # too small
    assert program.findings()["pageable-copies"].evidence == (
        "1x host to device: 1 MiB in 100 us, 10.49 GB/s",
        "pinned copies host to device in this trace: 104.9 GB/s",
    )


@pytest.mark.parametrize(
    ("call", "end", "returned", "found"),
    [
        ("cudaMemcpy_v3020", 50 * US, 51 * US, True),
        ("cuMemcpyHtoD_v2", 50 * US, 51 * US, True),
        ("cudaMemcpy2D_v3020", 50 * US, 49 * US, True),  # within what clocks may disagree
        ("cudaMemcpy_v3020", 50 * US - 1, 51 * US, False),
        ("cudaMemcpy_v3020", 50 * US, 49 * US - 1, False),  # within a device, say
        (ASYNC, 50 * US, 51 * US, False),
        ("cudaMemcpy2DAsync_ptsz_v7000", 50 * US, 51 * US, False),
    ],
)
def test_synchronous_copies_at_their_thresholds(
    call: str, end: int, returned: int, found: bool
) -> None:
    program = Program()
    program.copy(0, end, (call, 0, returned))
    program.kernel(0, MS, (LAUNCH, 10, 15), stream=8)
    assert ("synchronous-copies" in program.findings()) == found


@pytest.mark.parametrize(
    ("call", "returned", "found"),
    [
        ("cudaMemset_v3020", 110 * US, True),
        ("cuMemsetD8_v2", 110 * US, True),
        ("cudaMemset_v3020", 5 * US, False),  # of device memory
        ("cudaMemsetAsync_v3020", 110 * US, False),
    ],
)
def test_synchronous_memory_sets_are_those_that_hold_the_host(
    call: str, returned: int, found: bool
) -> None:
    program = Program()
    program.memset(0, 100 * US, (call, 0, returned))
    program.kernel(0, MS, (LAUNCH, 111 * US, 115 * US))
    findings = program.findings()
    assert ("synchronous-copies" in findings) == found
    if found:
        name = call.split("_")[0]
        assert findings["synchronous-copies"].evidence == (f"1 call of {name}, 110 us on the host",)


# Allocations


def _allocations(count: int, ns: int) -> Program:
    program = Program()
    program.kernel(0, 500 * US, (LAUNCH, 0, 5), name="gemm_a")
    program.kernel(500 * US, MS, (LAUNCH, 10, 15), name="gemm_b")
    for number in range(count):
        name = ("cudaMalloc_v3020", "cudaFree_v3020")[number % 2]
        program.call((100 + 50 * number) * US, (100 + 50 * number) * US + ns, name=name)
    return program


@pytest.mark.parametrize(
    ("count", "ns", "found"),
    [(4, 12_500, True), (3, 40_000, False), (4, 12_499, False)],
)
def test_allocation_from_four_calls_and_5_percent_on(count: int, ns: int, found: bool) -> None:
    assert ("allocation" in _allocations(count, ns).findings()) == found


def test_allocation_names_the_calls() -> None:
    found = _allocations(5, 20 * US).findings()["allocation"]
    assert found.share == 0.1
    assert found.evidence == (
        "3x cudaMalloc: 60 us, 20 us each",
        "2x cudaFree: 40 us, 20 us each",
        "the longest takes 20 us",
    )
    assert "caching allocator" in found.advice


def test_idle_time_in_allocations_is_theirs_and_not_the_hosts() -> None:
    program = Program()
    for number in range(5):
        begin = number * 200 * US
        program.call(begin, begin + 90 * US, name="cudaMalloc_v3020")
        program.kernel(
            *(begin + 100 * US, begin + 200 * US),
            (LAUNCH, begin + 92 * US, begin + 99 * US),
            name=f"gemm_{number}",
        )
    findings = program.findings()
    assert list(findings) == ["allocation"]
    assert "500 us of idle GPU come from them" in findings["allocation"].evidence


def test_allocations_in_windows_without_gpu_work_are_found() -> None:
    program = Program()
    for number in range(4):
        program.call(number * 200 * US, number * 200 * US + 100 * US, name="cudaMalloc_v3020")
    assert list(program.findings()) == ["allocation"]


def test_allocations_count_once_where_a_process_drives_several_devices() -> None:
    program = _allocations(4, 30 * US)
    program.kernel(0, MS, (LAUNCH, 20, 25), name="gemm_c", device=1)
    found = program.findings()["allocation"]
    assert found.evidence[0] == "2x cudaFree: 60 us, 30 us each"
    assert found.share == 0.12


def test_pools_allocate_without_a_finding() -> None:
    program = Program()
    program.kernel(0, 500 * US, (LAUNCH, 0, 5), name="gemm_a")
    program.kernel(500 * US, MS, (LAUNCH, 10, 15), name="gemm_b")
    for number in range(10):
        program.call(number * 50 * US, number * 50 * US + 30 * US, name="cudaMallocAsync_v11020")
    assert program.findings() == {}


# Kernels


@pytest.mark.parametrize(
    ("large", "busy", "found"),
    [(701, 1000, True), (700, 1000, False), (300, 300, True), (299, 299, False)],
)
def test_one_kernel_of_more_than_70_percent(large: int, busy: int, found: bool) -> None:
    program = Program()
    half = large // 2
    program.kernel(0, half * US, (LAUNCH, 0, 5), name="gemm_a<1>")
    program.kernel(half * US, large * US, (LAUNCH, 10, 15), name="gemm_a<2>")
    program.kernel(large * US, busy * US, (LAUNCH, 20, 25), name="gemm_b")
    assert ("one-kernel" in program.findings()) == found


def test_one_kernel_names_it_and_the_next() -> None:
    program = Program()
    program.kernel(0, 400 * US, (LAUNCH, 0, 5), name="gemm_a<1>")
    program.kernel(400 * US, 900 * US, (LAUNCH, 10, 15), name="gemm_a<2>")
    program.kernel(900 * US, MS, (LAUNCH, 20, 25), name="norm_c")
    found = program.findings()["one-kernel"]
    assert found.share == 0.9
    assert found.summary == ("One kernel takes 90% of the kernels' time and 90% of 1 ms: gemm_a.")
    assert found.evidence == (
        "2x gemm_a (gemm): 900 us, median 450 us",
        "next: norm_c, 100 us",
    )
    assert "tensor cores" in found.advice


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("attention_a", "FlashAttention"),
        ("other_a", "pytest-nsys ncu RECORDING TEST --kernel NAME"),
    ],
)
def test_advice_on_one_kernel_depends_on_its_category(name: str, advice: str) -> None:
    program = Program()
    program.kernel(0, MS, (LAUNCH, 0, 5), name=name)
    assert advice in program.findings()["one-kernel"].advice


@pytest.mark.parametrize(("ns", "found"), [(150 * US, True), (150 * US - 1, False)])
def test_communication_overlap_from_15_percent_on(ns: int, found: bool) -> None:
    program = Program()
    program.kernel(0, ns, (LAUNCH, 0, 5), name="comm_reduce")
    program.kernel(ns, 600 * US, (LAUNCH, 10, 15), name="gemm_a")
    program.kernel(600 * US, MS, (LAUNCH, 20, 25), name="gemm_b")
    findings = program.findings()
    assert ("communication-overlap" in findings) == found
    if found:
        assert findings["communication-overlap"].evidence == (
            "150 us of communication, of which 0% beside computing; 850 us of computing with no"
            " communication beside it",
            "1x comm_reduce",
        )


def test_communication_beside_computing_is_well() -> None:
    program = Program()
    program.kernel(0, 600 * US, (LAUNCH, 0, 5), name="gemm_a")
    program.kernel(600 * US, MS, (LAUNCH, 10, 15), name="gemm_b")
    program.kernel(0, 700 * US, (LAUNCH, 20, 25), name="comm_reduce", stream=8)
    assert program.findings() == {}


def test_communication_alone_has_nothing_to_hide_behind() -> None:
    program = Program()
    program.kernel(0, 900 * US, (LAUNCH, 0, 5), name="comm_reduce")
    program.kernel(900 * US, MS, (LAUNCH, 10, 15), name="gemm_a")
    assert "communication-overlap" not in program.findings()


def test_whole_cuda_graphs_are_computing() -> None:
    program = Program()
    program.graph(0, 500 * US, ("cudaGraphLaunch_v10000", 0, 5))
    program.graph(500 * US, MS, ("cudaGraphLaunch_v10000", 10, 15))
    program.copy(0, 900 * US, (ASYNC, 20, 25), stream=8)
    assert program.findings() == {}


# Sampled metrics

METRICS = {"SMs_Active": 90, "Tensor_Active": 90, "DRAM_Read_Bandwidth": 50}


def _sampled(name: str, *, samples: int = 10, busy: int = 100, **values: int) -> Program:
    """Samples each 100 us, in each of which two kernels of a category run for a part."""
    program = Program()
    for number in range(10):
        begin = number * 100 * US
        program.kernel(
            *(begin, begin + busy * US),
            (LAUNCH, 20 * number, 20 * number + 10),
            name=f"{name}_{'ab'[number % 2]}",
        )
        if number < samples:
            program.samples(begin + 100 * US, **(METRICS | values))
    return program


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("gemm", {}, []),
        ("gemm", {"SMs_Active": 40}, []),
        ("gemm", {"SMs_Active": 39}, ["low-sm-activity"]),
        ("gemm", {"Tensor_Active": 19}, []),  # memory is at half its bandwidth
        ("gemm", {"Tensor_Active": 20, "DRAM_Read_Bandwidth": 0}, []),
        ("gemm", {"Tensor_Active": 19, "DRAM_Read_Bandwidth": 0}, ["low-tensor-activity"]),
        ("norm", {"Tensor_Active": 0}, []),
        ("norm", {"DRAM_Read_Bandwidth": 40}, []),
        ("norm", {"DRAM_Read_Bandwidth": 39}, ["low-memory-throughput"]),
        ("norm", {"DRAM_Read_Bandwidth": 20, "DRAM_Write_Bandwidth": 20}, []),
        ("gemm", {"Tensor_Active": 80, "DRAM_Read_Bandwidth": 0}, []),
        ("other", {"SMs_Active": 90, "Tensor_Active": 0, "DRAM_Read_Bandwidth": 0}, []),
    ],
)
def test_sampled_metrics_at_their_thresholds(
    name: str, values: dict[str, int], found: list[str]
) -> None:
    assert list(_sampled(name, **values).findings((0, MS))) == found


def test_low_tensor_activity_without_samples_of_memory() -> None:
    program = _sampled("gemm", Tensor_Active=3)
    dram = program.metric("DRAM Read Bandwidth [Throughput %]")
    samples = program.rows[schema.SAMPLES]
    program.rows[schema.SAMPLES] = [row for row in samples if row["metricId"] != dram]
    found = program.findings()["low-tensor-activity"]
    assert found.share == 1.0
    assert found.evidence == (
        "tensor cores active: 3%, over 10 samples; the kernels ran for 1 ms, 100% of the time",
        "5x gemm_a: 500 us",
        "5x gemm_b: 500 us",
    )


def test_activity_is_set_against_the_time_in_which_kernels_ran() -> None:
    # The SMs were active for 30 % of each sample, in half of which kernels ran: 60 %.
    assert "low-sm-activity" not in _sampled("gemm", busy=50, SMs_Active=30).findings()
    assert "low-sm-activity" in _sampled("gemm", busy=50, SMs_Active=19).findings()


def test_samples_in_which_kernels_hardly_ran_say_nothing() -> None:
    assert "low-sm-activity" in _sampled("gemm", busy=25, SMs_Active=1).findings()
    assert "low-sm-activity" not in _sampled("gemm", busy=24, SMs_Active=1).findings()


@pytest.mark.parametrize(("samples", "found"), [(5, True), (4, False)])
def test_sampled_metrics_need_five_samples(samples: int, found: bool) -> None:
    findings = _sampled("gemm", samples=samples, SMs_Active=1).findings()
    assert ("low-sm-activity" in findings) == found


def test_one_sample_has_no_period() -> None:
    assert _sampled("gemm", samples=1, SMs_Active=1).findings() == {}


def test_kernels_of_a_fifth_of_the_time_are_worth_a_finding() -> None:
    program = _sampled("gemm", SMs_Active=1)
    assert "low-sm-activity" in program.findings((0, 5 * MS))
    assert "low-sm-activity" not in program.findings((0, 5 * MS + 1))


def test_samples_of_other_devices_do_not_count() -> None:
    program = _sampled("gemm", SMs_Active=1)
    for row in program.rows[schema.SAMPLES]:
        row["typeId"] = 3
    assert program.findings() == {}


# All rules


def test_findings_are_sorted_by_what_they_concern() -> None:
    program = _copy_and_compute(450 * US)
    for number in range(4):
        program.call((500 + 50 * number) * US, (520 + 50 * number) * US, name="cudaMalloc_v3020")
    findings = program.findings()
    assert list(findings) == ["transfer-bound", "copy-overlap", "allocation"]
    shares = [finding.share for finding in findings.values()]
    assert shares == sorted(shares, reverse=True)


def test_every_rule_has_a_docstring_and_its_own_name() -> None:
    assert len({rule.__name__ for rule in RULES}) == len(RULES) == 13
    assert all(rule.__doc__ for rule in RULES)


def test_a_background_serves_many_cuts() -> None:
    cut = _copy_and_compute(450 * US).cut()
    background = Background(cut.trace, NAMING)
    assert diagnose(cut, NAMING, background) == diagnose(cut, NAMING)
    assert diagnose(cut, NAMING, background) == diagnose(cut, NAMING)
    sampled = _sampled("gemm", SMs_Active=1).cut()
    background_of_it = Background(sampled.trace, NAMING)
    for _ in range(2):
        assert [f.name for f in diagnose(sampled, NAMING, background_of_it)] == ["low-sm-activity"]
    other = _copy_and_compute(450 * US).cut()
    with pytest.raises(ValueError, match="another trace"):
        diagnose(other, NAMING, background)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 5, "0%"),
        (1, 1000, "<1%"),
        (1, 2, "50%"),
        (999, 1000, ">99%"),
        (5, 5, "100%"),
        (1, 0, "0%"),
    ],
)
def test_percentages_for_people(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text
