"""Traces for Chrome that torch.profiler (Kineto) writes, and Triton's Proton, as tables of an
export.

Kineto's events have ``ph`` "X"; ``cat`` says of what kind they are, which older versions
spell otherwise (``Kernel``, ``Runtime``). Times are µs from ``baseTimeNanoseconds``, or since 1970
where there is none; older versions write whole ones. An operation and the call that launched it
have the same ``correlation``. A file is of one process, and the ``pid`` of what ran on a GPU is no
process, but the GPU. Proton's have kernels alone, one document for each stream, without the calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.support.json_stream import elements
from pytest_nsys.trace import mending, schema
from pytest_nsys.trace.made import Names, Rows
from pytest_nsys.trace.schema import MemcpyKind, MemKind, NvtxType, serialised
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import TraceGpu

_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("kernel", "Kernel"), schema.KERNEL),
    **dict.fromkeys(("gpu_memcpy", "Memcpy"), schema.MEMCPY),
    **dict.fromkeys(("gpu_memset", "Memset"), schema.MEMSET),
    **dict.fromkeys(("cuda_runtime", "cuda_driver", "Runtime"), schema.RUNTIME),
    "user_annotation": schema.NVTX,
}
"""The table of an event, by its category."""

_STEPPED = frozenset({"cpu_op", "Operator"})
"""Categories in which older versions have the steps of a schedule."""

STEP = "ProfilerStep"
"""What the steps of a schedule are called, without their number: instances of one range."""

_STEP = re.compile(r"ProfilerStep#\d+")
_COPY = re.compile(r"Memcpy (\w+) \((.+) -> (.+)\)")
_SET = re.compile(r"Memset \((.+)\)")
_GRAPH_LAUNCH = re.compile(r"cu(da)?GraphLaunch")

_COPY_KINDS: Mapping[str, int] = {
    "HtoD": MemcpyKind.H2D,
    "DtoH": MemcpyKind.D2H,
    "DtoD": MemcpyKind.D2D,
    "PtoP": MemcpyKind.P2P,
    # Of and to arrays, within arrays, within the host: in no metric.
    **{"HtoA": 3, "AtoH": 4, "AtoA": 5, "AtoD": 6, "DtoA": 7, "HtoH": 9},
}
_MEMORIES: Mapping[str, int] = {
    "Pageable": MemKind.PAGEABLE,
    "Pinned": MemKind.PINNED,
    "Device": MemKind.DEVICE,
    "Array": MemKind.ARRAY,
    "Managed": MemKind.MANAGED,
    "Device Static": MemKind.DEVICE_STATIC,
    "Managed Static": MemKind.MANAGED_STATIC,
}
NOBODY = serialised(1)
"""The process of what does not say whose it is."""

OPERATIONS = (schema.KERNEL, schema.MEMCPY, schema.MEMSET)

_CONFIGURED = (
    *("gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ", "registersPerThread"),
    *("dynamicSharedMemory", "staticSharedMemory", "localMemoryPerThread"),
)
_LARGEST_NUMBER = 2**31
_MOST_GPUS = 1024
_FEW = 64
_LISTED = 5


@dataclass(frozen=True)
class Profile:
    """What one file holds.

    Attributes:
        tables: by name, columns as in an export; ``globalPid`` and ``globalTid`` are serialised by
            the numbers of the file.
        rank: of the process among others; None where it is not said.
        gpus: those of the machine.
        cuda: version of CUDA that the driver has, as a number; "" if unknown.
        unknown: see `Trace.unknown`.
        notes: what is to be known of it, in sentences.
        seen: categories of its events, a few of them.
        is_drawn: whether it is what ``pytest-nsys export`` drew of a capture.
    """

    tables: Mapping[str, Mapping[str, Ints]]
    rank: int | None
    gpus: tuple[TraceGpu, ...]
    cuda: str
    unknown: Mapping[str, str]
    notes: tuple[str, ...]
    seen: tuple[str, ...] = ()
    is_drawn: bool = False


def read_profile(path: Path, names: Names) -> Profile:
    """A trace for Chrome.

    Raises:
        Unreadable: it is no JSON, damaged, cut off, or has more in it than it may.
    """
    events = _Events(names)
    head: dict[str, Any] = {}
    properties: list[Any] = []
    notes: list[str] = []
    for key, value in elements(path):
        if key in ("traceEvents", ""):
            events.add(value)
        elif key == "...":
            notes.append(
                "its list of events does not end: where the program was ended while it wrote, "
                "events are missing"
            )
        elif key == "deviceProperties":
            properties += [value][: _MOST_GPUS - len(properties)]
        elif key in _HEAD:
            head[key] = value
    tables = events.tables(whole_number(head.get("baseTimeNanoseconds"), 0))
    tables = {name: _once(name, columns, events, notes) for name, columns in tables.items()}
    rank = whole_number(_inner(head, "distributedInfo", "rank"))
    return Profile(
        tables=_with_processes(tables),
        rank=None if rank == ABSENT else rank,
        gpus=_gpus(properties),
        cuda=str(max(whole_number(head.get("cuda_driver_version"), 0), 0)),
        unknown=_unknown(tables, events),
        notes=tuple(notes),
        seen=(*events.others,)[:_LISTED],
        is_drawn=str(_inner(head, "otherData", "made by")).startswith("pytest-nsys"),
    )


def _inner(head: Mapping[str, Any], key: str, name: str) -> Any:
    inner = head.get(key)
    return inner.get(name) if isinstance(inner, dict) else None


_HEAD = frozenset({"baseTimeNanoseconds", "distributedInfo", "cuda_driver_version", "otherData"})


class _Events:
    """The events of a file as rows."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._numbers: dict[tuple[str, str], int] = {}
        on_gpu = ("start", "end", "deviceId", "contextId", "streamId", "correlationId")
        self._rows = {
            schema.KERNEL: Rows(
                (*on_gpu, "graphNodeId", "demangledName", "shortName", *_CONFIGURED)
            ),
            schema.MEMCPY: Rows(
                (*on_gpu, "graphNodeId", "bytes", "copyKind", "srcKind", "dstKind")
            ),
            schema.MEMSET: Rows((*on_gpu, "graphNodeId", "bytes", "memKind")),
            schema.RUNTIME: Rows(("start", "end", "globalTid", "correlationId", "nameId")),
            schema.NVTX: Rows(("start", "end", "eventType", "textId", "globalTid", "domainId")),
        }
        self._readers: Mapping[str, Callable[[str, dict[str, Any]], tuple[int, ...]]] = {
            schema.KERNEL: self._kernel,
            schema.MEMCPY: _copy,
            schema.MEMSET: _set,
        }
        self.others: dict[str, None] = {}
        self.memory_events = 0
        self.hip = False
        self.graph_launches: set[int] = set()

    def add(self, event: Any) -> None:
        if not isinstance(event, dict):
            return
        kind, name = event.get("cat"), event.get("name")
        if event.get("ph") != "X":
            self.memory_events += name == "[memory]"
            return
        name, kind = (one if isinstance(one, str) else "" for one in (name, kind))
        is_step = name.startswith(STEP) and _STEP.fullmatch(name) is not None
        table = schema.NVTX if kind in _STEPPED and is_step else _KINDS.get(kind)
        if table is None:
            if len(self.others) < _FEW:
                self.others[kind[:80]] = None
            return
        start, length = nanoseconds(event.get("ts")), nanoseconds(event.get("dur"))
        end = ABSENT if ABSENT in (start, length) else start + length
        args = event.get("args")
        args = args if isinstance(args, dict) else {}
        if table == schema.NVTX:
            text = self._names.number(STEP if is_step else name)
            self._rows[table].add(start, end, NvtxType.PUSH_POP, text, self._thread(event), 0)
            return
        correlation = whole_number(args.get("correlation"))
        if table == schema.RUNTIME:
            if _GRAPH_LAUNCH.match(name):
                self.graph_launches.add(correlation)
            self.hip = self.hip or name.startswith("hip")
            number = self._names.number(name)
            self._rows[table].add(start, end, self._thread(event), correlation, number)
            return
        node = whole_number(args.get("graph node id"))
        self._rows[table].add(
            start,
            end,
            whole_number(args.get("device"), whole_number(event.get("pid"))),
            whole_number(args.get("context")),
            whole_number(args.get("stream"), whole_number(event.get("tid"))),
            correlation,
            node if node else ABSENT,  # 0 is of none
            *self._readers[table](name, args),
        )

    def tables(self, base: int) -> dict[str, dict[str, Ints]]:
        """The rows as columns, times from 1970 or from whatever the file counts."""
        found = {name: rows.integers() for name, rows in self._rows.items()}
        for columns in found.values():
            for side in ("start", "end"):
                times = columns[side]
                moved = np.abs(times) < mending.LATEST  # others are refused later
                times[moved & (times != ABSENT)] += base
        return found

    def _kernel(self, name: str, args: dict[str, Any]) -> tuple[int, ...]:
        number = self._names.number(name)
        sizes = (*_extents(args.get("grid")), *_extents(args.get("block")))
        used = (args.get("registers per thread"), args.get("shared memory"))
        # Shared memory is that of both kinds; local memory is not in it.
        return number, number, *sizes, *map(whole_number, used), 0, 0

    def _thread(self, event: dict[str, Any]) -> int:
        return serialised(
            self._numbered("pid", event.get("pid")), self._numbered("tid", event.get("tid"))
        )

    def _numbered(self, what: str, value: Any) -> int:
        """The number of a process or thread; one more for what cannot be that."""
        number = whole_number(value)
        if schema.fits(number):
            return number
        return self._numbers.setdefault((what, repr(value)[:80]), len(self._numbers) + 1)


def _extents(value: Any) -> tuple[int, ...]:
    """Extents in x, y and z."""
    if isinstance(value, list) and len(value) == 3:
        return tuple(map(whole_number, value))
    return ABSENT, ABSENT, ABSENT


def _copy(name: str, args: dict[str, Any]) -> tuple[int, ...]:
    parts = _COPY.fullmatch(name)
    size = whole_number(args.get("bytes"))
    if parts is None:
        return size, ABSENT, ABSENT, ABSENT
    source, target = (_MEMORIES.get(parts[side], ABSENT) for side in (2, 3))
    return size, _COPY_KINDS.get(parts[1], ABSENT), source, target


def _set(name: str, args: dict[str, Any]) -> tuple[int, ...]:
    parts = _SET.fullmatch(name)
    kind = _MEMORIES.get(parts[1], ABSENT) if parts else ABSENT
    return whole_number(args.get("bytes")), kind


def nanoseconds(value: Any) -> int:
    """µs as ns, exact; `ABSENT` of what is no number."""
    if type(value) is int:
        return value * 1000
    if not isinstance(value, str):
        return ABSENT
    whole, _, part = value.partition(".")
    if len(part) <= 3 and len(whole) < 20 and whole.isdecimal() and (part or "0").isdecimal():
        return int(whole) * 1000 + int((part + "000")[:3])
    try:
        return round(Decimal(value[:40]) * 1000)
    except (InvalidOperation, ValueError, OverflowError):
        return ABSENT


def whole_number(value: Any, otherwise: int = ABSENT) -> int:
    """A whole number that some versions write as a text; what is none is ``otherwise``."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal():
        return int(value)
    return value if type(value) is int else otherwise


def small_number(value: Any, otherwise: int = 0) -> int:
    """A whole number of something that is counted or numbered; what is none is ``otherwise``."""
    number = whole_number(value)
    return number if 0 <= number < _LARGEST_NUMBER else otherwise


def _once(
    name: str, columns: dict[str, Ints], events: _Events, notes: list[str]
) -> dict[str, Ints]:
    """The rows without those that are there before.

    The kernels of a CUDA graph have one correlation, and in whole µs may have the same times: they
    stay.
    """
    repeated = pd.DataFrame(columns, copy=False).duplicated().to_numpy()
    if name in OPERATIONS:
        correlation = columns["correlationId"]
        unique = (correlation != ABSENT) & ~np.isin(correlation, [*events.graph_launches])
        repeated = repeated & (unique | (columns["graphNodeId"] != ABSENT))
    return mending.dropped(columns, repeated, name, "are there twice", notes)


def _with_processes(tables: Mapping[str, dict[str, Ints]]) -> dict[str, dict[str, Ints]]:
    """Operations with the process of the call that launched them, or else of most calls."""
    calls, ranges = tables[schema.RUNTIME], tables[schema.NVTX]
    of_calls = schema.process_id(calls["globalTid"])
    callers = of_calls if len(of_calls) else schema.process_id(ranges["globalTid"])
    found, counts = np.unique(callers, return_counts=True)
    main = int(found[counts.argmax()]) if len(found) else NOBODY
    whose = (
        dict(zip(calls["correlationId"][::-1].tolist(), of_calls[::-1].tolist(), strict=True))
        if len(found) > 1
        else {}
    )
    for name in OPERATIONS:
        correlations = tables[name]["correlationId"].tolist() if whose else ()
        pids = [whose.get(one, main) for one in correlations]
        tables[name]["globalPid"] = (
            np.array(pids, np.int64) if whose else np.full(len(tables[name]["start"]), main)
        )
    return {**tables}


def _gpus(properties: list[Any]) -> tuple[TraceGpu, ...]:
    found = []
    for number, one in enumerate(properties):
        if isinstance(one, dict):
            major, minor, count = (
                small_number(one.get(key)) for key in ("computeMajor", "computeMinor", "numSms")
            )
            found.append(
                TraceGpu(
                    id=small_number(one.get("id"), number),
                    name=str(one.get("name", ""))[:200],
                    multiprocessors=count,
                    capability=(major, minor) if major else None,
                )
            )
    return tuple(found)


def _unknown(tables: Mapping[str, Mapping[str, Ints]], events: _Events) -> dict[str, str]:
    """See `Trace.unknown`."""
    blocks = "; its [memory] events are of PyTorch's allocator, which are blocks of what it keeps"
    found = {
        "mem.*": "what the driver allocates is not in it"
        + (blocks if events.memory_events else ""),
        "api*": "calls that Kineto takes for frequent are left out of it (cudaGetDevice, "
        "cudaEventCreate, most of the driver's)",
    }
    copies = tables[schema.MEMCPY]
    by_call = ("sync.*", "graph.*", "memcpy.pageable")
    if not len(tables[schema.RUNTIME]["start"]):
        found |= dict.fromkeys(("api*", *by_call, "launch.*"), "calls of CUDA are not in it")
        if not len(copies["start"]) and not len(tables[schema.MEMSET]["start"]):
            found |= dict.fromkeys(("memcpy.*", "memset.*"), "copies are not in it")
            del found["memcpy.pageable"]
    elif events.hip:
        found |= dict.fromkeys(by_call, "its calls are HIP's, which are not told apart")
    if (copies["bytes"] == ABSENT).any():
        sizes = ("memcpy.*.bytes", "memcpy.*.throughput")
        found |= dict.fromkeys(sizes, "sizes of copies are not in it")
    sides = (copies["srcKind"] == ABSENT) | (copies["dstKind"] == ABSENT)
    if sides.any() and "memcpy.*" not in found:
        found.setdefault("memcpy.pageable", "copies in it do not say from or to which memory")
    return found
