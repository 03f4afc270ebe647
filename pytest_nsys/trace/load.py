"""Loading: from the tables of an export, of whatever schema version, to a `Trace`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import pandas as pd

from pytest_nsys.cuda.names import cuda_version
from pytest_nsys.errors import ExportNotUnderstood
from pytest_nsys.kernels.configuration import Configuration
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.trace import lost, mending, schema
from pytest_nsys.trace.configurations import configurations
from pytest_nsys.trace.devices import Devices, read_devices
from pytest_nsys.trace.launches import Launches, find_launches, in_order
from pytest_nsys.trace.sampled import read_samples
from pytest_nsys.trace.schema import MemcpyKind, MemKind, NvtxType, process_id
from pytest_nsys.trace.source import (
    ABSENT,
    Source,
    not_understood,
    open_source,
    texts,
    whole_numbers,
)
from pytest_nsys.trace.tables import Trace, TraceGpu

_OPERATION: Mapping[str, str] = {
    "start": "start",
    "end": "end",
    "deviceId": "device",
    "contextId": "context",
    "streamId": "stream",
    "correlationId": "correlation",
    "globalPid": "pid",
}
_PLACES = frozenset({"device", "stream", "source", "target"})
_INT32 = np.iinfo(np.int32)
T = TypeVar("T")

_RANGE = ["start", "end", "style", "domain", "text", "pid", "tid", "end_tid"]


def load_trace(path: Path) -> Trace:
    """The trace of an export (SQLite file or folder of Parquet files).

    Raises:
        NotACapture: the file is no SQLite file.
        ExportFailed: the file is damaged, or of a version that is not understood: a column that
            gives its table its meaning is missing or of another type, or holds what cannot be.
    """
    with open_source(path) as source:
        return build_trace(source)


def build_trace(source: Source) -> Trace:
    """The trace of the tables of ``source``."""
    defects: list[str] = []
    devices = _unless_unknown(lambda: read_devices(source, defects), Devices({}), defects)
    calls, launches = _calls(source, defects)
    kernels, configured = _kernels(source, (launches, devices), defects)
    copies = _operations(
        source,
        schema.MEMCPY,
        (launches, devices),
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
        (launches, devices),
        {"bytes": "bytes", "memKind": "kind", "graphNodeId": "graph_node"},
        defects,
    )
    graphs = _operations(
        source, schema.GRAPH_TRACE, (launches, devices), {"graphId": "graph"}, defects
    )
    strings = _strings(source)
    columns = (kernels["name"], kernels["short"], calls["name"])
    used = pd.unique(np.concatenate([pd.unique(column) for column in columns]))
    for table, column in ((schema.KERNEL, kernels["name"]), (schema.RUNTIME, calls["name"])):
        _report_nameless(table, column, strings, defects)
    memory = _memory(source, devices, defects)
    defects += lost.lost_operations(calls, kernels, copies, memsets, graphs, strings)
    defects += lost.lost_pools(calls, memory, strings)
    samples, sampled = read_samples(source, defects)
    system = _pairs(source, schema.SYSTEM, defects)
    export = _pairs(source, schema.EXPORT, defects) or _pairs(source, schema.OLD_EXPORT, defects)
    version = export.get("EXPORT_SCHEMA_VERSION", "")
    _report_version(version, defects)
    no_gpus: tuple[TraceGpu, ...] = ()
    said_nothing: tuple[tuple[int, str], ...] = ()
    gpus = _unless_unknown(lambda: _gpus(source), no_gpus, defects)
    diagnostics = _unless_unknown(lambda: _diagnostics(source), said_nothing, defects)
    return Trace(
        kernels=kernels,
        copies=copies,
        memsets=memsets,
        graphs=graphs,
        calls=calls,
        memory=memory,
        faults=_faults(source, devices, defects),
        samples=samples,
        ranges=_ranges(source, strings, defects),
        strings={int(key): strings.get(int(key), "") for key in used},
        sampled=sampled,
        gpus=gpus,
        configurations=configured,
        diagnostics=diagnostics,
        driver=driver_version(system.get("NvDriverVersion", "")),
        cuda=cuda_version(system.get("CudaDriverVersion", "")),
        nsys=export.get("EXPORT_PRODUCT_VERSION", ""),
        schema=version,
        ordinals=devices.ordinals,
        defects=tuple(defects),
        began_utc_ns=_largest(source, schema.SESSION, "utcEpochNs"),
        length_ns=_largest(source, schema.ANALYSIS, "duration"),
    )


def _unless_unknown(read: Callable[[], T], otherwise: T, defects: list[str]) -> T:
    """What a table says that only describes: of a version that is not known, it is done without.

    Raises:
        ExportFailed: the export is damaged.
    """
    try:
        return read()
    except ExportNotUnderstood as error:
        what = error.what.partition(": ")[2]
        defects.append(f"{what}: what this table says is not known")
        return otherwise


_DRIVER = re.compile(r"(\d{3})(\d{2,3}?)(\d{2})?")


def driver_version(text: str) -> str:
    """The driver's version as NVIDIA writes it: ``450.51.06``.

    Older exports have it without the dots, as one number of 5 to 8 digits: 41026, 418126, 4505106,
    45010204. 0 is no driver.
    """
    if not text.isdecimal():
        return text
    parts = _DRIVER.fullmatch(text)
    return ".".join(filter(None, parts.groups())) if parts else text.lstrip("0")


def _table(source: Source, name: str) -> pd.DataFrame | None:
    return source.table(name, schema.COLUMNS[name])


def _report_version(version: str, defects: list[str]) -> None:
    """Newer minor versions have more columns; a newer major one may have given them a new sense."""
    major = version.partition(".")[0]
    if major.isdecimal() and len(major) < 9 and int(major) > schema.KNOWN_MAJOR:
        defects.append(
            f"the export's schema is of version {version}, newer than the {schema.KNOWN_MAJOR}.x "
            "that is known: its columns are read as if they meant the same"
        )


def _report_nameless(
    table: str, names: pd.Series, strings: Mapping[int, str], defects: list[str]
) -> None:
    unknown = [key for key in pd.unique(names).tolist() if key not in strings]
    if unknown:
        flags = names.isin(unknown).to_numpy()
        mending.note(
            flags, table, "have a name that is not in the export", 'their name is ""', defects
        )


def _integers(
    source: Source,
    table: str,
    renames: Mapping[str, str],
    packed: Mapping[str, schema.Packing] = MappingProxyType({}),
) -> dict[str, Ints]:
    """Columns of a table under our names; what is absent or NULL is -1."""
    found = source.integers(table, tuple(renames), packed)
    renames = {**renames, **{name: name for name in packed}}
    if found is None:
        return {name: np.empty(0, dtype=np.int64) for name in renames.values()}
    rows = len(next(iter(found.values())))
    return {
        name: found[column] if column in found else np.full(rows, ABSENT, dtype=np.int64)
        for column, name in renames.items()
    }


_SMALL = frozenset(
    "device context stream name short kind source target source_device target_device operation "
    "call graph metric style configuration".split()
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
    columns = mending.ended(schema.RUNTIME, columns, defects)
    columns = in_order(columns, ("start",))
    correlation = columns.pop("correlation")
    columns["pid"] = process_id(columns["tid"])
    return _frame(columns), Launches(columns["start"], columns["pid"], correlation)


def _kernels(
    source: Source, of: tuple[Launches, Devices], defects: list[str]
) -> tuple[pd.DataFrame, tuple[Configuration, ...]]:
    """The kernels, and the launch configurations that they have."""
    names = {"demangledName": "name", "shortName": "short", "graphNodeId": "graph_node"}
    columns = _integers(source, schema.KERNEL, {**_OPERATION, **names}, schema.CONFIGURATION)
    numbers, found = configurations({name: columns.pop(name) for name in schema.CONFIGURATION})
    columns["configuration"] = numbers
    return _launched(schema.KERNEL, columns, of, defects), found


def _operations(
    source: Source,
    table: str,
    of: tuple[Launches, Devices],
    extra: Mapping[str, str],
    defects: list[str],
) -> pd.DataFrame:
    """GPU operations with their launch, sorted by it."""
    return _launched(table, _integers(source, table, {**_OPERATION, **extra}), of, defects)


def _launched(
    table: str, columns: dict[str, Ints], of: tuple[Launches, Devices], defects: list[str]
) -> pd.DataFrame:
    launches, devices = of
    columns = mending.ended(table, columns, defects)
    for name in ("device", "source_device", "target_device"):
        if name in columns:
            columns[name] = devices.numbers(columns["pid"], columns[name])
    if "bytes" in columns:
        columns["bytes"] = mending.amounts(table, "bytes", columns["bytes"], defects)
    call = find_launches(launches, columns["pid"], columns.pop("correlation"))
    unknown = call == ABSENT
    launched = columns["start"].copy()
    launched[~unknown] = launches.start[call[~unknown]]
    columns |= {"launched": launched, "call": call}
    _report_places(table, columns, defects)
    _report_launches(table, columns, unknown, defects)
    return _frame(in_order(columns, ("launched", "start")))


def _by_driver(table: str, columns: Mapping[str, Ints]) -> Flags:
    """Per row, whether the driver did it by itself: migrations of pages, which nobody calls for."""
    if table != schema.MEMCPY:
        return np.zeros(len(columns["start"]), dtype=np.bool_)
    return np.isin(columns["kind"], (MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D))


def _report_places(table: str, columns: Mapping[str, Ints], defects: list[str]) -> None:
    """What is NULL in every row of a whole export is missing in it."""
    absent = {name: values == ABSENT for name, values in columns.items() if name in _PLACES}
    mending.note(absent["device"], table, "have no device", "taken as of one more", defects)
    mending.note(absent["stream"], table, "have no stream", "taken as of one more", defects)
    if table == schema.MEMCPY:
        unknown = (columns["kind"] < 0) | (columns["kind"] > MemcpyKind.LAST)
        mending.note(unknown, table, "have no kind that is known", "in no memcpy metric", defects)
        sides = (absent["source"] | absent["target"]) & ~_by_driver(table, columns)
        mending.note(
            sides, table, "do not say from or to which memory", "not taken as pageable", defects
        )


def _report_launches(
    table: str, columns: Mapping[str, Ints], unknown: Flags, defects: list[str]
) -> None:
    unknown = unknown & ~_by_driver(table, columns)
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


def _memory(source: Source, devices: Devices, defects: list[str]) -> pd.DataFrame:
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
    table = schema.MEMORY
    columns = mending.started(table, columns, defects)
    neither = ~np.isin(columns["operation"], (0, 1))
    columns = mending.dropped(columns, neither, table, "neither allocate nor free", defects)
    unplaced = columns["context"] == ABSENT
    mending.note(unplaced, table, "have no context", "paired by their address alone", defects)
    nowhere = columns["address"] == ABSENT
    columns = mending.dropped(columns, nowhere, table, "have no address", defects)
    unknown = (columns["kind"] < 0) | (columns["kind"] > MemKind.LAST)
    mending.note(unknown, table, "have no kind that is known", "in no memory metric", defects)
    columns["bytes"] = mending.amounts(table, "bytes", columns["bytes"], defects)
    mending.note(
        columns["device"] == ABSENT, table, "have no device", "taken as of one more", defects
    )
    columns["device"] = devices.numbers(columns["pid"], columns["device"])
    columns["pool"] = np.where(columns["pool"] == 0, ABSENT, columns["pool"])
    in_pool = columns["pool"] != ABSENT
    unsaid = in_pool & (columns["pool_used"] < 0)
    if mending.note(unsaid, table, "do not say how full their pool is", "not counted", defects):
        columns["pool"] = np.where(unsaid, ABSENT, columns["pool"])
    used = np.where(columns["pool"] == ABSENT, 0, columns["pool_used"])
    mending.amounts(table, "localMemoryPoolUtilizedSize", used, defects)
    return _frame(in_order(columns, ("start",)))


def _faults(source: Source, devices: Devices, defects: list[str]) -> pd.DataFrame:
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
    on_gpu = mending.ended(schema.GPU_FAULTS, on_gpu, defects)
    on_gpu["device"] = devices.numbers(on_gpu["pid"], on_gpu["device"])
    on_gpu["count"] = mending.amounts(
        schema.GPU_FAULTS, "numberOfPageFaults", on_gpu["count"], defects
    )
    on_cpu = _integers(source, schema.CPU_FAULTS, {"start": "start", "globalPid": "pid"})
    on_cpu = mending.started(schema.CPU_FAULTS, on_cpu, defects)
    rows = len(on_cpu["start"])
    on_cpu |= {
        "end": on_cpu["start"],
        "device": np.full(rows, ABSENT, dtype=np.int64),
        "count": np.ones(rows, dtype=np.int64),
    }
    columns = {name: np.concatenate([on_gpu[name], on_cpu[name]]) for name in on_gpu}
    return _frame(in_order(columns, ("start",)))


def _ranges(source: Source, strings: Mapping[int, str], defects: list[str]) -> pd.DataFrame:
    events = _table(source, schema.NVTX)
    if events is None:
        return pd.DataFrame({name: [] for name in _RANGE})
    if "text" not in events and "textId" not in events:
        raise not_understood(f"{schema.NVTX} has no column text, textId")
    if "domainId" not in events:
        defects.append(f"{schema.NVTX} has no column domainId: its ranges are in no domain")
    columns = {
        name: whole_numbers(schema.NVTX, events[name])
        if name in events
        else np.full(len(events), ABSENT, dtype=np.int64)
        for name in schema.COLUMNS[schema.NVTX]
        if name != "text"
    }
    columns["pid"] = process_id(columns["globalTid"])
    kinds = columns["eventType"]
    made = np.flatnonzero((kinds == NvtxType.DOMAIN_CREATE) & (columns["domainId"] != ABSENT))
    names, _ = _range_texts(events, columns["textId"], made, strings)
    domains = dict(zip(_pairs_of(columns, made), names, strict=True))
    rows = np.flatnonzero(np.isin(kinds, (NvtxType.PUSH_POP, NvtxType.START_END)))
    rows = _good_ranges(columns, rows, defects)
    rows = rows[np.argsort(columns["start"][rows], kind="stable")]
    named, known = _range_texts(events, columns["textId"], rows, strings)
    mending.note(~known, schema.NVTX, "are ranges without a text", 'their text is ""', defects)
    return pd.DataFrame(
        {
            "start": columns["start"][rows],
            "end": columns["end"][rows],
            "style": columns["eventType"][rows],
            "domain": [domains.get(pair, "") for pair in _pairs_of(columns, rows)],
            "text": named,
            "pid": columns["pid"][rows],
            "tid": columns["globalTid"][rows],
            "end_tid": columns["endGlobalTid"][rows],
        }
    )


def _good_ranges(columns: Mapping[str, Ints], rows: Ints, defects: list[str]) -> Ints:
    """The rows of ranges that start, and do not end before that."""
    spans = {"row": rows, "start": columns["start"][rows], "end": columns["end"][rows]}
    spans = mending.started(schema.NVTX, spans, defects)
    backwards = (spans["end"] != ABSENT) & (spans["end"] < spans["start"])
    what = "are ranges that end before they start"
    spans = mending.dropped(spans, backwards, schema.NVTX, what, defects)
    mending.ended(schema.NVTX, {**spans, "end": np.maximum(spans["end"], spans["start"])}, [])
    return spans["row"]


def _pairs_of(columns: Mapping[str, Ints], rows: Ints) -> Iterable[tuple[int, int]]:
    """Process and domain of rows of NVTX events."""
    return zip(columns["pid"][rows].tolist(), columns["domainId"][rows].tolist(), strict=True)


def _range_texts(
    events: pd.DataFrame, ids: Ints, rows: Ints, strings: Mapping[int, str]
) -> tuple[list[str], Flags]:
    """Texts of rows of NVTX events, by value or registered, and which of them have any."""
    found = [strings.get(key) for key in ids[rows].tolist()]
    if "text" in events:
        own = events["text"].iloc[rows]
        given = zip(own.notna().tolist(), texts(own), found, strict=True)
        found = [text if has else registered for has, text, registered in given]
    return [text or "" for text in found], np.array([text is not None for text in found], bool)


def _strings(source: Source) -> dict[int, str]:
    table = _table(source, schema.STRINGS)
    if table is None:
        return {}
    ids = whole_numbers(schema.STRINGS, table["id"])
    return dict(zip(ids.tolist(), texts(table["value"]), strict=True))


def _gpus(source: Source) -> tuple[TraceGpu, ...]:
    table = _table(source, schema.GPU)
    if table is None:
        return ()
    # Where there is no number, they are in the order of their numbers.
    numbered = "id" in table
    ids = whole_numbers(schema.GPU, table["id"]).tolist() if numbered else range(len(table))
    known = [
        np.maximum(whole_numbers(schema.GPU, table[column]), 0).tolist()
        if column in table
        else [0] * len(table)
        for column in ("smCount", "memoryBandwidth", "computeMajor", "computeMinor")
    ]
    found = [
        TraceGpu(number, name, count, bandwidth, (major, minor) if major else None)
        for number, name, count, bandwidth, major, minor in zip(
            ids, texts(table["name"]), *known, strict=True
        )
    ]
    return tuple(sorted(found, key=lambda gpu: gpu.id))


def _diagnostics(source: Source) -> tuple[tuple[int, str], ...]:
    table = _table(source, schema.DIAGNOSTIC)
    if table is None:
        return ()
    severity = whole_numbers(schema.DIAGNOSTIC, table["severity"]).tolist()
    return tuple(sorted(zip(severity, texts(table["text"]), strict=True), reverse=True))


def _largest(source: Source, table: str, column: str) -> int | None:
    """The largest number of a column, of a table that usually has one row; None where none is."""
    found = source.integers(table, (column,))
    values = found.get(column) if found else None
    largest = ABSENT if values is None else int(values.max(initial=ABSENT))
    return None if largest == ABSENT else largest


def _pairs(source: Source, name: str, defects: list[str]) -> dict[str, str]:
    table = _unless_unknown(lambda: _table(source, name), None, defects)
    if table is None:
        return {}
    return dict(zip(texts(table["name"]), texts(table["value"]), strict=True))
