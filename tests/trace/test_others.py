"""Traces of torch.profiler and Proton: what of them becomes a trace, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_nsys.errors import ExportFailed, NotACapture
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.values import window_values
from pytest_nsys.storage.recordings.stored import load_stored
from pytest_nsys.support import json_stream
from pytest_nsys.trace import Trace, TraceGpu, kineto, proton
from pytest_nsys.trace.schema import process_number
from pytest_nsys.windows.cut import whole
from tests.support.exports.kineto import BASE_NS, KinetoTrace, hatchet, two_steps, write_text


def values(trace: Trace, *extra: str) -> dict[str, float]:
    found = window_values(whole(trace), Naming(), extra=extra)
    return {key: float(column[0]) for key, column in found.items()}


def loaded(folder: Path, document: Any, name: str = "t.json") -> Trace:
    return load_stored(write_text(folder / name, json.dumps(document)))


@pytest.mark.parametrize("name", ["t.pt.trace.json", "t.json.gz", "anything"])
def test_a_trace_of_torch_profiler(tmp_path: Path, name: str) -> None:
    trace = load_stored(two_steps().write(tmp_path / name))
    found = values(trace)
    assert found["gpu.kernel_count"] == 4
    assert found["gpu.kernel_time"] == 2 * (100_500 + 2_048)
    assert found["memcpy.h2d.bytes"] == 8192
    assert found["memcpy.h2d.time"] == 2 * 8_125
    assert found["memcpy.pageable"] == 2
    assert (found["sync.count"], found["sync.time"]) == (2, 1_000_000)
    assert found["launch.latency"] == 10_000
    assert trace.gpus == tuple(TraceGpu(number, "NVIDIA H200", 132, 0, (9, 0)) for number in (0, 1))
    assert trace.configurations == (Configuration((8,), (128,), 32, shared=2048),)
    assert set(trace.kernels["configuration"]) == {0}
    assert trace.cuda == "13.0"
    assert trace.ranges["text"].tolist() == [kineto.STEP, kineto.STEP]
    assert (trace.ranges["end"] - trace.ranges["start"]).tolist() == [900_250, 900_250]
    assert {process_number(pid) for pid in trace.kernels["pid"]} == {4037}
    assert trace.kernels["start"].min() == 100_000  # from the first event on


def test_what_it_cannot_know_has_no_value_and_is_named(tmp_path: Path) -> None:
    document = two_steps().document()
    memory = {"Addr": 1, "Bytes": 512, "Device Type": 1, "Total Allocated": 512}
    document["traceEvents"].append({"ph": "i", "cat": "cpu_instant_event", "s": "t", "ts": 1.0})
    document["traceEvents"].append({"ph": "i", "name": "[memory]", "ts": 1.0, "args": memory})
    trace = loaded(tmp_path, document)
    found = values(trace, "api[cudaGetDevice].count", "kernel[gemm*].count")
    assert not [key for key in found if key.startswith(("api", "mem.", "um."))]
    assert found["kernel[gemm*].count"] == 2
    assert not trace.knows("mem.peak")
    assert [line for line in trace.defects if "mem.*" in line and "[memory]" in line]
    assert [line for line in trace.defects if "api*" in line and "cudaGetDevice" in line]


def test_without_calls_nothing_is_said_of_calls_and_copies(tmp_path: Path) -> None:
    document = two_steps().document()
    events = document["traceEvents"]
    document["traceEvents"] = [one for one in events if one["cat"] in ("kernel", "user_annotation")]
    found = values(loaded(tmp_path, document))
    assert found["gpu.kernel_count"] == 4
    unknown = ("sync.", "graph.", "launch.", "memcpy.", "memset.")
    assert not [key for key in found if key.startswith(unknown)]


def test_a_trace_of_rocm(tmp_path: Path) -> None:
    trace = KinetoTrace()
    call = trace.call("hipMemcpyWithStream", 10.0)
    trace.on_gpu("gpu_memcpy", "Memcpy HtoD (Host -> Device)", 20.0, 2.0, call, 0, kind="HtoD")
    trace.kernel("k", 40.0, 1.0, call=trace.call("hipLaunchKernel", 30.0))
    trace.call("hipDeviceSynchronize", 50.0)
    found = values(load_stored(trace.write(tmp_path / "t.json")))
    assert (found["gpu.kernel_time"], found["memcpy.h2d.time"]) == (1000, 2000)
    assert not found.keys() & {"sync.count", "memcpy.h2d.bytes", "memcpy.pageable"}


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (7, 7000),
        ("1727743122000000.125", 1727743122000000125),
        ("7", 7000),
        ("0.5", 500),
        ("-1.5", -1500),
        ("1.6640000000000001", 1664),
        ("2e3", 2_000_000),
        (None, -1),
        (True, -1),
        ([1], -1),
        ("", -1),
        ("x", -1),
        ("Infinity", -1),
        ("²", -1),
        ("9" * 60, -1),
    ],
)
def test_times_are_exact(value: object, ns: int) -> None:
    found = kineto.nanoseconds(value)
    assert found == ns or (value == "9" * 60 and found > 2**70)


def test_times_of_older_versions_are_whole_or_texts(tmp_path: Path) -> None:
    document = two_steps().document()
    del document["baseTimeNanoseconds"]
    for event in document["traceEvents"]:
        whole_us = BASE_NS // 1000 + int(event["ts"])
        event |= {"ts": str(whole_us) if event["cat"] == "kernel" else whole_us}
        event |= {"dur": int(event["dur"])}
        event["cat"] = {"kernel": "Kernel", "cuda_runtime": "Runtime"}.get(
            event["cat"], event["cat"]
        )
        if event["name"].startswith(kineto.STEP):
            event["cat"] = "Operator"
    found = values(trace := loaded(tmp_path, document))
    assert found["gpu.kernel_time"] == 2 * 102_000
    assert found["launch.latency"] == 10_000
    assert len(trace.ranges) == 2  # those of the GPU's side are the same once more


def mended(text: str) -> str:
    return text.replace('"est. achieved occupancy %": 25', '"est. achieved occupancy %": -nan')


@pytest.mark.parametrize(
    "change",
    [
        mended,
        lambda text: text.replace('%": 25', '%": NaN'),
        lambda text: text.replace('%": 25', '%":inf'),
        lambda text: text.replace('\n ],\n "traceName"', ',\n ],\n "traceName"'),
        lambda text: text.replace("add_kernel", 'a\tb \\": nan,'),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n{}\n",
    ],
)
def test_what_chrome_reads_is_read(tmp_path: Path, change: Callable[[str], str]) -> None:
    text = json.dumps(two_steps().document(), indent=1)
    changed = change(text)
    assert changed != text
    trace = load_stored(write_text(tmp_path / "t.json", changed))
    assert values(trace)["gpu.kernel_count"] == 4
    assert 'a\tb ": nan,' not in changed or 'a\tb ": nan,' in trace.strings.values()


def test_a_list_of_events_may_be_open_and_that_is_told(tmp_path: Path) -> None:
    lines = ",\n".join(map(json.dumps, two_steps().events))
    whole_list = load_stored(write_text(tmp_path / "a.json", f"[{lines}]"))
    for end in ("", ",", ",\n"):
        open_list = load_stored(write_text(tmp_path / "b.json", f"[{lines}{end}"))
        assert values(open_list) == values(whole_list)
        assert [line for line in open_list.defects if "does not end" in line]


def test_what_is_there_twice_counts_once(tmp_path: Path) -> None:
    trace = two_steps()
    graph = trace.call("cudaGraphLaunch", 4000.0)
    for _ in range(2):  # nodes of a graph: the same in whole µs
        trace.kernel("node", 4010.0, 1.0, call=graph)
    document = trace.document()
    document["traceEvents"] += [one for one in trace.events if one["name"] != "node"]
    found = loaded(tmp_path, document)
    assert values(found)["gpu.kernel_count"] == 6
    assert len(found.calls) == 9
    assert "4 rows of CUPTI_ACTIVITY_KIND_KERNEL are there twice: left out" in found.defects


def test_events_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    document = two_steps().document()
    odd = {"ph": "X", "cat": "kernel", "name": ["k"], "ts": {}, "dur": "x", "args": [1]}
    shapeless = {"grid": [1, 2], "block": "x", "correlation": 77}
    document["traceEvents"] += [
        odd,
        {**odd, "ts": 1, "dur": 1, "args": shapeless},
        None,
        1,
        {"cat": []},
        {"ph": "X", "cat": {}},
    ]
    document |= {
        "distributedInfo": [1],
        "deviceProperties": [1, {"id": "x", "name": 2}, {"id": 10**400, "numSms": 10**400}],
    }
    trace = loaded(tmp_path, document)
    assert values(trace)["gpu.kernel_count"] == 5
    assert [line for line in trace.defects if "have no time" in line]
    late = two_steps().document()
    late["traceEvents"][4]["ts"] = 1e30
    with pytest.raises(ExportFailed, match="no capture lasts so long"):
        loaded(tmp_path, late)


def test_ranks_are_processes_with_devices_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "ranks"
    folder.mkdir()
    for rank in range(2):
        two_steps(rank=rank, pid=100).write(folder / f"rank{rank}.json.gz")
    two_steps(rank=1, pid=100).write(folder / "rank1.json")
    trace = load_stored(folder)
    assert values(trace)["gpu.kernel_count"] == 8
    assert values(trace)["process.count"] == 2
    assert sorted(set(trace.kernels["device"])) == [0, 1]
    assert {process_number(pid) for pid in trace.kernels["pid"]} == {100, 101}
    assert [gpu.name for gpu in trace.gpus] == ["NVIDIA H200"] * 2
    told = " ".join(trace.defects)
    assert "1 of 3 files hold what another does" in told
    assert "devices of each rank are numbered on" in told
    assert "have one number" in told


def test_cycles_of_one_process_are_one_process(tmp_path: Path) -> None:
    folder = tmp_path / "cycles"
    folder.mkdir()
    for cycle in range(2):
        document = two_steps().document()
        document["baseTimeNanoseconds"] += cycle * 10**9
        write_text(folder / f"host_4037.{cycle}.pt.trace.json", json.dumps(document))
    trace = load_stored(folder)
    assert {process_number(pid) for pid in trace.kernels["pid"]} == {4037}
    assert set(trace.kernels["device"]) == {0}
    assert trace.kernels["start"].max() > 10**9


def test_several_processes_of_one_file(tmp_path: Path) -> None:
    one, other = two_steps(pid=50), KinetoTrace(pid=60)
    other._correlation = 100
    other.kernel("k", 5000.0, 1.0)
    trace = loaded(tmp_path, [*one.events, *other.events])
    named = trace.kernels["name"].map(trace.strings)
    assert trace.kernels["pid"].map(process_number)[named == "k"].tolist() == [60]
    ids = one.document()
    for event in ids["traceEvents"]:
        event |= {"pid": "main", "tid": 2**40} if event["pid"] == 50 else {}
    assert values(loaded(tmp_path, ids))["launch.latency"] == 10_000


def test_a_tree_of_proton(tmp_path: Path) -> None:
    trace = loaded(tmp_path, hatchet({"gemm": (3, 1000), "add": (2, 7)}), "p.hatchet")
    found = values(trace)
    assert found == {
        "gpu.kernel_time": 1007,
        "gpu.kernel_count": 5,
        "nccl.time": 0,
    }
    assert (trace.kernels["end"] - trace.kernels["start"]).sum() == 1007
    assert trace.ranges["text"].tolist() == ["step"]
    assert trace.gpus == (TraceGpu(0, "sm_90", 132),)
    assert [line for line in trace.defects if "kernels are sums" in line]
    older = json.loads(json.dumps(hatchet({"gemm": (3, 1000)})).replace("count", "Count"))
    assert values(loaded(tmp_path, older))["gpu.kernel_count"] == 3


def test_a_trace_of_proton_has_a_document_for_each_stream(tmp_path: Path) -> None:
    lines = []
    for stream in (0, 7):
        more = {"tid": stream, "args": {"call_stack": ["ROOT", "k"]}}
        event = {"cat": "kernel", "dur": 1.6640000000000001, "name": "k", "ph": "X", "ts": 2.5}
        lines.append(json.dumps({"displayTimeUnit": "us", "traceEvents": [{**event, **more}]}))
    trace = load_stored(write_text(tmp_path / "p.chrome_trace", "\n".join(lines) + "\n"))
    found = values(trace)
    assert (found["gpu.kernel_count"], found["gpu.kernel_time"]) == (2, 2 * 1664)
    assert sorted(trace.kernels["stream"]) == [0, 7]
    assert "sync.count" not in found


def test_ranks_of_proton(tmp_path: Path) -> None:
    folder = tmp_path / "ranks"
    folder.mkdir()
    for rank in range(2):
        write_text(folder / f"{rank}.hatchet", json.dumps(hatchet({"gemm": (3, 1000 + rank)})))
    found = values(load_stored(folder))
    assert (found["gpu.kernel_time"], found["process.count"]) == (2001, 2)
    two_steps().write(folder / "t.json")  # whoever keeps both in one folder
    found = values(load_stored(folder))
    assert found["gpu.kernel_time"] == 2001 + 2 * (100_500 + 2_048)
    assert "gpu.busy" not in found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"traceEvents": [{"ph": "X"', "at character"),
        ('{"traceEvents": [{"ph": "X"}', "the end where"),
        ('{"traceEvents": [1 2]}', "'2' where"),
        ('{"traceEvents"; []}', "';' where a key"),
        ("{1: 2}", "where a key"),
        ("[] 5", "an object or a list"),
        ('{"a": "C:\\path"}', "Invalid"),
        ('{"a": ' + "[" * 200_000, "nested too deeply|at character"),
        ('{"a": {"b": ' + "[" * 200_000, "nested too deeply|at character"),
        ('{"a": ' + "1" * 5000 + "}", "digits"),
        ('[{"children": [], "frame": 5}, ', "at character"),
        ('[{"children": [5], "frame": {}}]', "no object"),
    ],
)
def test_what_is_damaged_is_one_error(tmp_path: Path, text: str, why: str) -> None:
    path = write_text(tmp_path / "t.json", text)
    with pytest.raises(ExportFailed, match=why) as failed:
        load_stored(path)
    assert str(path) in str(failed.value)


def test_files_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = write_text(tmp_path / "t.json", '{"a":"' + "a" * 9_000_000)
    with pytest.raises(ExportFailed, match="a value has more than 8 Mi"):
        load_stored(long)
    event = '{"ph":"X","cat":"kernel","ts":1,"dur":1},'
    with pytest.raises(ExportFailed, match="next to nothing"):
        load_stored(write_text(tmp_path / "t.json", "[" + event * 3000))
    with pytest.raises(ExportFailed, match="next to nothing"):
        load_stored(write_text(tmp_path / "t.json", '[{"children": ' + "[]," * 3000))
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(b'{"a":[' + b" " * 30_000_000))
    with pytest.raises(ExportFailed, match="unpacks to more than fits"):
        load_stored(packed)
    packed.write_bytes(gzip.compress(json.dumps(two_steps().document()).encode())[:-20])
    with pytest.raises(ExportFailed, match="end-of-stream"):
        load_stored(packed)
    many = write_text(tmp_path / "p.hatchet", json.dumps(hatchet({"k": (10**12, 1)})))
    with pytest.raises(ExportFailed, match="launches"):
        load_stored(many)
    monkeypatch.setattr(proton, "_LARGEST", 100)
    with pytest.raises(ExportFailed, match="larger than"):
        load_stored(many)


def test_what_has_nothing_of_a_gpu_says_what_it_has(tmp_path: Path) -> None:
    only = KinetoTrace()
    only.event("cpu_op", "aten::mm", 1.0, 2.0)
    with pytest.raises(NotACapture, match="cpu_op"):
        load_stored(only.write(tmp_path / "t.json"))
    for text in ("{}", "[]", '{"a": 1}', '[{"frame": {}, "metrics": {"count": 5}}]'):
        with pytest.raises(NotACapture):
            load_stored(write_text(tmp_path / "t.json", text))


def test_a_value_may_lie_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(two_steps().document())
    whole_file = values(load_stored(write_text(tmp_path / "t.json", text)))
    monkeypatch.setattr(json_stream, "_CHUNK", 7)
    assert values(load_stored(tmp_path / "t.json")) == whole_file
    changed = mended(json.dumps(two_steps().document()))
    assert values(load_stored(write_text(tmp_path / "t.json", changed))) == whole_file
