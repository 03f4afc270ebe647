"""Traces made by hand, operation by operation, with the times of host and device apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pytest_nsys.insights.bottlenecks import Bottleneck, diagnose
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut

PID = 7 << 24
US = 1_000
MS = 1_000_000

_OPERATION = ("start", "end", "launched", "call", "device", "context", "stream", "pid")
COLUMNS: Mapping[str, Sequence[str]] = {
    "kernels": (*_OPERATION, "name", "short", "graph_node"),
    "copies": (
        *_OPERATION,
        *("bytes", "kind", "source", "target", "source_device", "target_device", "graph_node"),
    ),
    "memsets": (*_OPERATION, "bytes", "kind", "graph_node"),
    "graphs": (*_OPERATION, "graph"),
    "calls": ("start", "end", "pid", "tid", "name"),
    "memory": (
        *("start", "pid", "device", "context", "address", "bytes", "kind", "operation"),
        *("pool", "pool_used"),
    ),
    "faults": ("start", "end", "pid", "device", "count"),
    "samples": ("time", "device", "metric", "value"),
}

NAMING = Naming(canonical=lambda raw: raw.split("<")[0], category=lambda raw: raw.split("_")[0])
"""``gemm_a<1>`` is of the category ``gemm`` and has the canonical name ``gemm_a``."""

Host = tuple[str, int, int] | None
"""An API call: name, start, end; None for an operation without a recorded call."""

LAUNCH = "cudaLaunchKernel_v7000"


@dataclass
class Program:
    """Collects rows; `trace` sorts them as a loaded trace is sorted."""

    rows: dict[str, list[tuple[int, ...]]] = field(
        default_factory=lambda: {name: [] for name in COLUMNS}
    )
    strings: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)

    def call(self, name: str, start: int, end: int, *, pid: int = PID, thread: int = 1) -> int:
        """An API call; returns its number."""
        self.rows["calls"].append((start, end, pid, pid + thread, self._id(name)))
        return len(self.rows["calls"]) - 1

    def kernel(
        self,
        start: int,
        end: int,
        host: Host = None,
        *,
        name: str = "gemm_a<1>",
        node: int = -1,
        device: int = 0,
        stream: int = 7,
        pid: int = PID,
    ) -> None:
        """A kernel; without a call it is launched when it starts."""
        key = self._id(name)
        row = self._operation(start, end, host, device, stream, pid)
        self.rows["kernels"].append((*row, key, key, node))

    def copy(
        self,
        start: int,
        end: int,
        host: Host = None,
        *,
        size: int = 2**20,
        kind: int = MemcpyKind.H2D,
        source: int = MemKind.PINNED,
        target: int = MemKind.DEVICE,
        device: int = 0,
        stream: int = 7,
        pid: int = PID,
    ) -> None:
        """A copy."""
        row = self._operation(start, end, host, device, stream, pid)
        self.rows["copies"].append((*row, size, kind, source, target, -1, -1, -1))

    def memset(self, start: int, end: int, host: Host = None) -> None:
        """A memory set."""
        row = self._operation(start, end, host, 0, 7, PID)
        self.rows["memsets"].append((*row, 4096, MemKind.DEVICE, -1))

    def graph(self, start: int, end: int, host: Host = None) -> None:
        """A whole CUDA graph."""
        self.rows["graphs"].append((*self._operation(start, end, host, 0, 7, PID), 1))

    def sample(self, time: int, device: int = 0, **values: int) -> None:
        """One sample of some GPU metrics, by name with underscores for spaces."""
        for metric, value in values.items():
            name = f"{metric.replace('_', ' ')} [Throughput %]"
            number = self.metrics.setdefault(name, len(self.metrics))
            self.rows["samples"].append((time, device, number, value))

    def _id(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def _operation(
        self, start: int, end: int, host: Host, device: int, stream: int, pid: int
    ) -> tuple[int, ...]:
        number = -1 if host is None else self.call(*host, pid=pid)
        launched = start if host is None else host[1]
        return (start, end, launched, number, device, 1, stream, pid)

    def trace(self) -> Trace:
        """The trace of all rows."""
        tables = {
            name: pd.DataFrame(self.rows[name], columns=list(columns), dtype="int64")
            for name, columns in COLUMNS.items()
        }
        order = tables["calls"]["start"].argsort(kind="stable").to_numpy()
        places = {-1: -1} | {int(number): place for place, number in enumerate(order)}
        for name, table in tables.items():
            if "call" in table:
                table["call"] = np.array([places[n] for n in table["call"]], dtype=np.int64)
            keys = ["launched", "start"] if "launched" in table else [str(table.columns[0])]
            tables[name] = table.sort_values(keys, kind="stable", ignore_index=True)
        ranges = ["start", "end", "style", "domain", "text", "pid", "tid"]
        return Trace(
            **tables,
            ranges=pd.DataFrame([], columns=ranges),
            strings={number: text for text, number in self.strings.items()},
            sampled={number: name for name, number in self.metrics.items()},
            gpus=(),
            diagnostics=(),
        )

    def cut(self, *windows: tuple[int, int]) -> Cut:
        """The trace with these windows; by default one of a millisecond."""
        starts, ends = zip(*(windows or ((0, MS),)), strict=True)
        return Cut(self.trace(), np.array(starts, np.int64), np.array(ends, np.int64))

    def findings(self, *windows: tuple[int, int]) -> dict[str, Bottleneck]:
        """What is found, by name, most severe first."""
        return {found.name: found for found in diagnose(self.cut(*windows), NAMING)}
