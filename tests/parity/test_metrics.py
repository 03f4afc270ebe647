"""Metrics of real captures against what nsys's own reports say of the same files.

Where the two differ on purpose, the test says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from pytest_nsys.cuda.names import api_name
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.measure.windows import measure_cut
from pytest_nsys.metrics.window import WINDOW_METRICS, durations
from pytest_nsys.offline.stats import kernel_rows
from pytest_nsys.trace import Trace
from pytest_nsys.windows.cut import Cut, whole
from pytest_nsys.windows.ranges import cut_ranges
from tests.parity.cases import nsys_report

REPORTED = ("train", "llama_node")


def _range(trace: Trace, text: str) -> Cut:
    return cut_ranges(trace, trace.ranges[trace.ranges["text"] == text])


def _value(cut: Cut, key: str) -> float:
    return float(WINDOW_METRICS[key](cut).sum())


@pytest.mark.parametrize("name", REPORTED)
def test_kernel_time_and_count_are_those_of_cuda_gpu_kern_sum(
    traces: Mapping[str, Trace], name: str
) -> None:
    rows = nsys_report(name, "cuda_gpu_kern_sum")
    cut = whole(traces[name])
    assert _value(cut, "gpu.kernel_time") == sum(int(row["Total Time (ns)"]) for row in rows)
    assert _value(cut, "gpu.kernel_count") == sum(int(row["Instances"]) for row in rows)


@pytest.mark.parametrize("name", REPORTED)
def test_every_kernel_is_as_in_cuda_gpu_kern_sum(traces: Mapping[str, Trace], name: str) -> None:
    ours = {
        row["name"]: (row["count"], row["total_ns"], row["min_ns"], row["max_ns"], row["median_ns"])
        for row in kernel_rows(whole(traces[name]), Naming())
    }
    theirs = {
        row["Name"]: (
            int(row["Instances"]),
            int(row["Total Time (ns)"]),
            int(row["Min (ns)"]),
            int(row["Max (ns)"]),
            float(row["Med (ns)"]),
        )
        for row in nsys_report(name, "cuda_gpu_kern_sum")
    }
    assert ours == theirs


@pytest.mark.parametrize("name", REPORTED)
def test_copies_and_sets_are_as_in_the_reports_on_memory_operations(
    traces: Mapping[str, Trace], name: str
) -> None:
    cut = whole(traces[name])
    times = {row["Operation"]: row for row in nsys_report(name, "cuda_gpu_mem_time_sum")}
    sizes = {row["Operation"]: row for row in nsys_report(name, "cuda_gpu_mem_size_sum")}
    operations = {
        "memcpy.h2d": "[CUDA memcpy Host-to-Device]",
        "memcpy.d2h": "[CUDA memcpy Device-to-Host]",
        "memcpy.d2d": "[CUDA memcpy Device-to-Device]",
        "memcpy.p2p": "[CUDA memcpy Peer-to-Peer]",
        "memset": "[CUDA memset]",
    }
    assert set(times) <= set(operations.values())
    for key, operation in operations.items():
        if operation not in times:
            assert _value(cut, f"{key}.count") == 0
            continue
        assert _value(cut, f"{key}.time") == int(times[operation]["Total Time (ns)"])
        assert _value(cut, f"{key}.count") == int(times[operation]["Count"])
        # nsys gives megabytes to three decimals.
        size = _value(cut, f"{key}.bytes") / 1e6
        assert f"{size:.3f}" == sizes[operation]["Total (MB)"]


@pytest.mark.parametrize("name", REPORTED)
def test_api_calls_are_as_in_cuda_api_sum(traces: Mapping[str, Trace], name: str) -> None:
    trace = traces[name]
    counts: Counter[str] = Counter()
    times: Counter[str] = Counter()
    calls = zip(trace.calls["name"], durations(trace.calls).tolist(), strict=True)
    for key, ns in calls:
        counts[api_name(trace.strings[key])] += 1
        times[api_name(trace.strings[key])] += ns
    rows = nsys_report(name, "cuda_api_sum")
    assert counts == Counter({api_name(row["Name"]): int(row["Num Calls"]) for row in rows})
    assert times == Counter({api_name(row["Name"]): int(row["Total Time (ns)"]) for row in rows})
    assert _value(whole(trace), "api.count") == sum(int(row["Num Calls"]) for row in rows)


@pytest.mark.parametrize("name", REPORTED)
def test_synchronisations_are_the_calls_that_block(traces: Mapping[str, Trace], name: str) -> None:
    blocking = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
    rows = [row for row in nsys_report(name, "cuda_api_sum") if row["Name"] in blocking]
    cut = whole(traces[name])
    assert _value(cut, "sync.count") == sum(int(row["Num Calls"]) for row in rows) > 0
    assert _value(cut, "sync.time") == sum(int(row["Total Time (ns)"]) for row in rows)
    seen = {row["Name"] for row in nsys_report(name, "cuda_api_sum")}
    assert {"train": "cudaEventQuery", "llama_node": "cudaStreamWaitEvent"}[name] in seen


def test_kernels_of_autograd_threads_belong_to_the_range_they_were_launched_in(
    traces: Mapping[str, Trace],
) -> None:
    """nsys looks at the range's own thread, and finds 1 kernel of 704 ns in each backward pass."""
    (theirs,) = (row for row in nsys_report("train", "nvtx_gpu_proj_sum") if row["Range"] == ":bwd")
    assert int(theirs["Total GPU Ops"]) == 16
    assert float(theirs["Proj Med (ns)"]) == 704
    cut = _range(traces["train"], "bwd")
    assert WINDOW_METRICS["gpu.kernel_count"](cut).tolist() == [12.0] * 16
    assert WINDOW_METRICS["gpu.kernel_time"](cut)[0] == 89_342


@pytest.mark.parametrize("text", ["fwd", "opt", "h2d"])
def test_where_the_ranges_own_thread_does_all_nsys_counts_as_we_do(
    traces: Mapping[str, Trace], text: str
) -> None:
    (theirs,) = (
        row for row in nsys_report("train", "nvtx_gpu_proj_sum") if row["Range"] == f":{text}"
    )
    cut = _range(traces["train"], text)
    keys = ("gpu.kernel_count", "memset.count", "memcpy.h2d.count", "memcpy.d2h.count")
    assert len(cut) == int(theirs["Range Instances"])
    assert sum(_value(cut, key) for key in keys) == int(theirs["Total GPU Ops"])
    assert _value(cut, "wall.time") == int(theirs["Total Range Time (ns)"])


@pytest.mark.parametrize("text", ["fwd", "opt"])
def test_kernels_by_range_are_those_of_nvtx_kern_sum(
    traces: Mapping[str, Trace], text: str
) -> None:
    rows = [row for row in nsys_report("train", "nvtx_kern_sum") if row["NVTX Range"] == f":{text}"]
    ours = kernel_rows(_range(traces["train"], text), Naming())
    assert {row["name"]: (row["count"], row["total_ns"]) for row in ours} == {
        row["Kernel Name"]: (int(row["Kern Inst"]), int(row["Total Time (ns)"])) for row in rows
    }


def test_kernels_of_a_cuda_graph_belong_to_the_range_that_launched_the_graph(
    traces: Mapping[str, Trace],
) -> None:
    """They run after the range has ended on the host: it lasts 4 ms, and they take 12."""
    cut = _range(traces["llama_node"], "graph_replay")
    assert _value(cut, "graph.launches") == 10
    assert _value(cut, "gpu.kernel_count") == 3960
    rows = [
        row
        for row in nsys_report("llama_node", "nvtx_kern_sum")
        if row["NVTX Range"] == ":graph_replay"
    ]
    assert sum(int(row["Kern Inst"]) for row in rows) == 3960
    assert _value(cut, "gpu.kernel_time") == sum(int(row["Total Time (ns)"]) for row in rows)
    launched_after = cut.trace.kernels["start"].to_numpy()[cut.kernels.row] >= cut.ends[0]
    assert launched_after.any()


def test_nested_ranges_both_hold_what_the_inner_one_launched(traces: Mapping[str, Trace]) -> None:
    step, matmul, softmax = (
        _value(_range(traces["basic"], text), "gpu.kernel_count")
        for text in ("step", "matmul", "softmax")
    )
    assert matmul > 0
    assert softmax > 0
    assert step >= matmul + softmax


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_a_breakdown_adds_up_to_the_metric_it_explains(
    traces: Mapping[str, Trace], name: str
) -> None:
    window = measure_cut(whole(traces[name]), "capture")
    assert window.kernels.time() == window["gpu.kernel_time"]
    assert window.kernels.count() == window["gpu.kernel_count"]
    for kind in ("h2d", "d2h", "d2d"):
        assert window.copies.bytes(f"{kind} *") == window[f"memcpy.{kind}.bytes"]
        assert window.copies.count(f"{kind} *") == window[f"memcpy.{kind}.count"]
        assert window.copies.time(f"{kind} *") == window[f"memcpy.{kind}.time"]
    assert window.copies.count("* pageable") == window["memcpy.pageable"]
    assert window.calls.count() == window["api.count"]
    syncs = window.breakdown["syncs"]
    assert (syncs.count(), syncs.time()) == (window["sync.count"], window["sync.time"])
    memsets = window.breakdown["memsets"]
    assert (memsets.bytes(), memsets.time()) == (window["memset.bytes"], window["memset.time"])


@pytest.mark.parametrize("name", ["basic", "train", "llama_node"])
def test_memory_is_plausible_on_real_captures(traces: Mapping[str, Trace], name: str) -> None:
    window = measure_cut(whole(traces[name]), "capture")
    assert window["mem.peak_total"] >= window["mem.peak"] > 2**20
    assert window["mem.live_end"] <= window["mem.peak"]
    assert window["mem.alloc_count"] > 0
