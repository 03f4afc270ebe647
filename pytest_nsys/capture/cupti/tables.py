"""From CUPTI's records to the tables of an export, as nsys would have made them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_nsys.capture.cupti.records import (
    DRIVER,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    Records,
)
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import schema
from pytest_nsys.trace.made import Names
from pytest_nsys.trace.schema import serialised
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import TraceGpu

Table = Mapping[str, Any]
"""Columns by name."""

_CONFIGURATION: Mapping[str, str] = {
    "gridX": "grid_x",
    "gridY": "grid_y",
    "gridZ": "grid_z",
    "blockX": "block_x",
    "blockY": "block_y",
    "blockZ": "block_z",
    "registersPerThread": "registers",
    "staticSharedMemory": "static_shared",
    "dynamicSharedMemory": "dynamic_shared",
    "localMemoryPerThread": "local",
}
_THREAD = 0xFFFFFF


@dataclass(frozen=True)
class Around:
    """What is known beside the records.

    Attributes:
        process: number of this process.
        kernel_name: a kernel's name, by its address.
        call_name: a call's name, by whether it is the runtime's and its number; "" for one that is
            left out.
        origin: CUPTI's time of the time 0 of the tables, ns.
        gpus: those that CUDA shows, by its numbers.
        driver: the driver's version; "" if unknown.
        cuda: the driver's CUDA version, as a number; 0 if unknown.
    """

    process: int
    kernel_name: Callable[[int], str]
    call_name: Callable[[bool, int], str]
    origin: int = 0
    gpus: tuple[TraceGpu, ...] = ()
    driver: str = ""
    cuda: int = 0


def tables_of(records: Records, around: Around) -> dict[str, Table]:
    """The tables of an export, each with the columns that CUPTI has values of."""
    names = Names()
    columns = {kind: _columns(found, around.origin) for kind, found in records.items()}
    pid = serialised(around.process)
    tables: dict[str, Table] = {}
    if kernels := columns.get(KERNEL):
        numbers = _named(kernels["name"], lambda at: names.number(around.kernel_name(at)))
        tables[schema.KERNEL] = {
            **_operation(kernels, pid),
            "demangledName": numbers,
            "shortName": numbers,
            **{column: kernels[name] for column, name in _CONFIGURATION.items()},
        }
    copies = [columns[kind] for kind in (MEMCPY, PEER) if kind in columns]
    if copies:
        tables[schema.MEMCPY] = _joined([_copy_table(one, pid) for one in copies])
    if memsets := columns.get(MEMSET):
        kind = memsets["memory"] - 1
        more = {"bytes": memsets["bytes"], "memKind": kind}
        tables[schema.MEMSET] = {**_operation(memsets, pid), **more}
    if calls := _calls(columns, around, names):
        tables[schema.RUNTIME] = calls
    if memory := columns.get(MEMORY):
        tables[schema.MEMORY] = _memory_table(memory, pid)
    return {**tables, **_describing(around), schema.STRINGS: names.table()}


def _describing(around: Around) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    if around.gpus:
        tables[schema.GPU] = {
            "id": [gpu.id for gpu in around.gpus],
            "name": [gpu.name for gpu in around.gpus],
            "smCount": [gpu.multiprocessors for gpu in around.gpus],
            "memoryBandwidth": [gpu.bandwidth for gpu in around.gpus],
            "computeMajor": [(gpu.capability or (0, 0))[0] for gpu in around.gpus],
            "computeMinor": [(gpu.capability or (0, 0))[1] for gpu in around.gpus],
        }
    said = {"NvDriverVersion": around.driver, "CudaDriverVersion": str(around.cuda or "")}
    known = {name: value for name, value in said.items() if value}
    if known:
        tables[schema.SYSTEM] = {"name": [*known], "value": [*known.values()]}
    return tables


def _columns(found: npt.NDArray[Any], origin: int) -> dict[str, Ints]:
    names = found.dtype.names or ()
    columns = {name: found[name].astype(np.int64) for name in names}
    for name in ("start", "end"):
        if name in columns:  # 0 of what is not complete
            columns[name] = np.where(columns[name] == 0, ABSENT, columns[name] - origin)
    return columns


def _named(values: Ints, number: Callable[[int], int]) -> Ints:
    unique, place = np.unique(values, return_inverse=True)
    return np.array([number(int(value)) for value in unique], np.int64)[place]


def _operation(columns: Mapping[str, Ints], pid: int) -> dict[str, Ints]:
    return {
        "start": columns["start"],
        "end": columns["end"],
        "deviceId": columns["device"],
        "contextId": columns["context"],
        "streamId": columns["stream"],
        "correlationId": columns["correlation"],
        "globalPid": np.full(len(columns["start"]), pid),
        "graphNodeId": np.where(columns["node"] == 0, ABSENT, columns["node"]),
    }


def _copy_table(columns: Mapping[str, Ints], pid: int) -> dict[str, Ints]:
    absent = np.full(len(columns["start"]), ABSENT)
    # nsys counts kinds of memory from 0, CUPTI from 1, where 0 is an unknown one.
    return {
        **_operation(columns, pid),
        "bytes": columns["bytes"],
        "copyKind": columns["direction"],
        "srcKind": columns["source"] - 1,
        "dstKind": columns["target"] - 1,
        "srcDeviceId": columns.get("source_device", absent),
        "dstDeviceId": columns.get("target_device", absent),
    }


def _memory_table(columns: Mapping[str, Ints], pid: int) -> dict[str, Ints]:
    in_pool = columns["pool_kind"] != 0
    return {
        "start": columns["start"],
        "globalPid": np.full(len(columns["start"]), pid),
        "deviceId": columns["device"],
        "contextId": columns["context"],
        "address": columns["address"],
        "bytes": columns["bytes"],
        "memKind": columns["memory"] - 1,
        "memoryOperationType": columns["operation"] - 1,  # 1 allocates, 2 releases
        "localMemoryPoolAddress": np.where(in_pool, columns["pool"], 0),
        "localMemoryPoolUtilizedSize": np.where(in_pool, columns["used"], ABSENT),
    }


def _calls(
    columns: Mapping[int, Mapping[str, Ints]], around: Around, names: Names
) -> dict[str, Ints]:
    """Calls of the runtime, and those of the driver that the program made itself, as nsys has them:
    not those within a call of the runtime in the same thread."""
    found = []
    for kind in (RUNTIME, DRIVER):
        if kind not in columns:
            continue
        calls = columns[kind]
        if kind == DRIVER and RUNTIME in columns:
            calls = _chosen(calls, ~nested(calls, columns[RUNTIME]))
        texts = {one: around.call_name(kind == RUNTIME, one) for one in np.unique(calls["cbid"])}
        calls = _chosen(calls, np.isin(calls["cbid"], [one for one, text in texts.items() if text]))
        found.append(
            {
                "start": calls["start"],
                "end": calls["end"],
                "globalTid": serialised(around.process) | (calls["thread"] & _THREAD),
                "correlationId": calls["correlation"],
                "nameId": _named(calls["cbid"], _numbering(texts, names)),
            }
        )
    return _joined(found)


def _numbering(texts: Mapping[int, str], names: Names) -> Callable[[int], int]:
    return lambda one: names.number(texts[one])


def _chosen(columns: Mapping[str, Ints], rows: npt.NDArray[np.bool_]) -> dict[str, Ints]:
    return {name: values[rows] for name, values in columns.items()}


def nested(inner: Mapping[str, Ints], outer: Mapping[str, Ints]) -> npt.NDArray[np.bool_]:
    """Which calls lie within an outer one of their thread; outer ones do not overlap there."""
    found = np.zeros(len(inner["start"]), np.bool_)
    for thread in np.unique(inner["thread"]).tolist():
        mine, theirs = inner["thread"] == thread, outer["thread"] == thread
        order = np.argsort(outer["start"][theirs], kind="stable")
        starts, ends = outer["start"][theirs][order], outer["end"][theirs][order]
        if len(starts):
            last = np.searchsorted(starts, inner["start"][mine], side="right") - 1
            found[mine] = (last >= 0) & (ends[np.maximum(last, 0)] >= inner["end"][mine])
    return found


def _joined(parts: Sequence[Mapping[str, Ints]]) -> dict[str, Ints]:
    return {
        name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())
    }


def write_export(tables: Mapping[str, Table], path: Path) -> None:
    """Write the tables as a SQLite export, in which what is absent is NULL.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    with closing(sqlite3.connect(path)) as database:
        for name, columns in tables.items():
            values = [_cells(column) for column in columns.values()]
            spelled = ", ".join(f'"{column}"' for column in columns)
            database.execute(f'CREATE TABLE "{name}" ({spelled})')
            marks = ", ".join("?" * len(values))
            rows = zip(*values, strict=True)
            database.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
        database.commit()


def _cells(column: Sequence[Any] | Ints) -> list[Any]:
    if not isinstance(column, np.ndarray):
        return [*column]
    cells: list[Any] = column.tolist()
    return [None if one == ABSENT else one for one in cells] if (column == ABSENT).any() else cells
