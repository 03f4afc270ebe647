"""An export as nsys 2025.3 writes it, made up: for work on the analysis's speed without a GPU.

    python -m benchmarks.synthetic_export FOLDER [--kernels 1000000] [--windows 1000] [--graphs]

writes FOLDER/export.parquet (a folder, as ``nsys export --type parquetdir`` makes it) or, with
``--sqlite``, FOLDER/export.sqlite, and FOLDER/records.jsonl, the worker's records of the windows.
The tables, columns and types are those of tests/support/exports; the row groups and the compression
are those of nsys 2025.3 (with ``--old``, of nsys 2023.4). Per kernel there are two API
calls, its launch and cuKernelGetName, which nsys itself causes; with ``--graphs``, one call per
CUDA graph of 1,000 kernels. Written window by window, so that its size is not bound by memory.

Figures that are published come from a real capture: see analysis_speed.py.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet as pq

from pytest_nsys.support.json_values import written
from pytest_nsys.trace.schema import KERNEL, MEMCPY, MEMORY, MEMSET, RUNTIME, NvtxType
from pytest_nsys.windows.record import DOMAIN, MAIN, WindowRecord
from tests.support.exports.tables import VM, Strings, columns, statements

GROUP_ROWS, OLD_GROUP_ROWS = 2**20, 2048
"""Rows of a Parquet row group, as nsys 2025.3 and nsys 2023.4 write them."""

BATCH_ROWS = 2**15

PID = VM | 4242 << 24
TID = PID | 4242
NAMES = tuple(
    "void at::native::vectorized_elementwise_kernel<(int)4, "
    f"at::native::{functor}_kernel_cuda(at::TensorIteratorBase &)::[lambda() (instance 1)]::"
    "operator ()() const::[lambda(float) (instance 1)], std::array<char *, (unsigned long)2>>"
    "(int, T2, T3)"
    for functor in (
        *("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor"),
        *("log", "log1p", "neg", "reciprocal", "round", "rsqrt", "sin", "sqrt", "tanh"),
    )
)
SHORT = "vectorized_elementwise_kernel"
CALLS = (
    *("cudaLaunchKernel_v7000", "cuKernelGetName", "cudaMemcpyAsync_v3020"),
    *("cudaMemsetAsync_v3020", "cuCtxSynchronize", "cudaGraphLaunch_v10000"),
)
LAUNCH, NAME, COPY, SET, SYNCHRONIZE, GRAPH = range(len(CALLS))

STEP = 4_000  # ns between two launches
GRAPH_KERNELS = 1_000
COPIES = 10  # per window, and as many memory sets

Ints = npt.NDArray[np.int64]
Column = Any  # numbers, texts, or one value for all rows
Rows = Mapping[str, Column]


@dataclass(frozen=True)
class Size:
    """How much there is.

    Attributes:
        kernels: of the whole export.
        windows: measured rounds, ``rounds`` of each test.
        rounds: rounds of a test.
        graphs: whether the kernels are nodes of CUDA graphs.
        shuffled: whether the rows of a window are out of order.
    """

    kernels: int
    windows: int
    rounds: int
    graphs: bool
    shuffled: bool


def window_records(size: Size) -> list[WindowRecord]:
    """The windows as the worker numbers them: a span, then the rounds of its test."""
    records: list[WindowRecord] = []
    for number in range(size.windows):
        test, round_ = divmod(number, size.rounds)
        nodeid = f"tests/test_models.py::test_step[{test}]"
        if round_ == 0:
            records.append(WindowRecord(len(records), "span", nodeid, MAIN, -1))
        records.append(WindowRecord(len(records), "round", nodeid, MAIN, round_))
    return [*records, WindowRecord(len(records), "sentinel", "", MAIN, -1)]


def activity(size: Size, strings: Strings) -> Iterator[tuple[dict[str, Rows], int, int]]:
    """Window by window: the rows of the CUDA tables, and the window's start and end in ns."""
    random = np.random.default_rng(0)
    names = np.array([strings.id(name) for name in NAMES])
    short = strings.id(SHORT)
    calls = np.array([strings.id(name) for name in CALLS])
    time, correlation, node = 1_000_000_000, 1, 0
    for window in range(size.windows):
        count = size.kernels * (window + 1) // size.windows - size.kernels * window // size.windows
        began = time
        launches = -(-count // GRAPH_KERNELS) if size.graphs else count
        kinds = np.concatenate(
            [
                np.repeat([COPY, SET], COPIES),
                np.full(launches, GRAPH) if size.graphs else np.tile([LAUNCH, NAME], launches),
                [SYNCHRONIZE],
            ]
        )
        step = STEP if not size.graphs else STEP * GRAPH_KERNELS // 4
        starts = began + 500 + np.arange(len(kinds)) * (step // 2)
        ids = correlation + np.arange(len(kinds))
        correlation += len(kinds)
        runtime = {
            "start": starts,
            "end": starts + random.integers(300, step // 2, len(kinds)),
            "eventClass": 0,
            "globalTid": TID,
            "correlationId": ids,
            "nameId": calls[kinds],
            "returnValue": 0,
        }
        by_kernel = kinds == (GRAPH if size.graphs else LAUNCH)
        launched = np.repeat(starts[by_kernel], GRAPH_KERNELS if size.graphs else 1)[:count]
        offsets = np.tile(np.arange(GRAPH_KERNELS), launches)[:count] * 900 if size.graphs else 0
        kernel_starts = launched + 5_000 + offsets + random.integers(0, 90, count)
        common = {"deviceId": 0, "contextId": 1, "streamId": 7, "globalPid": PID}
        kernels = common | {
            "start": kernel_starts,
            "end": kernel_starts + random.integers(600, 800, count),
            "correlationId": np.repeat(ids[by_kernel], GRAPH_KERNELS if size.graphs else 1)[:count],
            "demangledName": names[np.arange(count) % len(names)],
            "shortName": short,
            "gridId": node + np.arange(count),
            "gridX": 64,
            "blockX": 128,
            "registersPerThread": 24,
            "launchType": 1,
        }
        if size.graphs:
            kernels["graphNodeId"] = 1 + np.arange(count) % GRAPH_KERNELS
        node += count
        copies = common | {
            "start": starts[kinds == COPY] + 4_000,
            "end": starts[kinds == COPY] + 5_000 + random.integers(0, 90, COPIES),
            "correlationId": ids[kinds == COPY],
            "bytes": 4096 * (1 + np.arange(COPIES) % 3),
            "copyKind": 1 + np.arange(COPIES) % 2,
            "srcKind": 1 + np.arange(COPIES) % 2,
            "dstKind": 2 - np.arange(COPIES) % 2,
        }
        memsets = common | {
            "start": starts[kinds == SET] + 4_000,
            "end": starts[kinds == SET] + 4_700,
            "correlationId": ids[kinds == SET],
            "bytes": 4096,
            "memKind": 2,
        }
        time = int(starts[-1]) + step
        memory = {
            "start": [began + 600, time - 100],
            "globalPid": PID,
            "deviceId": 0,
            "contextId": 1,
            "address": 0x7F0000000000,
            "bytes": 1 << 20,
            "memKind": 2,
            "memoryOperationType": [0, 1],
        }
        rows: dict[str, Rows] = {RUNTIME: runtime, KERNEL: kernels, MEMCPY: copies, MEMSET: memsets}
        if size.shuffled:
            rows = {name: _shuffled(table, random) for name, table in rows.items()}
        yield {**rows, MEMORY: memory}, began, time
        time += 50_000


def _shuffled(rows: Rows, random: np.random.Generator) -> Rows:
    order = random.permutation(len(rows["start"]))
    return {
        name: values[order] if isinstance(values, np.ndarray) else values
        for name, values in rows.items()
    }


def nvtx(records: list[WindowRecord], times: list[tuple[int, int]], strings: Strings) -> Rows:
    """The table NVTX_EVENTS: the plugin's domain, and the range of each record."""
    spans: dict[str, list[tuple[int, int]]] = {}
    rounds = iter(times)
    for record in records:
        if record.kind == "round":
            spans.setdefault(record.nodeid, []).append(next(rounds))
    seen: dict[str, int] = {}
    starts, ends = [0], [None]
    for record in records:
        inside = spans.get(record.nodeid, [times[-1]])
        if record.kind == "span":
            start, end = inside[0][0] - 1_000, inside[-1][1] + 1_000
        elif record.kind == "round":
            start, end = inside[seen.setdefault(record.nodeid, 0)]
            seen[record.nodeid] += 1
        else:
            start, end = times[-1][1] + 10_000, times[-1][1] + 11_000
        starts.append(start)
        ends.append(end)  # type: ignore[arg-type]
    return {
        "start": starts,
        "end": ends,
        "eventType": [NvtxType.DOMAIN_CREATE] + [NvtxType.START_END] * len(records),
        "text": [DOMAIN] + [None] * len(records),
        "globalTid": TID,
        "textId": [None] + [strings.id(record.label) for record in records],
        "domainId": 1,
    }


def small_tables(strings: Strings) -> dict[str, Rows]:
    """The tables with a few rows, the strings last filled."""
    return {
        "StringIds": {"id": list(strings.ids.values()), "value": list(strings.ids)},
        "TARGET_INFO_GPU": {"vmId": [0], "id": 0, "name": "NVIDIA H200", "smCount": 132},
        "TARGET_INFO_SYSTEM_ENV": {
            "name": ["NvDriverVersion", "CudaDriverVersion"],
            "value": ["580.159.04", "13000"],
        },
        "META_DATA_EXPORT": {
            "name": ["EXPORT_PRODUCT_VERSION", "EXPORT_SCHEMA_VERSION"],
            "value": ["2025.3.1.0", "3.20.3"],
        },
        "DIAGNOSTIC_EVENT": {"timestamp": [0], "severity": 1, "text": "made up"},
    }


def full(table: str, rows: Rows) -> dict[str, list[Any] | Ints]:
    """All columns of the table; what is not said is NULL, or 0 or "" where it cannot be."""
    count = max(len(v) for v in rows.values() if not isinstance(v, (int, str)))
    found: dict[str, list[Any] | Ints] = {}
    for column in columns(table):
        value = rows.get(column.name, column.empty)
        if value is None or isinstance(value, str):
            found[column.name] = [value] * count
        elif isinstance(value, int):
            found[column.name] = np.full(count, value, dtype=np.int64)
        else:
            found[column.name] = value
    return found


class ParquetExport:
    """A folder with a Parquet file per table."""

    def __init__(self, folder: Path, *, old: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._old = folder, old
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> ParquetExport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write(self, table: str, rows: Rows) -> None:
        described = pa.schema(column.arrow_field(old=self._old) for column in columns(table))
        values = full(table, rows)
        arrays = [pa.array(values[field.name], field.type) for field in described]
        if table not in self._writers:
            path = self._folder / f"{table}.parquet"
            compression = "none" if self._old else "snappy"
            writer = pq.ParquetWriter(path, described, compression=compression)
            self._writers[table] = self._stack.enter_context(writer)
        data = pa.Table.from_arrays(arrays, schema=described)
        rows_at_once = OLD_GROUP_ROWS if self._old else GROUP_ROWS
        self._writers[table].write_table(data, row_group_size=rows_at_once)


class SqliteExport:
    """A SQLite file."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._made: set[str] = set()

    def __enter__(self) -> SqliteExport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.commit()
        self._connection.close()

    def write(self, table: str, rows: Rows) -> None:
        if table not in self._made:
            self._connection.execute(statements()[table])
            self._made.add(table)
        filled = full(table, rows).values()
        values = zip(*(c.tolist() if isinstance(c, np.ndarray) else c for c in filled), strict=True)
        marks = ", ".join("?" * len(filled))
        self._connection.executemany(f"INSERT INTO [{table}] VALUES ({marks})", values)


def write_export(folder: Path, size: Size, *, sqlite: bool = False, old: bool = False) -> Path:
    """Write export and records into ``folder``; returns the path of the export."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("export.sqlite" if sqlite else "export.parquet")
    strings = Strings()
    records = window_records(size)
    batch = BATCH_ROWS if sqlite or old else GROUP_ROWS
    made = SqliteExport(path) if sqlite else ParquetExport(path, old=old)
    with made as export:
        times = []
        pending: dict[str, list[dict[str, Any]]] = {}
        for rows, start, end in activity(size, strings):
            times.append((start, end))
            for table, values in rows.items():
                pending.setdefault(table, []).append(full(table, values))
                if sum(len(part["start"]) for part in pending[table]) >= batch:
                    export.write(table, _joined(pending.pop(table)))
        for table, parts in pending.items():
            export.write(table, _joined(parts))
        export.write("NVTX_EVENTS", nvtx(records, times, strings))
        for table, values in small_tables(strings).items():
            export.write(table, values)
    lines = [json.dumps({"event": "window", **written(record)}) + "\n" for record in records]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    return path


def _joined(parts: list[dict[str, Any]]) -> Rows:
    joined: dict[str, Any] = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        if isinstance(columns[0], np.ndarray):
            joined[name] = np.concatenate(columns)
        else:
            joined[name] = [value for column in columns for value in column]
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernels", type=int, default=1_000_000)
    parser.add_argument("--windows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a test")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs of 1,000 kernels")
    parser.add_argument("--shuffled", action="store_true", help="rows of a window out of order")
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--old", action="store_true", help="types of nsys 2023.4")
    given = parser.parse_args()
    size = Size(given.kernels, given.windows, given.rounds, given.graphs, given.shuffled)
    print(write_export(given.folder, size, sqlite=given.sqlite, old=given.old))


if __name__ == "__main__":
    main()
