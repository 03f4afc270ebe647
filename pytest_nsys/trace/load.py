"""Loading: from the tables of an export, of whatever schema version, to a `Trace`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.errors import ExportFailed
from pytest_nsys.trace import schema
from pytest_nsys.trace.schema import NvtxType
from pytest_nsys.trace.source import Source, open_source
from pytest_nsys.trace.tables import Gpu, Trace

_ABSENT = -1


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
    calls = _calls(source)
    kernels = _operations(
        source,
        schema.KERNEL,
        calls,
        {"demangledName": "name", "shortName": "short", "graphNodeId": "graph_node"},
    )
    copies = _operations(
        source,
        schema.MEMCPY,
        calls,
        {"bytes": "bytes", "copyKind": "kind", "srcKind": "source", "dstKind": "target"},
    )
    memsets = _operations(source, schema.MEMSET, calls, {"bytes": "bytes"})
    graphs = _operations(source, schema.GRAPH_TRACE, calls, {"graphId": "graph"})
    strings = _strings(source)
    used = pd.unique(
        np.concatenate([kernels["name"], kernels["short"], copies["call"], calls["name"]])
    )
    system = _pairs(source, schema.SYSTEM)
    export = _pairs(source, schema.EXPORT) or _pairs(source, schema.OLD_EXPORT)
    return Trace(
        kernels=kernels.drop(columns="call"),
        copies=copies,
        memsets=memsets.drop(columns="call"),
        graphs=graphs.drop(columns="call"),
        calls=calls.drop(columns="correlation"),
        memory=_memory(source),
        ranges=_ranges(source, strings),
        strings={int(key): strings.get(int(key), "") for key in used},
        gpus=_gpus(source),
        diagnostics=_diagnostics(source),
        driver=system.get("NvDriverVersion", ""),
        cuda=system.get("CudaDriverVersion", ""),
        nsys=export.get("EXPORT_PRODUCT_VERSION", ""),
        schema=export.get("EXPORT_SCHEMA_VERSION", ""),
    )


def _table(source: Source, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    frame = source.table(name, columns)
    if frame is not None:
        missing = [c for c in columns if c in schema.NEEDED and c not in frame]
        if missing:
            raise _not_understood(f"{name} has no column {', '.join(missing)}", "")
    return frame


def _not_understood(what: str, evidence: object) -> ExportFailed:
    return ExportFailed(
        f"the export cannot be understood: {what}",
        evidence=str(evidence),
        remedy="export the report again, or with another nsys; a newer pytest-nsys may know it",
    )


def _integers(source: Source, table: str, renames: dict[str, str]) -> pd.DataFrame:
    """Columns of a table as int64 under our names; what is absent or NULL is -1."""
    frame = _table(source, table, tuple(renames))
    if frame is None:
        return pd.DataFrame({name: np.empty(0, dtype=np.int64) for name in renames.values()})
    columns = {}
    for column, name in renames.items():
        if column in frame:
            values = frame[column]
            if values.dtype != np.int64:
                try:
                    values = values.fillna(_ABSENT).astype(np.int64)
                except (ValueError, TypeError, OverflowError) as error:
                    raise _not_understood(f"{table}.{column} is not numeric", error) from None
            columns[name] = values.to_numpy()
        else:
            columns[name] = np.full(len(frame), _ABSENT, dtype=np.int64)
    return pd.DataFrame(columns)


def _process(global_id: pd.Series) -> npt.NDArray[np.int64]:
    """The process part of a serialised thread or process id: its low 24 bits are the thread."""
    return (global_id.to_numpy(dtype=np.int64) >> 24) << 24


def _calls(source: Source) -> pd.DataFrame:
    calls = _integers(
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
    calls["pid"] = _process(calls["tid"])
    return calls.sort_values("start", kind="stable", ignore_index=True)


def _operations(
    source: Source, table: str, calls: pd.DataFrame, extra: dict[str, str]
) -> pd.DataFrame:
    """GPU operations with the time of their launch, sorted by it."""
    renames = {
        "start": "start",
        "end": "end",
        "deviceId": "device",
        "contextId": "context",
        "streamId": "stream",
        "correlationId": "correlation",
        "globalPid": "pid",
        **extra,
    }
    operations = _integers(source, table, renames)
    # Correlation ids are unique within a process only; a graph's kernels share their launch's.
    launches = calls[["pid", "correlation", "start", "name"]].drop_duplicates(
        ["pid", "correlation"]
    )
    launches = launches.rename(columns={"start": "launched", "name": "call"})
    joined = operations.merge(launches, on=["pid", "correlation"], how="left")
    for column, default in (("launched", joined["start"]), ("call", _ABSENT)):
        joined[column] = joined[column].fillna(default).astype(np.int64)
    joined = joined.drop(columns="correlation")
    return joined.sort_values(["launched", "start"], kind="stable", ignore_index=True)


def _memory(source: Source) -> pd.DataFrame:
    memory = _integers(
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
        },
    )
    return memory.sort_values("start", kind="stable", ignore_index=True)


def _ranges(source: Source, strings: dict[int, str]) -> pd.DataFrame:
    names = schema.COLUMNS[schema.NVTX]
    events = _table(source, schema.NVTX, names)
    if events is None:
        return pd.DataFrame(
            {"start": [], "end": [], "domain": [], "text": [], "pid": [], "tid": []}
        )
    numbers = _integers(
        source, schema.NVTX, {name: name for name in names if name not in ("text",)}
    )
    text = events["text"] if "text" in events else pd.Series(None, index=events.index, dtype=object)
    registered = numbers["textId"].map(strings)
    numbers["text"] = text.where(text.notna(), registered).fillna("").astype(str)
    numbers["pid"] = _process(numbers["globalTid"])
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
    rows = rows.rename(columns={"globalTid": "tid"})
    return rows[["start", "end", "domain", "text", "pid", "tid"]]


def _strings(source: Source) -> dict[int, str]:
    table = _table(source, schema.STRINGS, schema.COLUMNS[schema.STRINGS])
    if table is None:
        return {}
    return dict(zip(table["id"].astype(int), table["value"].astype(str), strict=True))


def _gpus(source: Source) -> tuple[Gpu, ...]:
    table = _table(source, schema.GPU, schema.COLUMNS[schema.GPU])
    if table is None or "name" not in table:
        return ()
    gpus = [Gpu(int(row["id"]), str(row["name"])) for _, row in table.iterrows()]
    return tuple(sorted(gpus, key=lambda gpu: gpu.id))


def _diagnostics(source: Source) -> tuple[tuple[int, str], ...]:
    table = _table(source, schema.DIAGNOSTIC, schema.COLUMNS[schema.DIAGNOSTIC])
    if table is None:
        return ()
    rows = zip(table["severity"].astype(int), table["text"].astype(str), strict=True)
    return tuple(sorted(rows, reverse=True))


def _pairs(source: Source, name: str) -> dict[str, str]:
    table = _table(source, name, schema.COLUMNS[name])
    if table is None:
        return {}
    return dict(zip(table["name"].astype(str), table["value"].astype(str), strict=True))
