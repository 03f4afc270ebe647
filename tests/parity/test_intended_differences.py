"""Where our metrics differ from nsys's reports on purpose: each difference, and what it is worth.

``like_nsys`` says what nsys says (`test_parity`); the metrics say what is asked of a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_nsys.measure.windows import measure_cut
from pytest_nsys.trace import Trace
from pytest_nsys.windows.cut import Cut, whole
from pytest_nsys.windows.ranges import Selection, select, user_ranges
from tests.parity.cases import CASES, MAIN, START_END, WORKER, Export
from tests.parity.like_nsys import like_nsys


def nsys_rows(trace: Trace, report: str) -> dict[str, dict[str, str]]:
    """The rows of nsys's report by the name in them."""
    table = like_nsys(trace, report)
    key = {"nvtx_gpu_proj_sum": "Range", "cuda_kern_exec_sum": "Kernel Name"}.get(report)
    rows = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    return {row[key or table.columns[-1]]: row for row in rows}


def ours(cut: Cut, key: str) -> float:
    return measure_cut(cut, "cut")[key]


def instance(cut: Cut, number: int) -> Cut:
    """One window of a cut."""
    chosen = slice(number, number + 1)
    return Cut(cut.trace, cut.starts[chosen], cut.ends[chosen])


def test_a_range_holds_what_other_threads_launched_in_it(traces: Mapping[str, Trace]) -> None:
    """PyTorch launches the backward pass from autograd's threads. nsys looks at the range's own
    thread, and there finds one fill of 704 ns; the truth is 12 kernels and 89,342 ns a step."""
    trace = traces["train"]
    theirs = nsys_rows(trace, "nvtx_gpu_proj_sum")[":bwd"]
    assert (theirs["Range Instances"], theirs["Total GPU Ops"]) == ("16", "16")
    assert (theirs["Proj Med (ns)"], theirs["Total Proj Time (ns)"]) == ("704.0", "11328")

    steps = select(trace, Selection("bwd"))
    assert [ours(instance(steps, step), "gpu.kernel_count") for step in range(16)] == [12] * 16
    assert ours(instance(steps, 0), "gpu.kernel_time") == 89_342
    assert ours(steps, "gpu.kernel_time") == 1_453_780
    assert ours(steps, "memset.count") == 16


def test_where_one_thread_launches_all_both_count_the_same(traces: Mapping[str, Trace]) -> None:
    trace = traces["train"]
    for text in ("fwd", "opt", "h2d"):
        theirs = nsys_rows(trace, "nvtx_gpu_proj_sum")[f":{text}"]
        cut = select(trace, Selection(text))
        keys = ("gpu.kernel_count", "memset.count", "memcpy.h2d.count", "memcpy.d2h.count")
        assert sum(ours(cut, key) for key in keys) == int(theirs["Total GPU Ops"])


def test_the_time_of_a_range_is_work_and_not_the_span_of_it(traces: Mapping[str, Trace]) -> None:
    """nsys's projection lasts from the first operation to the last, and what the device waits
    for the host in between is in it: 101 ms of ``fwd``, in which it works for 1.7."""
    trace = traces["train"]
    projected = int(nsys_rows(trace, "nvtx_gpu_proj_sum")[":fwd"]["Total Proj Time (ns)"])
    assert projected == 100_992_805
    busy = ours(select(trace, Selection("fwd")), "gpu.busy")
    assert busy == 1_729_450


def test_the_kernels_of_a_graph_are_counted_one_by_one(traces: Mapping[str, Trace]) -> None:
    """nsys's projection counts what one call launched as one operation."""
    trace = traces["llama_node"]
    theirs = nsys_rows(trace, "nvtx_gpu_proj_sum")[":graph_replay"]
    assert theirs["Total GPU Ops"] == "10"
    cut = select(trace, Selection("graph_replay"))
    assert ours(cut, "graph.launches") == 10
    assert ours(cut, "gpu.kernel_count") == 3960


def test_a_whole_graph_is_work_of_the_device(tmp_path: Path) -> None:
    """Captured with ``--cuda-graph-trace=graph``, the default; none of nsys's sums knows it."""
    trace = CASES["whole_graphs_only"]().trace()
    for report in ("cuda_gpu_kern_sum", "nvtx_gpu_proj_sum", "cuda_kern_exec_sum"):
        assert like_nsys(trace, report).rows == ()
    cut = whole(trace)
    assert ours(cut, "graph.launches") == 3
    assert ours(cut, "gpu.busy") == 500 + 501 + 502
    assert ours(cut, "gpu.kernel_time") == 500 + 501 + 502  # it stands for its kernels
    assert ours(cut, "gpu.kernel_count") == 3


def test_busy_time_is_a_union_and_kernel_time_a_sum(tmp_path: Path) -> None:
    """Kernels of two streams at the same time: nsys's reports have the sum alone."""
    export = Export()
    for corr, stream in ((1, 7), (2, 8)):
        export.call(10 * corr, 10 * corr + 5, corr)
        export.kernel(100 + corr, 200 + corr, corr, streamId=stream)
    trace = export.trace()
    assert nsys_rows(trace, "cuda_gpu_kern_sum")["gemm"]["Total Time (ns)"] == "200"
    assert ours(whole(trace), "gpu.kernel_time") == 200
    assert ours(whole(trace), "gpu.busy") == 101


def test_what_a_range_launched_began_in_it(tmp_path: Path) -> None:
    """Ours are launches that begin within the range, on any thread; nsys's are calls that also
    end within it, on its own. So nsys finds one of these three."""
    trace = CASES["calls_on_other_threads"]().trace()
    theirs = nsys_rows(trace, "nvtx_gpu_proj_sum")
    assert {name: row["Total GPU Ops"] for name, row in theirs.items()} == {":backward": "1"}
    assert ours(select(trace, Selection("backward")), "gpu.kernel_count") == 3
    assert ours(select(trace, Selection("nothing")), "gpu.kernel_count") == 1


def test_a_range_may_end_on_another_thread(tmp_path: Path) -> None:
    """nsys leaves such ranges out."""
    export = Export()
    export.range(0, 1000, "request", START_END, globalTid=MAIN, endGlobalTid=WORKER)
    export.launch(100, 1)
    trace = export.trace()
    assert like_nsys(trace, "nvtx_gpu_proj_sum").rows == ()
    assert ours(select(trace, Selection("request")), "gpu.kernel_count") == 1


def test_an_open_range_is_no_window(tmp_path: Path) -> None:
    """nsys 2023 lets it end with the last range of all; we do not know what belongs to it."""
    trace = CASES["open_ranges"]().trace()
    assert ":open" in nsys_rows(trace, "nvtx_gpu_proj_sum")
    assert set(user_ranges(trace)["text"]) == {"closed", "on another thread"}


def test_a_kernel_without_a_call_belongs_to_the_window_it_started_in(tmp_path: Path) -> None:
    """nsys's report on launches and its projection leave it out."""
    trace = CASES["kernels_without_launch"]().trace()
    assert "no call" not in nsys_rows(trace, "cuda_kern_exec_sum")
    assert "no call" in nsys_rows(trace, "cuda_gpu_kern_sum")
    assert nsys_rows(trace, "nvtx_gpu_proj_sum")[":all"]["Total GPU Ops"] == "4"
    # That of another process, which has the id of a call in this one, is in no range of this one.
    assert ours(select(trace, Selection("all")), "gpu.kernel_count") == 4
    export = Export()
    export.kernel(100, 200, None, "no correlation")
    export.range(50, 300, "around")
    assert ours(select(export.trace(), Selection("around")), "gpu.kernel_count") == 1
    assert ours(whole(trace), "gpu.kernel_count") == 7


def test_migrations_are_no_copies_of_the_program(tmp_path: Path) -> None:
    """nsys's reports on memory operations list them among the copies."""
    trace = CASES["unified_memory"]().trace()
    theirs = nsys_rows(trace, "cuda_gpu_mem_time_sum")
    assert theirs["[CUDA memcpy Unified Host-to-Device]"]["Count"] == "5"
    assert theirs["[CUDA memcpy Host-to-Device]"]["Count"] == "1"
    assert ours(whole(trace), "memcpy.h2d.count") == 1


def test_bytes_are_bytes(traces: Mapping[str, Trace]) -> None:
    """nsys gives millions of bytes to three decimals: 64 bytes are nothing there."""
    trace = traces["train"]
    theirs = nsys_rows(trace, "cuda_gpu_mem_size_sum")["[CUDA memcpy Device-to-Host]"]
    assert (theirs["Count"], theirs["Total (MB)"]) == ("16", "0.000")
    assert ours(whole(trace), "memcpy.d2h.bytes") == 64


def test_a_function_is_one_function_in_all_its_versions(tmp_path: Path) -> None:
    """nsys takes versions of four digits off its names, but has a row for each version."""
    export = Export()
    for number, name in enumerate(("cudaMalloc_v3020", "cudaMalloc", "cudaMalloc_v11020")):
        export.call(100 * number, 100 * number + 10, number, name)
    trace = export.trace()
    names = [row[-1] for row in like_nsys(trace, "cuda_api_sum").rows]
    assert names == ["cudaMalloc", "cudaMalloc", "cudaMalloc_v11020"]
    assert measure_cut(whole(trace), "all").calls.count("cudaMalloc") == 3
