"""CUPTI's activity records, from raw memory to the tables of a trace.

CUPTI lays records of all kinds one behind another into a buffer; a record begins with its kind and
has the size of the newest struct of that kind that the library knows. Offsets of the fields below
are the same from CUPTI 12.8 to 13.4, and only sizes have grown (`layouts`, which compiles
``cupti_activity.h``, says so). So of a version whose sizes are not known, CUPTI's own iterator says
where records begin, and the fields are where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import Trace, schema
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.made import MadeSource, Names
from pytest_nsys.trace.schema import NvtxType, serialised
from pytest_nsys.trace.source import ABSENT

MEMCPY, MEMSET, KERNEL, DRIVER, RUNTIME = 1, 2, 10, 4, 5
PEER, SYNCHRONIZATION, MEMORY = 22, 38, 49
"""CUpti_ActivityKind; KERNEL is that of concurrent kernels."""

KINDS: Mapping[str, tuple[int, ...]] = {
    "kernels": (KERNEL,),
    "operations": (KERNEL, MEMCPY, PEER, MEMSET),
    "with calls": (KERNEL, MEMCPY, PEER, MEMSET, RUNTIME),
    "all": (KERNEL, MEMCPY, PEER, MEMSET, RUNTIME, DRIVER, MEMORY),
}
"""Sets of kinds whose costs are compared; the last is what the tables need."""

_U64, _U32, _U16, _U8 = "<u8", "<u4", "<u2", "u1"
_ON_GPU = {
    "start": (16, _U64),
    "end": (24, _U64),
}
_COPY = {
    "direction": (4, _U8),
    "source": (5, _U8),
    "target": (6, _U8),
    "bytes": (8, _U64),
    **_ON_GPU,
    "device": (32, _U32),
    "context": (36, _U32),
    "stream": (40, _U32),
}
_CALL = {
    "cbid": (4, _U32),
    "start": (8, _U64),
    "end": (16, _U64),
    "process": (24, _U32),
    "thread": (28, _U32),
    "correlation": (32, _U32),
}
FIELDS: Mapping[int, Mapping[str, tuple[int, str]]] = {
    KERNEL: {
        **_ON_GPU,
        "device": (40, _U32),
        "context": (44, _U32),
        "stream": (48, _U32),
        "correlation": (92, _U32),
        "name": (104, _U64),
        "node": (144, _U64),
    },
    MEMCPY: {**_COPY, "correlation": (44, _U32), "node": (64, _U64)},
    PEER: {
        **_COPY,
        "source_device": (44, _U32),
        "target_device": (52, _U32),
        "correlation": (60, _U32),
        "node": (72, _U64),
    },
    MEMSET: {
        "bytes": (8, _U64),
        **_ON_GPU,
        "device": (32, _U32),
        "context": (36, _U32),
        "stream": (40, _U32),
        "correlation": (44, _U32),
        "memory": (50, _U16),
        "node": (64, _U64),
    },
    RUNTIME: _CALL,
    DRIVER: _CALL,
    SYNCHRONIZATION: {"type": (4, _U32), "start": (8, _U64), "end": (16, _U64)},
    MEMORY: {
        "operation": (4, _U32),
        "memory": (8, _U32),
        "correlation": (12, _U32),
        "address": (16, _U64),
        "bytes": (24, _U64),
        "start": (32, _U64),
        "device": (52, _U32),
        "context": (56, _U32),
        "pool_kind": (80, _U32),
        "pool": (88, _U64),
        "used": (112, _U64),
    },
}
"""Per kind, offset and type of the fields that the tables need."""

_SIZES = {MEMCPY: 96, PEER: 96, MEMSET: 88, RUNTIME: 40, DRIVER: 40, SYNCHRONIZATION: 56}
_SIZES[MEMORY] = 128
_SINCE: tuple[tuple[int, Mapping[int, int]], ...] = (
    (26, {**_SIZES, KERNEL: 208}),  # 12.8
    (130000, {**_SIZES, KERNEL: 216}),
    (130200, {**_SIZES, KERNEL: 224}),
    (130400, {**_SIZES, KERNEL: 248, MEMCPY: 112, MEMSET: 104}),
)
_BEYOND = 130500


class UnknownLayout(ValueError):
    """The records are not those of a version that is known, or do not fill their buffer."""


def sizes_of(version: int) -> Mapping[int, int]:
    """Bytes of a record by kind.

    Args:
        version: CUPTI_API_VERSION of the library that is loaded.

    Raises:
        UnknownLayout: it is not between 12.8 and 13.4.
    """
    known = [sizes for since, sizes in _SINCE if since <= version < _BEYOND]
    if not known:
        raise UnknownLayout(f"CUPTI {version}: only 26 (CUDA 12.8) to {_BEYOND - 1} are known")
    return known[-1]


def dtype_of(kind: int, size: int = 0) -> np.dtype[Any]:
    """The fields of a kind, in records of a size, or of as many bytes as they need."""
    fields = FIELDS[kind]
    needed = max(offset + np.dtype(form).itemsize for offset, form in fields.values())
    return np.dtype(
        {
            "names": [*fields],
            "formats": [form for _, form in fields.values()],
            "offsets": [offset for offset, _ in fields.values()],
            "itemsize": size or -(-needed // 8) * 8,
        }
    )


def offsets_by_kind(data: npt.NDArray[np.uint8], sizes: Mapping[int, int]) -> dict[int, Ints]:
    """Where the records of each kind begin.

    Where a record begins is known once the one before it is, so this is a loop: its two lookups
    are all that is done for each record.

    Raises:
        UnknownLayout: a kind is not known, or the last record does not end with the buffer.
    """
    kinds = data[: len(data) // 8 * 8].view("<u4")[::2].tolist()
    steps = {kind: size // 8 for kind, size in sizes.items()}
    found: dict[int, list[int]] = {kind: [] for kind in sizes}
    appends = {kind: places.append for kind, places in found.items()}
    at, end = 0, len(kinds)
    try:
        while at < end:
            kind = kinds[at]
            appends[kind](at)
            at += steps[kind]
    except KeyError:
        raise UnknownLayout(f"a record of kind {kinds[at]} at byte {at * 8:,}") from None
    if at * 8 != len(data):
        raise UnknownLayout(f"records end at byte {at * 8:,} of {len(data):,}")
    return {kind: np.array(places, np.int64) * 8 for kind, places in found.items() if places}


def read_records(
    buffers: Sequence[npt.NDArray[np.uint8]],
    places: Callable[[npt.NDArray[np.uint8]], Mapping[int, Ints]],
) -> dict[int, npt.NDArray[Any]]:
    """The records of all buffers by kind, as structured arrays.

    Args:
        buffers: what CUPTI has filled, of whole words of 8 bytes.
        places: where in one of them the records of each kind begin.

    Raises:
        UnknownLayout: see `offsets_by_kind`.
    """
    parts: dict[int, list[npt.NDArray[Any]]] = {}
    for data in buffers:
        words = data.view("<u8")  # eight bytes at a time: fewer indices
        for kind, offsets in places(data).items():
            dtype = dtype_of(kind)
            rows = words[(offsets // 8)[:, None] + np.arange(dtype.itemsize // 8)]
            parts.setdefault(kind, []).append(rows.view(dtype).reshape(-1))
    return {kind: np.concatenate(listed) for kind, listed in parts.items()}


@dataclass(frozen=True)
class Session:
    """What one capture in a process found.

    Attributes:
        records: by kind.
        ranges: name, start and end of windows, ns of CUPTI's clock.
        process: number of this process.
        kernel_name: text of a kernel's name, by its address.
        call_name: name of a call, by whether it is the runtime's and its number.
    """

    records: Mapping[int, npt.NDArray[Any]]
    ranges: Sequence[tuple[str, int, int]]
    process: int
    kernel_name: Callable[[int], str]
    call_name: Callable[[bool, int], str]


def trace_of(session: Session) -> Trace:
    """The capture as the tables that all metrics are made of."""
    names = Names()
    pid = serialised(session.process)
    columns = {kind: _columns(found) for kind, found in session.records.items()}
    kernels = columns.get(KERNEL, {})
    copies = [columns[kind] for kind in (MEMCPY, PEER) if kind in columns]
    tables: dict[str, Mapping[str, Any]] = {}
    if kernels:
        numbers = _named(kernels["name"], lambda at: names.number(session.kernel_name(at)))
        tables[schema.KERNEL] = {
            **_operation(kernels, pid),
            "demangledName": numbers,
            "shortName": numbers,
        }
    if copies:
        tables[schema.MEMCPY] = _joined([_copy_table(one, pid) for one in copies])
    if memsets := columns.get(MEMSET):
        kind = memsets["memory"] - 1
        more = {"bytes": memsets["bytes"], "memKind": kind}
        tables[schema.MEMSET] = {**_operation(memsets, pid), **more}
    calls = _calls(columns, session, names)
    if calls:
        tables[schema.RUNTIME] = calls
    if memory := columns.get(MEMORY):
        tables[schema.MEMORY] = _memory_table(memory, pid)
    tables[schema.NVTX] = {
        "start": np.array([start for _, start, _ in session.ranges], np.int64),
        "end": np.array([end for *_, end in session.ranges], np.int64),
        "eventType": np.full(len(session.ranges), NvtxType.PUSH_POP),
        "textId": np.array([names.number(name) for name, *_ in session.ranges], np.int64),
        "globalTid": np.full(len(session.ranges), pid),
        "domainId": np.zeros(len(session.ranges), np.int64),
    }
    return build_trace(MadeSource({**tables, schema.STRINGS: names.table()}))


def _columns(found: npt.NDArray[Any]) -> dict[str, Ints]:
    names = found.dtype.names or ()
    return {name: found[name].astype(np.int64) for name in names}


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
    columns: Mapping[int, Mapping[str, Ints]], session: Session, names: Names
) -> dict[str, Ints]:
    """Calls of the runtime, and those of the driver that the program made itself, as nsys has them:
    not those within a call of the runtime in the same thread."""
    found = []
    for kind in (RUNTIME, DRIVER):
        if kind in columns:
            calls = columns[kind]
            if kind == DRIVER and RUNTIME in columns:
                own = ~nested(calls, columns[RUNTIME])
                calls = {name: values[own] for name, values in calls.items()}
            runtime = kind == RUNTIME

            def number(cbid: int, runtime: bool = runtime) -> int:
                return names.number(session.call_name(runtime, cbid))

            found.append(
                {
                    "start": calls["start"],
                    "end": calls["end"],
                    # The system's threads, in the 24 bits that a serialised id has.
                    "globalTid": serialised(session.process) | (calls["thread"] & 0xFFFFFF),
                    "correlationId": calls["correlation"],
                    "nameId": _named(calls["cbid"], number),
                }
            )
    return _joined(found)


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
