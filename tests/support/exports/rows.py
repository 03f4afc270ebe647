"""Exports made row by row: as tables, as a file, and as the trace that they are loaded as."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.trace import Trace, schema
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.schema import NvtxType
from pytest_nsys.trace.source import ABSENT
from tests.support.exports.tables import (
    Row,
    Strings,
    Tables,
    enums,
    full,
    insert,
    insert_only,
    statements,
)

PID = 7 << 24
"""A process as exports write it; its threads are ``PID + n``."""

OTHER_PID = 8 << 24

LAUNCH = "cudaLaunchKernel_v7000"

NEW = -1
"""The correlation id of a call that has one of its own."""

Launch = int | tuple[str, int, int] | None
"""What caused an operation: a correlation id, a call of its own (name, start, end), or nothing."""

_COLUMNS = {
    "device": "deviceId",
    "context": "contextId",
    "stream": "streamId",
    "node": "graphNodeId",
    "source": "srcKind",
    "target": "dstKind",
}
"""Columns by the names that they have in a trace."""


def pairs(values: Mapping[str, str]) -> list[Row]:
    """Rows of a table of names and values."""
    return [{"name": name, "value": value} for name, value in values.items()]


def process(thread: int) -> int:
    """The process of a thread, as exports write it."""
    return thread >> 24 << 24


def call(start: int, end: int, correlation: int | None, name: int = 1, tid: int = PID + 1) -> Any:
    """A row of the API calls."""
    times = {"start": start, "end": end}
    return {**times, "globalTid": tid, "correlationId": correlation, "nameId": name}


def kernel(
    start: int, end: int, correlation: int | None, pid: int = PID, **values: Any
) -> dict[str, Any]:
    """A row of the kernels."""
    row = _operation(start, end, correlation, pid)
    return {**row, "demangledName": 2, "shortName": 3, "graphNodeId": None, **values}


def launched_as(configuration: Configuration) -> Row:
    """The columns of a kernel that say how it was launched."""
    shapes = {"grid": configuration.grid, "block": configuration.block}
    return {
        **{
            f"{of}{a}": n
            for of, found in shapes.items()
            for a, n in zip("XYZ", (*found, 1, 1), strict=False)
        },
        "registersPerThread": configuration.registers,
        "staticSharedMemory": 0,
        "dynamicSharedMemory": configuration.shared,
        "localMemoryPerThread": configuration.local,
    }


def _operation(start: int, end: int, correlation: int | None, pid: int) -> dict[str, Any]:
    return {
        **{"start": start, "end": end, "deviceId": 0, "contextId": 1, "streamId": 7},
        **{"correlationId": correlation, "globalPid": pid},
    }


def nvtx(start: int | None, end: int | None, kind: int, **values: Any) -> dict[str, Any]:
    """A row of the NVTX events."""
    row = {"start": start, "end": end, "eventType": kind, "text": None, "textId": None}
    return {**row, "globalTid": PID + 1, "domainId": 0, **values}


class Export:
    """An export in the making. Times are ns.

    Columns that a method does not name may be given by their name in the export, or in a trace;
    ``thread`` is that of the call, and its process that of the operation.
    """

    main = PID + 1
    """The thread that does everything where nothing else is said."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._strings = Strings()
        self._metrics: dict[str, int] = {}

    def string(self, text: str | None) -> int | None:
        """The id of a text; None stays None."""
        return None if text is None else self._strings.id(text)

    def metric(self, name: str) -> int:
        """The number of a GPU metric."""
        return self._metrics.setdefault(name, len(self._metrics))

    def call(
        self, start: int, end: int, corr: int | None = NEW, name: str = LAUNCH, **more: Any
    ) -> int | None:
        """A call of the CUDA API; returns its correlation id."""
        calls = self.rows[schema.RUNTIME]
        corr = len(calls) + 1 if corr == NEW else corr
        more = {"globalTid": more.pop("thread", self.main), **more}
        calls.append({**call(start, end, corr), "nameId": self.string(name), **more})
        return corr

    def _operation(self, table: str, start: int, end: int, launch: Launch, more: Row) -> None:
        columns = {_COLUMNS.get(name, name): value for name, value in more.items()}
        thread = columns.pop("thread", self.main)
        if isinstance(launch, tuple):
            name, at, until = launch
            launch = self.call(at, until, name=name, thread=thread)
        self.rows[table].append({**_operation(start, end, launch, process(thread)), **columns})

    def kernel(
        self, start: int, end: int, launch: Launch = None, name: str = "gemm", **more: Any
    ) -> None:
        """A kernel."""
        names = {"demangledName": self.string(name), "shortName": self.string(name[:4])}
        self._operation(schema.KERNEL, start, end, launch, {**names, **more})

    def copy(
        self,
        start: int,
        end: int,
        launch: Launch = None,
        kind: int = schema.MemcpyKind.H2D,
        size: int = 8,
        **more: Any,
    ) -> None:
        """A copy."""
        self._operation(
            schema.MEMCPY, start, end, launch, {"copyKind": kind, "bytes": size, **more}
        )

    def memset(
        self, start: int, end: int, launch: Launch = None, size: int = 8, **more: Any
    ) -> None:
        """A memory set."""
        self._operation(schema.MEMSET, start, end, launch, {"bytes": size, **more})

    def graph(self, start: int, end: int, launch: Launch = None, **more: Any) -> None:
        """A whole CUDA graph."""
        self._operation(schema.GRAPH_TRACE, start, end, launch, more)

    def sample(self, time: int, metric: str, value: int, device: int = 0) -> None:
        """One sample of a GPU metric."""
        row = {"timestamp": time, "typeId": device, "metricId": self.metric(metric)}
        self.rows[schema.SAMPLES].append({**row, "value": value})

    def range(
        self,
        start: int,
        end: int | None,
        text: str | None,
        style: int = NvtxType.PUSH_POP,
        **more: Any,
    ) -> None:
        """An NVTX range."""
        self.rows[schema.NVTX].append(
            nvtx(start, end, style, text=text, **{"globalTid": self.main, **more})
        )

    def registered(self, start: int, end: int | None, text: str, **more: Any) -> None:
        """An NVTX range with a registered string."""
        self.range(start, end, None, textId=self.string(text), **more)

    def domain(self, number: int, name: str | None, **more: Any) -> None:
        """An NVTX domain."""
        self.range(1, None, name, NvtxType.DOMAIN_CREATE, domainId=number, **more)

    def launch(
        self, at: int, corr: int, name: str = "gemm", *, thread: int | None = None, busy: int = 40
    ) -> None:
        """A kernel 20 ns after its call of 10 ns began."""
        thread = self.main if thread is None else thread
        self.call(at, at + 10, corr, thread=thread)
        self.kernel(at + 20, at + 20 + busy, corr, name, thread=thread)

    def in_order(self) -> Export:
        """Itself, with its ranges in the order of their starts, as captures have them.

        Of two equally long ranges around another, nsys takes the one whose row comes first for
        the parent, and a trace knows no order of rows but that of time.
        """
        self.rows[schema.NVTX].sort(key=lambda row: row["start"])
        return self

    def tables(self) -> dict[str, Sequence[Row]]:
        """All rows, with those that name what they refer to."""
        devices = dict.fromkeys(row["typeId"] for row in self.rows.get(schema.SAMPLES, ()))
        return {
            **self.rows,
            schema.STRINGS: self._strings.rows(),
            schema.SAMPLED: [
                {"typeId": device, "metricId": number, "metricName": name}
                for device in devices
                for name, number in self._metrics.items()
            ],
            schema.EXPORT: pairs(
                {"EXPORT_PRODUCT_VERSION": "2025.3.2", "EXPORT_SCHEMA_VERSION": "3.20.3"}
            ),
        }

    def write(self, path: Path) -> Path:
        """The export as a file, with the tables and columns that nsys itself writes."""
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA synchronous = OFF")  # no waiting for the disk
            for table in ("ENUM_CUDA_MEMCPY_OPER", "ENUM_CUDA_MEM_KIND", "ENUM_NSYS_EVENT_TYPE"):
                insert(database, table, enums()[table])
            for table, rows in self.tables().items():
                if table in statements():
                    insert(database, table, full(table, rows))
                elif rows:
                    insert_only(database, table, rows)
            database.commit()
        return path

    def trace(self) -> Trace:
        """The trace of the export, without a file."""
        return build_trace(_Source(self.tables()))


class _Source:
    """Rows as the source of a trace. A table without rows does not exist, as in real exports."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def _columns(self, name: str, columns: tuple[str, ...]) -> dict[str, list[Any]] | None:
        rows = self._tables.get(name)
        if not rows:
            return None
        there = {column for row in rows for column in row}
        return {name: [row.get(name) for row in rows] for name in columns if name in there}

    def integers(
        self, name: str, columns: tuple[str, ...], packed: Mapping[str, schema.Packing] = {}
    ) -> Mapping[str, Any] | None:
        found = self._columns(name, columns)
        if found is None:
            return None
        for key, packing in packed.items():
            parts = self._columns(name, tuple(column for column, _ in packing)) or {}
            if len(parts) == len(packing):
                found[key] = [
                    self._packed(row, packing) for row in zip(*parts.values(), strict=True)
                ]
        return {
            column: np.array([ABSENT if value is None else value for value in values], np.int64)
            for column, values in found.items()
        }

    @staticmethod
    def _packed(row: Sequence[int | None], packing: schema.Packing) -> int | None:
        total = 0
        for value, (_, bits) in zip(row, packing, strict=True):
            if value is None:
                return None
            total = total << bits | value & (2**bits - 1)
        return total

    def table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        found = self._columns(name, columns)
        return None if found is None else pd.DataFrame(found, dtype=object)

    def __enter__(self) -> _Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def shuffled(tables: Tables, seed: int) -> Tables:
    """The same rows in another order."""
    shuffle = random.Random(seed)
    return {name: shuffle.sample(rows, len(rows)) for name, rows in tables.items()}


def assert_same_trace(one: Trace, other: Trace, *, but: Sequence[str] = ()) -> None:
    """Two traces hold the same; the attributes named in ``but`` are not compared."""
    for field in fields(Trace):
        if field.name in but:
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, pd.DataFrame):
            assert list(left.columns) == list(right.columns), field.name
            assert left.astype(object).values.tolist() == right.astype(object).values.tolist(), (
                field.name
            )
        else:
            assert left == right, field.name


STRINGS: Sequence[Row] = (
    {"id": 1, "value": "cudaLaunchKernel"},
    {"id": 2, "value": "void gemm<float>(float*)"},
    {"id": 3, "value": "gemm"},
    {"id": 4, "value": "registered"},
    {"id": 5, "value": "never used"},
)

SMALL: Tables = {
    schema.STRINGS: STRINGS,
    schema.RUNTIME: [call(10, 20, 1), call(30, 40, 2)],
    schema.KERNEL: [kernel(15, 115, 1), kernel(120, 220, 2)],
    schema.EXPORT: pairs(
        {"EXPORT_PRODUCT_VERSION": "2025.3.1.90", "EXPORT_SCHEMA_VERSION": "3.20.3"}
    ),
}
"""Two kernels and their launches."""
