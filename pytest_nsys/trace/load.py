"""Loading: from the tables of an export, of whatever schema version, to a `Trace`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.errors import ExportFailed
from pytest_nsys.trace import schema
from pytest_nsys.trace.launches import Launches, find_launches, in_order
from pytest_nsys.trace.schema import MemcpyKind, NvtxType
from pytest_nsys.trace.source import ABSENT, Ints, Source, open_source
from pytest_nsys.trace.tables import Gpu, Trace

Mask = npt.NDArray[np.bool_]

_OPERATION: Mapping[str, str] = {
    "start": "start",
    "end": "end",
    "deviceId": "device",
    "contextId": "context",
    "streamId": "stream",
    "correlationId": "correlation",
    "globalPid": "pid",
}
_THREAD_BITS = 24
_GPU_BITS = 0xFF
_INT32 = np.iinfo(np.int32)
_RANGE = ["start", "end", "style", "domain", "text", "pid", "tid", "end_tid"]


def load_trace(path: Path) -> Trace:
    """The trace of an export (SQLite file or folder of Parquet files).

    Raises:
        NotACapture: the file is no SQLite file.
        ExportFailed: the file is damaged, or of a version that is not understood.
    """
    with open_source(path) as source:
        return build_trace(source)


def build_trace(source: Source) -> Trace:
    """The trace of the tables of ``source``."""
    defects: list[str] = []
    calls, launches = _calls(source, defects)
    kernels = _operations(
        source,
        schema.KERNEL,
        launches,
        {"demangledName": "name", "shortName": "short", "graphNodeId": "graph_node"},
        defects,
    )
    copies = _operations(
        source,
        schema.MEMCPY,
        launches,
        {
            "bytes": "bytes",
            "copyKind": "kind",
            "srcKind": "source",
            "dstKind": "target",
            "srcDeviceId": "source_device",
            "dstDeviceId": "target_device",
            "graphNodeId": "graph_node",
        },
        defects,
    )
    memsets = _operations(
        source,
        schema.MEMSET,
        launches,
        {"bytes": "bytes", "memKind": "kind", "graphNodeId": "graph_node"},
        defects,
    )
    graphs = _operations(source, schema.GRAPH_TRACE, launches, {"graphId": "graph"}, defects)
    strings = _strings(source)
    columns = (kernels["name"], kernels["short"], calls["name"])
    used = pd.unique(np.concatenate([pd.unique(column) for column in columns]))
    system = _pairs(source, schema.SYSTEM)
    export = _pairs(source, schema.EXPORT) or _pairs(source, schema.OLD_EXPORT)
    return Trace(
        kernels=kernels,
        copies=copies,
        memsets=memsets,
        graphs=graphs,
        calls=calls,
        memory=_memory(source),
        faults=_faults(source, defects),
        samples=_samples(source),
        ranges=_ranges(source, strings, defects),
        strings={int(key): strings.get(int(key), "") for key in used},
        sampled=_sampled(source),
        gpus=_gpus(source),
        diagnostics=_diagnostics(source),
        driver=system.get("NvDriverVersion", ""),
        cuda=system.get("CudaDriverVersion", ""),
        nsys=export.get("EXPORT_PRODUCT_VERSION", ""),
        schema=export.get("EXPORT_SCHEMA_VERSION", ""),
        defects=tuple(defects),
    )


def _table(source: Source, name: str) -> pd.DataFrame | None:
    columns = schema.COLUMNS[name]
    frame = source.table(name, columns)
    if frame is not None:
        _check_columns(name, columns, frame)
    return frame


def _check_columns(name: str, asked: tuple[str, ...], found: object) -> None:
    missing = [c for c in asked if c in schema.NEEDED and c not in found]  # type: ignore[operator]
    if missing:
        raise ExportFailed(
            f"the export cannot be understood: {name} has no column {', '.join(missing)}",
            remedy="export the report again, or with another nsys; a newer pytest-nsys may know it",
        )


def _integers(source: Source, table: str, renames: Mapping[str, str]) -> dict[str, Ints]:
    """Columns of a table under our names; what is absent or NULL is -1."""
    found = source.integers(table, tuple(renames))
    if found is None:
        return {name: np.empty(0, dtype=np.int64) for name in renames.values()}
    _check_columns(table, tuple(renames), found)
    rows = len(next(iter(found.values())))
    return {
        name: found[column] if column in found else np.full(rows, ABSENT, dtype=np.int64)
        for column, name in renames.items()
    }


_SMALL = frozenset(
    "device context stream name short kind source target source_device target_device operation "
    "call graph metric style".split()
)
"""Columns of ids that nearly always fit 32 bits; the tables have millions of rows."""


def _frame(columns: Mapping[str, Ints]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: _small(values) if name in _SMALL else values for name, values in columns.items()},
        copy=False,
    )


def _small(values: Ints) -> Ints:
    if len(values) and (values.min() < _INT32.min or values.max() > _INT32.max):
        return values
    return values.astype(np.int32)


def _process(global_id: Ints) -> Ints:
    """The process part of a serialised thread or process id: its low 24 bits are the thread."""
    return (global_id >> _THREAD_BITS) << _THREAD_BITS


def _mend_ends(table: str, columns: dict[str, Ints], defects: list[str]) -> None:
    """What ends before it starts has taken no time: clocks that were set back do that."""
    backwards = columns["end"] < columns["start"]
    if count := int(np.count_nonzero(backwards)):
        columns["end"] = np.maximum(columns["end"], columns["start"])
        defects.append(f"{count} rows of {table} end before they start: taken as of no duration")


def _calls(source: Source, defects: list[str]) -> tuple[pd.DataFrame, Launches]:
    """The API calls by their start, and where to find the launch of an operation."""
    columns = _integers(
        source,
        schema.RUNTIME,
        {
            "start": "start",
            "end": "end",
            "globalTid": "tid",
            "correlationId": "correlation",
            "nameId": "name",
        },
    )
    _mend_ends(schema.RUNTIME, columns, defects)
    columns = in_order(columns, ("start",))
    correlation = columns.pop("correlation")
    columns["pid"] = _process(columns["tid"])
    return _frame(columns), Launches(columns["start"], columns["pid"], correlation)


def _operations(
    source: Source,
    table: str,
    launches: Launches,
    extra: Mapping[str, str],
    defects: list[str],
) -> pd.DataFrame:
    """GPU operations with their launch, sorted by it."""
    columns = _integers(source, table, {**_OPERATION, **extra})
    _mend_ends(table, columns, defects)
    call = find_launches(launches, columns["pid"], columns.pop("correlation"))
    unknown = call == ABSENT
    launched = columns["start"].copy()
    launched[~unknown] = launches.start[call[~unknown]]
    columns |= {"launched": launched, "call": call}
    _report_launches(table, columns, unknown, defects)
    return _frame(in_order(columns, ("launched", "start")))


def _report_launches(
    table: str, columns: Mapping[str, Ints], unknown: Mask, defects: list[str]
) -> None:
    if table == schema.MEMCPY:
        # The driver migrates pages by itself: nobody calls for it.
        unified = (MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D)
        unknown = unknown & ~np.isin(columns["kind"], unified)
    if count := int(np.count_nonzero(unknown)):
        defects.append(
            f"{count} of {len(unknown)} rows of {table} have no API call that launched them: "
            "they belong to the window in which they started"
        )
    early = columns["launched"] - columns["start"]
    if count := int(np.count_nonzero(early > 0)):
        defects.append(
            f"{count} rows of {table} start before the call that launched them, "
            f"by up to {int(early.max())} ns: the clocks of host and device are apart"
        )


def _memory(source: Source) -> pd.DataFrame:
    columns = _integers(
        source,
        schema.MEMORY,
        {
            "start": "start",
            "globalPid": "pid",
            "deviceId": "device",
            "contextId": "context",
            "address": "address",
            "bytes": "bytes",
            "memKind": "kind",
            "memoryOperationType": "operation",
            "localMemoryPoolAddress": "pool",
            "localMemoryPoolUtilizedSize": "pool_used",
        },
    )
    columns["pool"] = np.where(columns["pool"] == 0, ABSENT, columns["pool"])
    return _frame(in_order(columns, ("start",)))


def _faults(source: Source, defects: list[str]) -> pd.DataFrame:
    on_gpu = _integers(
        source,
        schema.GPU_FAULTS,
        {
            "start": "start",
            "end": "end",
            "globalPid": "pid",
            "deviceId": "device",
            "numberOfPageFaults": "count",
        },
    )
    _mend_ends(schema.GPU_FAULTS, on_gpu, defects)
    on_cpu = _integers(source, schema.CPU_FAULTS, {"start": "start", "globalPid": "pid"})
    rows = len(on_cpu["start"])
    on_cpu |= {
        "end": on_cpu["start"],
        "device": np.full(rows, ABSENT, dtype=np.int64),
        "count": np.ones(rows, dtype=np.int64),
    }
    columns = {name: np.concatenate([on_gpu[name], on_cpu[name]]) for name in on_gpu}
    return _frame(in_order(columns, ("start",)))


def _samples(source: Source) -> pd.DataFrame:
    columns = _integers(
        source,
        schema.SAMPLES,
        {"timestamp": "time", "typeId": "device", "metricId": "metric", "value": "value"},
    )
    columns["device"] = columns["device"] & _GPU_BITS
    return _frame(in_order(columns, ("time",)))


def _sampled(source: Source) -> dict[int, str]:
    table = _table(source, schema.SAMPLED)
    if table is None or "metricName" not in table:
        return {}
    return dict(zip(table["metricId"].astype(int), table["metricName"].astype(str), strict=True))


def _ranges(source: Source, strings: Mapping[int, str], defects: list[str]) -> pd.DataFrame:
    events = _table(source, schema.NVTX)
    if events is None:
        return pd.DataFrame({name: [] for name in _RANGE})
    names = [name for name in schema.COLUMNS[schema.NVTX] if name != "text"]
    numbers = pd.DataFrame(_integers(source, schema.NVTX, {name: name for name in names}))
    text = events["text"] if "text" in events else pd.Series(None, index=events.index, dtype=object)
    registered = numbers["textId"].map(strings)
    numbers["text"] = text.where(text.notna(), registered).fillna("").astype(str)
    numbers["pid"] = _process(numbers["globalTid"].to_numpy())
    created = numbers[numbers["eventType"] == NvtxType.DOMAIN_CREATE]
    domains = {
        (pid, domain): name
        for pid, domain, name in zip(
            created["pid"], created["domainId"], created["text"], strict=True
        )
    }
    rows = numbers[numbers["eventType"].isin([NvtxType.PUSH_POP, NvtxType.START_END])]
    rows = rows.sort_values("start", kind="stable", ignore_index=True)
    rows["domain"] = [
        domains.get(key, "") for key in zip(rows["pid"], rows["domainId"], strict=True)
    ]
    backwards = (rows["end"] != ABSENT) & (rows["end"] < rows["start"])
    if count := int(backwards.sum()):
        rows = rows[~backwards].reset_index(drop=True)
        defects.append(f"{count} NVTX ranges end before they start: left out")
    rows = rows.rename(
        columns={"globalTid": "tid", "endGlobalTid": "end_tid", "eventType": "style"}
    )
    return rows[_RANGE]


def _strings(source: Source) -> dict[int, str]:
    table = _table(source, schema.STRINGS)
    if table is None:
        return {}
    return dict(zip(table["id"].astype(int), table["value"].astype(str), strict=True))


def _gpus(source: Source) -> tuple[Gpu, ...]:
    table = _table(source, schema.GPU)
    if table is None or "name" not in table:
        return ()
    gpus = [Gpu(int(row["id"]), str(row["name"])) for _, row in table.iterrows()]
    return tuple(sorted(gpus, key=lambda gpu: gpu.id))


def _diagnostics(source: Source) -> tuple[tuple[int, str], ...]:
    table = _table(source, schema.DIAGNOSTIC)
    if table is None:
        return ()
    rows = zip(table["severity"].astype(int), table["text"].astype(str), strict=True)
    return tuple(sorted(rows, reverse=True))


def _pairs(source: Source, name: str) -> dict[str, str]:
    table = _table(source, name)
    if table is None:
        return {}
    return dict(zip(table["name"].astype(str), table["value"].astype(str), strict=True))
