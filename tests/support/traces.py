"""Traces made by hand: a few API calls, what they launched, and the ranges around them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pytest_nsys.trace.schema import MemcpyKind, MemKind, NvtxType
from pytest_nsys.trace.tables import Trace, TraceGpu
from pytest_nsys.windows.record import DOMAIN, MAIN, WindowKind, WindowRecord

PID = 7 << 24
"""The process that does everything where nothing else is said."""

_OPERATION = ["start", "end", "launched", "call", "device", "context", "stream", "pid"]
_COPY = ["bytes", "kind", "source", "target", "source_device", "target_device", "graph_node"]
_MEMORY = ["start", "pid", "device", "context", "address", "bytes", "kind", "operation"]
_COLUMNS: Mapping[str, Sequence[str]] = {
    "kernels": [*_OPERATION, "name", "short", "graph_node"],
    "copies": [*_OPERATION, *_COPY],
    "memsets": [*_OPERATION, "bytes", "kind", "graph_node"],
    "graphs": [*_OPERATION, "graph"],
    "calls": ["start", "end", "pid", "tid", "name"],
    "memory": [*_MEMORY, "pool", "pool_used"],
    "faults": ["start", "end", "pid", "device", "count"],
    "samples": ["time", "device", "metric", "value"],
}


@dataclass
class TraceBuilder:
    """Collects rows; `build` sorts them as a loaded trace is sorted."""

    rows: dict[str, list[tuple[int, ...]]] = field(
        default_factory=lambda: {name: [] for name in _COLUMNS}
    )
    ranges: list[tuple[int, int, int, str, str, int, int]] = field(default_factory=list)
    strings: dict[int, str] = field(default_factory=dict)
    sampled: dict[int, str] = field(default_factory=dict)
    windows: list[WindowRecord] = field(default_factory=list)

    def name(self, text: str) -> int:
        """The string id of a text."""
        for key, value in self.strings.items():
            if value == text:
                return key
        self.strings[len(self.strings)] = text
        return len(self.strings) - 1

    def call(self, name: str, start: int, end: int | None = None, *, tid: int = PID + 1) -> int:
        """An API call; returns its number."""
        end = start + 1 if end is None else end
        self.rows["calls"].append((start, end, tid >> 24 << 24, tid, self.name(name)))
        return len(self.rows["calls"]) - 1

    def kernel(
        self,
        name: str,
        launched: int,
        ns: int,
        *,
        start: int | None = None,
        device: int = 0,
        stream: int = 7,
        call: str = "cudaLaunchKernel_v7000",
        tid: int = PID + 1,
    ) -> None:
        """A kernel and the call that launched it."""
        begun = launched + 5 if start is None else start
        number = self.call(call, launched, tid=tid)
        row = (begun, begun + ns, launched, number, device, 1, stream, tid >> 24 << 24)
        self.rows["kernels"].append((*row, self.name(name), self.name(name), -1))

    def copy(
        self,
        launched: int,
        ns: int,
        size: int,
        *,
        kind: int = MemcpyKind.H2D,
        source: int = MemKind.PINNED,
        target: int = MemKind.DEVICE,
        call: str = "cudaMemcpyAsync_v3020",
        device: int = 0,
    ) -> None:
        """A copy and its call."""
        number = self.call(call, launched)
        row = (launched + 5, launched + 5 + ns, launched, number, device, 1, 7, PID)
        self.rows["copies"].append((*row, size, kind, source, target, -1, -1, -1))

    def memset(self, launched: int, ns: int, size: int, *, device: int = 0) -> None:
        """A memory set and its call."""
        number = self.call("cudaMemsetAsync_v3020", launched)
        row = (launched + 5, launched + 5 + ns, launched, number, device, 1, 7, PID)
        self.rows["memsets"].append((*row, size, MemKind.DEVICE, -1))

    def graph(self, launched: int, ns: int, *, device: int = 0) -> None:
        """A whole CUDA graph, as captures in graph mode have it, and its launch."""
        number = self.call("cudaGraphLaunch_v10000", launched)
        row = (launched + 5, launched + 5 + ns, launched, number, device, 1, 7, PID)
        self.rows["graphs"].append((*row, 1))

    def fault(self, start: int, count: int = 1, *, device: int = -1) -> None:
        """Page faults on unified memory."""
        self.rows["faults"].append((start, start + 1, PID, device, count))

    def sample(self, time: int, metric: str, value: int, *, device: int = 0) -> None:
        """One sample of a GPU metric."""
        number = next((key for key, name in self.sampled.items() if name == metric), None)
        if number is None:
            number = len(self.sampled)
            self.sampled[number] = metric
        self.rows["samples"].append((time, device, number, value))

    def memory(
        self,
        start: int,
        size: int,
        *,
        address: int,
        free: bool = False,
        pid: int = PID,
        context: int = 1,
        kind: int = MemKind.DEVICE,
        pool: int = -1,
        pool_used: int = -1,
    ) -> None:
        """An allocation of device memory, or its end."""
        row = (start, pid, 0, context, address, size, kind, int(free), pool, pool_used)
        self.rows["memory"].append(row)

    def range(self, text: str, start: int, end: int, *, domain: str = "") -> None:
        """A range of the program's own."""
        self.ranges.append((start, end, NvtxType.START_END, domain, text, PID, PID + 1))

    def window(
        self,
        start: int,
        end: int,
        *,
        nodeid: str = "t",
        name: str = MAIN,
        kind: WindowKind = "round",
        round: int = 0,
        **units: float,
    ) -> None:
        """A window of the plugin: its range and the worker's record of it."""
        record = WindowRecord(len(self.windows), kind, nodeid, name, round, units)
        self.windows.append(record)
        self.range(record.label, start, end, domain=DOMAIN)

    def sent(
        self,
        start: int,
        end: int,
        *,
        nodeid: str = "t",
        name: str = "load",
        kind: WindowKind = "round",
        round: int = 0,
        values: Mapping[str, float] | None = None,
        **units: float,
    ) -> None:
        """A round that a client sent to a server: a record with times, and no range."""
        number = len(self.windows)
        times = (start, end)
        record = WindowRecord(
            number, kind, nodeid, name, round, units, times=times, values=values or {}
        )
        self.windows.append(record)

    def build(self, gpus: Sequence[str] = ("NVIDIA H200",)) -> Trace:
        """The trace of all rows."""
        tables = {
            name: pd.DataFrame(self.rows[name], columns=list(columns), dtype="int64")
            for name, columns in _COLUMNS.items()
        }
        # Rows are made in any order; a call's number is that in the order of starts.
        order = tables["calls"]["start"].argsort(kind="stable").to_numpy()
        places = {int(number): place for place, number in enumerate(order)}
        for name, table in tables.items():
            if "call" in table:
                table["call"] = table["call"].map(places).astype("int64")
            keys = ["launched", "start"] if "launched" in table else [str(table.columns[0])]
            tables[name] = table.sort_values(keys, kind="stable", ignore_index=True)
        columns = ["start", "end", "style", "domain", "text", "pid", "tid"]
        ranges = pd.DataFrame(sorted(self.ranges, key=lambda row: row[0]), columns=columns)
        return Trace(
            **tables,
            ranges=ranges,
            strings=dict(self.strings),
            sampled=dict(self.sampled),
            gpus=tuple(TraceGpu(number, name) for number, name in enumerate(gpus)),
            diagnostics=(),
            driver="580.1",
            cuda="13000",
            nsys="2025.3.2",
            schema="3.20.3",
        )

    def export(self, path: Path, gpus: Sequence[str] = ("NVIDIA H200",)) -> Path:
        """The trace as nsys exports it, to a SQLite file."""
        trace = self.build(gpus)
        strings = dict(trace.strings)
        domains = sorted(set(trace.ranges["domain"]) - {""})
        tables: dict[str, list[dict[str, Any]]] = {
            "StringIds": [{"id": key, "value": text} for key, text in strings.items()],
            "CUPTI_ACTIVITY_KIND_RUNTIME": [
                {
                    **{"start": row.start, "end": row.end, "globalTid": row.tid},
                    **{"correlationId": number, "nameId": row.name},
                }
                for number, row in enumerate(trace.calls.itertuples(index=False, name="Call"), 1)
            ],
            "CUDA_GPU_MEMORY_USAGE_EVENTS": [
                {
                    **{"start": row.start, "globalPid": row.pid, "deviceId": row.device},
                    **{"contextId": row.context, "address": row.address, "bytes": row.bytes},
                    **{"memKind": row.kind, "memoryOperationType": row.operation},
                }
                for row in trace.memory.itertuples(index=False)
            ],
            "NVTX_EVENTS": [
                *(
                    {"eventType": NvtxType.DOMAIN_CREATE, "text": name, "domainId": number}
                    | {"globalTid": PID + 1, "start": 0}
                    for number, name in enumerate(domains, 1)
                ),
                *(
                    {
                        **{"start": row.start, "end": row.end, "eventType": NvtxType.START_END},
                        **{"text": row.text, "globalTid": row.tid},
                        "domainId": domains.index(row.domain) + 1 if row.domain else 0,
                    }
                    for row in trace.ranges.itertuples(index=False)
                ),
            ],
            "TARGET_INFO_GPU": [{"id": gpu.id, "name": gpu.name} for gpu in trace.gpus],
            "TARGET_INFO_SYSTEM_ENV": [
                {"name": "NvDriverVersion", "value": trace.driver},
                {"name": "CudaDriverVersion", "value": trace.cuda},
            ],
            "META_DATA_EXPORT": [
                {"name": "EXPORT_PRODUCT_VERSION", "value": trace.nsys},
                {"name": "EXPORT_SCHEMA_VERSION", "value": trace.schema},
            ],
        }
        calls = dict(zip(trace.calls["start"], range(1, len(trace.calls) + 1), strict=True))
        own = {
            "KERNEL": {"name": "demangledName", "short": "shortName", "graph_node": "graphNodeId"},
            "MEMCPY": {"kind": "copyKind", "source": "srcKind", "target": "dstKind"},
            "MEMSET": {"kind": "memKind"},
        }
        for (kind, renames), table in zip(
            own.items(), (trace.kernels, trace.copies, trace.memsets), strict=True
        ):
            shared = {"device": "deviceId", "context": "contextId", "stream": "streamId"}
            renamed = table.rename(columns={**shared, **renames, "pid": "globalPid"})
            renamed["correlationId"] = [calls[time] for time in table["launched"]]
            rows = renamed.drop(columns=["launched", "call"], errors="ignore").to_dict("records")
            tables[f"CUPTI_ACTIVITY_KIND_{kind}"] = rows
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # no waiting for the disk
            for name, rows in tables.items():
                if rows:
                    columns = list(rows[0])
                    for row in rows:
                        columns += [column for column in row if column not in columns]
                    connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
                    places = ", ".join("?" * len(columns))
                    values = [[row.get(column) for column in columns] for row in rows]
                    connection.executemany(f"INSERT INTO {name} VALUES ({places})", values)
            connection.commit()
        return path
