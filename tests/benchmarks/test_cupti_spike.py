"""The spike of CUPTI: records in raw memory become the tables of a trace, by whichever way they
came. A stand-in has the functions of libcupti, and a GPU's part is bytes that are made here."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

from benchmarks.cupti_spike import __main__ as spike
from benchmarks.cupti_spike import contenders, inside
from benchmarks.cupti_spike.contenders import ATTRIBUTES, ByCtypes, CuptiFailed
from benchmarks.cupti_spike.inside import RANGE, metrics_of
from benchmarks.cupti_spike.records import (
    DRIVER,
    FIELDS,
    KERNEL,
    KINDS,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    UnknownLayout,
    dtype_of,
    offsets_by_kind,
    read_records,
    sizes_of,
    trace_of,
)

VERSION = 130001
NAME = ctypes.create_string_buffer(b"gemm_kernel")


def record(kind: int, **values: int) -> bytes:
    """A record as CUPTI lays it into a buffer."""
    size = sizes_of(VERSION)[kind]
    row = np.zeros(1, dtype_of(kind, size))
    for name, value in values.items():
        row[name] = value
    data = bytearray(row.tobytes())
    data[:4] = kind.to_bytes(4, "little")
    return bytes(data)


def launched(number: int, at: int, **more: int) -> list[bytes]:
    """A kernel, the runtime's call for it, and the driver's call within that."""
    call = {"start": at, "process": 1, "thread": 7, "correlation": number}
    place = {"device": 0, "context": 1, "stream": 7, "name": ctypes.addressof(NAME)}
    return [
        record(RUNTIME, cbid=211, end=at + 50, **call),
        record(DRIVER, cbid=307, **{**call, "start": at + 5}, end=at + 40),
        record(KERNEL, start=at + 100, end=at + 350, correlation=number, **place, **more),
    ]


def work() -> list[bytes]:
    """What a device did between 1000 and 9000 ns."""
    copy = {"direction": 1, "source": 1, "target": 3, "bytes": 4096, "start": 2000, "end": 2500}
    call = {"start": 1900, "end": 1990, "thread": 7, "correlation": 2, "cbid": 41}
    wait = {"cbid": 165, "start": 6000, "end": 7000, "thread": 7, "correlation": 9}
    own = {"cbid": 307, "start": 7500, "end": 7600, "thread": 7, "correlation": 10}
    block = {"memory": 3, "address": 4096, "bytes": 2**20}
    return [
        record(MEMORY, operation=1, start=1100, **block),
        *launched(1, 1200),
        record(RUNTIME, **call),
        record(MEMCPY, correlation=2, **copy),
        record(PEER, **{**copy, "direction": 10}, source_device=0, target_device=1, correlation=2),
        record(MEMSET, bytes=64, start=2600, end=2700, correlation=2, memory=3),
        *launched(3, 3000, node=5),
        record(RUNTIME, **wait),
        record(DRIVER, **own),
        record(MEMORY, operation=2, start=8000, **block),
    ]


class StandIn:
    """The functions of libcupti that are called."""

    def __init__(self) -> None:
        self.enabled: set[int] = set()
        self.buffers: list[list[bytes]] = [work()]
        self.times = itertools.cycle([1000, 9000])
        self.callbacks: Any = None
        self.last = KERNEL
        self.version = VERSION

    def cuptiGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuptiActivityRegisterCallbacks(self, *callbacks: Any) -> int:  # noqa: N802
        self.callbacks = callbacks
        return 0

    def cuptiActivityEnable(self, kind: int) -> int:  # noqa: N802
        self.enabled.add(kind)
        return 0 if kind in FIELDS else 999

    def cuptiActivityDisable(self, kind: int) -> int:  # noqa: N802
        self.enabled.remove(kind)
        return 0

    def cuptiActivityFlushAll(self, _: int) -> int:  # noqa: N802
        requested, completed = self.callbacks
        for records in (*self.buffers, []):
            data = b"".join(records)
            buffer, size, most = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(5)
            requested(ctypes.pointer(buffer), ctypes.pointer(size), ctypes.pointer(most))
            assert most.value == 0
            assert buffer.value is not None
            assert buffer.value % 8 == 0
            ctypes.memmove(buffer.value, data, len(data))
            completed(None, 0, buffer.value, size.value, len(data))
        return 0

    def cuptiActivityGetNextRecord(self, buffer: Any, length: Any, record: Any) -> int:  # noqa: N802
        at = record._obj.value or buffer.value - sizes_of(VERSION)[self.last]
        at += sizes_of(VERSION)[self.last]
        if at >= buffer.value + length.value:
            return 12
        self.last = ctypes.c_uint32.from_address(at).value
        record._obj.value = at
        return 0

    def cuptiGetTimestamp(self, time: Any) -> int:  # noqa: N802
        time._obj.value = next(self.times)
        return 0

    def cuptiGetCallbackName(self, domain: int, number: int, text: Any) -> int:  # noqa: N802
        names = {(2, 211): "cudaLaunchKernel_v7000", (2, 41): "cudaMemcpyAsync_v3020"}
        names |= {(2, 165): "cudaDeviceSynchronize_v3020", (1, 307): "cuLaunchKernel"}
        text._obj.value = names[domain, number].encode()
        return 0

    def cuptiGetResultString(self, _: int, text: Any) -> int:  # noqa: N802
        text._obj.value = b"CUPTI_ERROR_UNKNOWN"
        return 0


@pytest.fixture
def cupti(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    standin = StandIn()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: standin)
    monkeypatch.setattr(contenders, "find_libcupti", lambda: "libcupti.so")
    return standin


def test_records_become_what_stats_says(cupti: StandIn) -> None:
    tool = ByCtypes("libcupti.so")
    tool.start(KINDS["all"])
    assert cupti.enabled == {*KINDS["all"]}
    with tool.range(f"{RANGE}all"):
        pass
    tool.stop(KINDS["all"])
    assert not cupti.enabled
    assert tool.callbacks == 4
    trace = trace_of(tool.session())
    found = metrics_of(trace, ["all", "none"])
    metrics = found["all"]
    assert (metrics["gpu.kernel_count"], metrics["gpu.kernel_time"]) == (2, 500)
    assert (metrics["memcpy.h2d.bytes"], metrics["memcpy.p2p.bytes"]) == (4096, 4096)
    assert metrics["memcpy.pageable"] == 2
    assert (metrics["memset.bytes"], metrics["memset.time"]) == (64, 100)
    assert (metrics["sync.count"], metrics["sync.time"]) == (1, 1000)
    assert (metrics["mem.peak"], metrics["mem.live_end"]) == (2**20, 0)
    # The driver's calls within the runtime's do not count, and the program's own does.
    assert metrics["api.count"] == 5
    assert trace.kernels["graph_node"].tolist() == [-1, 5]
    assert [trace.strings[number] for number in trace.kernels["name"]] == ["gemm_kernel"] * 2
    assert "no NVTX range" in str(found["none"]["error"])
    assert not tool.read()


def test_a_process_of_the_spike(cupti: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise ModuleNotFoundError("No module named 'cupy'")

    programs = {"torch": {"gemm": lambda: lambda: None, "cupy": absent}}
    monkeypatch.setattr(inside, "GROUPS", programs)
    monkeypatch.setattr(inside, "_import", lambda _: lambda: None)
    monkeypatch.setattr(inside, "_tiny", lambda: (lambda: None, lambda: None))
    monkeypatch.setattr(inside, "LAUNCHES", 3)
    found = inside.run("ctypes", "torch")
    assert found["programs"]["gemm"]["gpu.kernel_count"] == 2
    assert "No module named 'cupy'" in found["problems"]["cupy"]
    assert (found["records"], len(found["launch_us"])) == (len(work()), inside.REPEATS)
    assert found["kinds"].keys() == {"none", *KINDS}
    assert {cost["records"] for name, cost in found["kinds"].items() if name != "none"} == {
        len(work())
    }
    assert inside.run("bare", "torch")["programs"] == {"gemm": {}}


def test_of_an_unknown_version_the_iterator_says_where_records_begin(cupti: StandIn) -> None:
    known = ByCtypes("libcupti.so")
    cupti.version = 150000
    unknown = ByCtypes("libcupti.so")
    assert not unknown.sizes
    found = []
    for tool in (known, unknown):
        tool.start(KINDS["all"])
        tool.stop(KINDS["all"])
        found.append({kind: rows.tobytes() for kind, rows in sorted(tool.read().items())})
    assert found[0] == found[1]


def test_what_fails_says_which_call(cupti: StandIn) -> None:
    with pytest.raises(CuptiFailed, match=r"cuptiActivityEnable: CUPTI_ERROR_UNKNOWN \(999\)"):
        ByCtypes("libcupti.so").start((77,))


def as_bytes(*records: bytes) -> Any:
    return np.frombuffer(b"".join(records), np.uint8)


def test_what_is_not_understood_is_refused() -> None:
    sizes = sizes_of(VERSION)
    good = as_bytes(*work())
    found = read_records([good, good], lambda data: offsets_by_kind(data, sizes))
    assert {kind: len(rows) for kind, rows in found.items()} == {
        **{KERNEL: 4, RUNTIME: 8, DRIVER: 6, MEMCPY: 2, PEER: 2, MEMSET: 2, MEMORY: 4}
    }
    with pytest.raises(UnknownLayout, match="records end at byte"):
        offsets_by_kind(good[:-8], sizes)
    with pytest.raises(UnknownLayout, match="kind"):
        offsets_by_kind(good, sizes_of(130200))  # its kernels are longer
    with pytest.raises(UnknownLayout, match="of kind 99"):
        offsets_by_kind(as_bytes((99).to_bytes(8, "little")), sizes)
    for version in (25, 130500):
        with pytest.raises(UnknownLayout, match="are known"):
            sizes_of(version)


def test_each_field_has_an_attribute_of_cupti_python() -> None:
    for kind, fields in FIELDS.items():
        read = {*ATTRIBUTES[kind].values()}
        assert read == fields.keys() - ({"name"} if kind == KERNEL else set())


def test_the_table_says_what_is_not_equal() -> None:
    same = {"gpu.kernel_count": 2, "gpu.kernel_time": 1000, "sync.count": 1}
    other = {**same, "gpu.kernel_time": 1020, "sync.count": 2}
    sides = {"programs": {"gemm": same, "graph": same}, "launch_us": [2.0], "process_s": 9}
    ours = {"programs": {"gemm": same, "graph": other}, "problems": {"cupy": "No module"}}
    ours |= {"launch_us": [3.0], "process_s": 8, "records": 10_000, "callbacks": 3}
    ours |= {"stop_s": 0.1, "read_s": 0.02, "reading_in_callbacks_s": 0.0}
    runs = {("torch", "ctypes"): ours, ("torch", "nsys"): sides}
    rows = {row["program"]: row for row in spike.equality(runs)}
    assert rows["gemm"]["apart"] == []
    assert rows["graph"]["apart"] == ["sync.count", "gpu.kernel_time"]
    assert (rows["cupy"]["problem"], rows["cupy"]["apart"]) == ("No module", [])
    assert rows["attention"]["apart"] == ["all"]
    results = {"equality": [*rows.values()], "costs": spike.costs(runs), "seconds": 1.0}
    named = {f"{group}: {mode}": run for (group, mode), run in runs.items()}
    versions = dict.fromkeys(spike._PACKAGES, "1")
    text = "\n".join(spike.lines({**results, "runs": named, **versions}))
    assert "sync.count 1 -> 2, gpu.kernel_time" in text
    assert "0.0200" in text
