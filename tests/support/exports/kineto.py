"""Traces as torch.profiler writes them, made by hand: the keys, their order and the forms of
numbers that newer versions have."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BASE_NS = 1_727_743_122_000_000_000


class KinetoTrace:
    """Events of one process on one device."""

    def __init__(self, *, pid: int = 4037, device: int = 0, rank: int | None = None) -> None:
        self.pid, self.device, self.rank = pid, device, rank
        self.events: list[dict[str, Any]] = []
        self.head: dict[str, Any] = {"cuda_runtime_version": 13000, "cuda_driver_version": 13000}
        self._correlation = 0

    def event(self, cat: str, name: str, start: float, length: float, **more: Any) -> None:
        """Any event of the host; times in µs."""
        at = {"pid": self.pid, "tid": self.pid, "ts": start, "dur": length}
        self.events.append({"ph": "X", "cat": cat, "name": name, **at, **more})

    def call(self, name: str, start: float, length: float = 5.0, cat: str = "cuda_runtime") -> int:
        """A call; returns its correlation."""
        self._correlation += 1
        args = {"External id": 1, "cbid": 211, "correlation": self._correlation}
        self.event(cat, name, start, length, args=args)
        return self._correlation

    def kernel(
        self, name: str, start: float, length: float, *, call: int | None = None, stream: int = 7
    ) -> None:
        """A kernel, with the call that launched it 10 µs before if none is given."""
        if call is None:
            call = self.call("cudaLaunchKernel", start - 10)
        sizes = {"registers per thread": 32, "shared memory": 2048, "grid": [8, 1, 1]}
        more = {**sizes, "block": [128, 1, 1], "est. achieved occupancy %": 25}
        self.on_gpu("kernel", name, start, length, call, stream, queued=0, **more)

    def copy(self, kinds: str, start: float, length: float, size: int) -> None:
        """A copy: ``HtoD (Pageable -> Device)``."""
        call = self.call("cudaMemcpyAsync", start - 10)
        self.on_gpu("gpu_memcpy", f"Memcpy {kinds}", start, length, call, 7, bytes=size)

    def on_gpu(
        self, cat: str, name: str, start: float, length: float, call: int, stream: int, **more: Any
    ) -> None:
        place = {"device": self.device, "context": 1, "stream": stream, "correlation": call}
        args = {"External id": 1, **place, **more}
        at = {"pid": self.device, "tid": stream, "ts": start, "dur": length, "args": args}
        self.events.append({"ph": "X", "cat": cat, "name": name, **at})

    def document(self) -> dict[str, Any]:
        gpus = [
            {
                "id": number,
                "name": "NVIDIA H200",
                "computeMajor": 9,
                "computeMinor": 0,
                "numSms": 132,
            }
            for number in range(2)
        ]
        rank = {} if self.rank is None else {"distributedInfo": {"rank": self.rank}}
        spans = {"ph": "X", "cat": "Trace", "ts": 0.0, "dur": 99999.0}
        last = {**spans, "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "PyTorch Profiler"}
        head = {"schemaVersion": 1, "deviceProperties": gpus, **rank, **self.head}
        base = {"displayTimeUnit": "ms", "baseTimeNanoseconds": BASE_NS}
        return {**head, "traceEvents": [*self.events, last], "traceName": "t.json", **base}

    def write(self, path: Path) -> Path:
        """The file, gzipped where its name says so."""
        return write_text(path, json.dumps(self.document(), indent=1))


def write_text(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def two_steps(gemm_us: float = 100.5, **kept: Any) -> KinetoTrace:
    """Two steps, each of a copy, two kernels and a synchronisation."""
    trace = KinetoTrace(**kept)
    for number in range(2):
        at = 1000.0 + 1000 * number
        trace.event("user_annotation", f"ProfilerStep#{number + 3}", at, 900.25)
        trace.event("gpu_user_annotation", f"ProfilerStep#{number + 3}", at, 900.25)
        trace.event("cpu_op", "aten::mm", at + 1, 20.0)
        trace.copy("HtoD (Pageable -> Device)", at + 50, 8.125, 4096)
        trace.kernel("void gemm_kernel<float>(float*)", at + 100, gemm_us)
        trace.kernel("add_kernel", at + 300, 2.048)
        trace.call("cudaDeviceSynchronize", at + 310, 500.0)
    return trace


def hatchet(kernels: Mapping[str, Sequence[int]], scope: str = "step") -> list[Any]:
    """A profile as Proton writes it: a scope with kernels, each its launches and ns."""
    leaves = [_node(name, count, ns) for name, (count, ns) in kernels.items()]
    inner = {"children": leaves, "frame": {"name": scope, "type": "function"}, "metrics": {}}
    root = {"name": "ROOT", "type": "function"}
    tree = {"children": [inner], "frame": root, "metrics": {"count": 0, "time (ns)": 0}}
    gpu = {"arch": "90", "bus_width": 6144, "clock_rate": 1980000, "num_sms": 132}
    return [tree, {"CUDA": {"0": gpu}}]


def _node(name: str, count: int, ns: int) -> dict[str, Any]:
    where = {"device_id": "0", "device_type": "CUDA"}
    metrics = {"count": count, **where, "time (ns)": ns}
    return {"children": [], "frame": {"name": name, "type": "function"}, "metrics": metrics}
