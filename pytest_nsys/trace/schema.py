"""The tables and columns of an nsys export that we read; nothing else leaves a capture.

Tables are lazy (no data, no table) and columns come and go between schema versions, so every
column here is asked for by presence.

Processes and threads have serialised ids: one integer, unique within a capture. The low 24 bits are
the operating system's number of the thread, the 24 above them that of the process. The id of a
process is that of its threads with no thread in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pytest_nsys.support.arrays.rows import Ints

KERNEL: Final = "CUPTI_ACTIVITY_KIND_KERNEL"
MEMCPY: Final = "CUPTI_ACTIVITY_KIND_MEMCPY"
MEMSET: Final = "CUPTI_ACTIVITY_KIND_MEMSET"
RUNTIME: Final = "CUPTI_ACTIVITY_KIND_RUNTIME"
GRAPH_TRACE: Final = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
MEMORY: Final = "CUDA_GPU_MEMORY_USAGE_EVENTS"
CPU_FAULTS: Final = "CUDA_UM_CPU_PAGE_FAULT_EVENTS"
GPU_FAULTS: Final = "CUDA_UM_GPU_PAGE_FAULT_EVENTS"
SAMPLES: Final = "GPU_METRICS"
SAMPLED: Final = "TARGET_INFO_GPU_METRICS"
NVTX: Final = "NVTX_EVENTS"
STRINGS: Final = "StringIds"
DIAGNOSTIC: Final = "DIAGNOSTIC_EVENT"
GPU: Final = "TARGET_INFO_GPU"
CUDA_DEVICE: Final = "TARGET_INFO_CUDA_DEVICE"
SYSTEM: Final = "TARGET_INFO_SYSTEM_ENV"
SESSION: Final = "TARGET_INFO_SESSION_START_TIME"
ANALYSIS: Final = "ANALYSIS_DETAILS"
EXPORT: Final = "META_DATA_EXPORT"
OLD_EXPORT: Final = "EXPORT_META_DATA"  # its name in nsys 2022

_ON_GPU = ("start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid")
"""Of whatever runs on a GPU."""

Packing = tuple[tuple[str, int], ...]
"""Columns that become one number, and the bits of each; the first one is the highest, and there are
63 at most."""

CONFIGURATION: Final[Mapping[str, Packing]] = {
    "grid": (("gridX", 31), ("gridY", 16), ("gridZ", 16)),
    "block": (("registersPerThread", 12), ("blockX", 16), ("blockY", 16), ("blockZ", 16)),
    "memory": (
        ("staticSharedMemory", 20),
        ("dynamicSharedMemory", 20),
        ("localMemoryPerThread", 20),
    ),
}
"""How a kernel is launched. A table has millions of rows of few different ones; so packed, they are
read in half the time. The bits are those of CUDA's limits, and more."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    KERNEL: (
        *_ON_GPU,
        "demangledName",
        "shortName",
        "graphNodeId",
        *(column for packing in CONFIGURATION.values() for column, _ in packing),
    ),
    MEMCPY: (
        *_ON_GPU,
        "bytes",
        "copyKind",
        "srcKind",
        "dstKind",
        "srcDeviceId",
        "dstDeviceId",
        "graphNodeId",
    ),
    MEMSET: (*_ON_GPU, "bytes", "memKind", "graphNodeId"),
    GRAPH_TRACE: (*_ON_GPU, "graphId"),
    RUNTIME: ("start", "end", "globalTid", "correlationId", "nameId"),
    MEMORY: (
        "start",
        "globalPid",
        "deviceId",
        "contextId",
        "address",
        "bytes",
        "memKind",
        "memoryOperationType",
        "localMemoryPoolAddress",
        "localMemoryPoolUtilizedSize",
    ),
    CPU_FAULTS: ("start", "globalPid"),
    GPU_FAULTS: ("start", "end", "globalPid", "deviceId", "numberOfPageFaults"),
    SAMPLES: ("timestamp", "typeId", "metricId", "value"),
    SAMPLED: ("typeId", "metricId", "metricName"),
    NVTX: (
        "start",
        "end",
        "eventType",
        "text",
        "textId",
        "globalTid",
        "endGlobalTid",
        "domainId",
    ),
    STRINGS: ("id", "value"),
    DIAGNOSTIC: ("severity", "text"),
    GPU: (
        "id",
        "name",
        "totalMemory",
        "smCount",
        "memoryBandwidth",
        "computeMajor",
        "computeMinor",
    ),
    CUDA_DEVICE: ("gpuId", "cudaId", "pid"),
    SYSTEM: ("name", "value"),
    SESSION: ("utcEpochNs",),
    ANALYSIS: ("duration",),
    EXPORT: ("name", "value"),
    OLD_EXPORT: ("name", "value"),
}
"""Per table, the columns that are read (and kept in a recording, but for `PASSING`)."""

PASSING: Final = frozenset({SESSION, ANALYSIS})
"""Tables that are needed while a capture is new, and are not kept: they say when it was made."""

_OPERATION: Final = frozenset({"start", "end", "globalPid", "correlationId"})
_PAIRS: Final = frozenset({"name", "value"})

NEEDED: Final[Mapping[str, frozenset[str]]] = {
    KERNEL: _OPERATION | {"demangledName"},
    MEMCPY: _OPERATION | {"bytes", "copyKind", "srcKind", "dstKind"},
    MEMSET: _OPERATION | {"bytes"},
    GRAPH_TRACE: _OPERATION,
    RUNTIME: frozenset({"start", "end", "globalTid", "correlationId", "nameId"}),
    MEMORY: frozenset({"start", "globalPid", "address", "bytes", "memKind", "memoryOperationType"}),
    CPU_FAULTS: frozenset({"start", "globalPid"}),
    GPU_FAULTS: frozenset({"start", "end", "globalPid", "numberOfPageFaults"}),
    SAMPLES: frozenset({"timestamp", "typeId", "metricId", "value"}),
    SAMPLED: frozenset({"typeId", "metricId", "metricName"}),
    NVTX: frozenset({"start", "end", "eventType", "globalTid"}),
    STRINGS: frozenset({"id", "value"}),
    DIAGNOSTIC: frozenset({"severity", "text"}),
    GPU: frozenset({"name"}),
    CUDA_DEVICE: frozenset({"gpuId", "cudaId", "pid"}),
    SYSTEM: _PAIRS,
    SESSION: frozenset(),
    ANALYSIS: frozenset(),
    EXPORT: _PAIRS,
    OLD_EXPORT: _PAIRS,
}
"""Per table, the columns that every version has and without which numbers would be wrong.

What is not here is of later versions, or its absence is seen: see the defects of a trace.
"""

DESCRIBING: Final = frozenset({GPU, CUDA_DEVICE, DIAGNOSTIC, SYSTEM, EXPORT, OLD_EXPORT})
"""Tables that only describe what was captured: where they cannot be understood, which is told,
measuring goes on without them."""

KNOWN_MAJOR: Final = 3
"""The first number of the schema versions that are known; 3.0 to 3.20 were seen."""

TABLES: Final = tuple(name for name in COLUMNS if name != OLD_EXPORT)
"""What ``nsys export`` is asked for, where it can select."""

SYSTEM_NAMES: Final = ("NvDriverVersion", "CudaDriverVersion")
"""Rows of `SYSTEM` that are read; its others describe the machine and its environment."""

EXPORT_NAMES: Final = ("EXPORT_PRODUCT_VERSION", "EXPORT_SCHEMA_VERSION")
"""Rows of `EXPORT` and `OLD_EXPORT` that are read."""


class MemcpyKind:
    """Values of MEMCPY.copyKind (ENUM_CUDA_MEMCPY_OPER)."""

    H2D = 1
    D2H = 2
    D2D = 8
    P2P = 10
    UM_H2D = 11
    UM_D2H = 12
    UM_D2D = 13
    LAST = 13


class MemKind:
    """Values of memory kinds (ENUM_CUDA_MEM_KIND)."""

    PAGEABLE = 0
    PINNED = 1
    DEVICE = 2
    ARRAY = 3
    MANAGED = 4
    DEVICE_STATIC = 5
    MANAGED_STATIC = 6
    LAST = 7  # of an unknown kind


class NvtxType:
    """Values of NVTX_EVENTS.eventType (ENUM_NSYS_EVENT_TYPE) that are read."""

    PUSH_POP = 59
    START_END = 60
    DOMAIN_CREATE = 75


SEVERITY_ERROR: Final = 3
"""DIAGNOSTIC_EVENT.severity of an error (2 is a warning)."""

_BITS = 24
_NUMBER = 0xFFFFFF

Ids = TypeVar("Ids", int, Ints)
"""One id, or an array of them."""


def process_id(ids: Ids) -> Ids:
    """The serialised process of serialised threads (or processes)."""
    return (ids >> _BITS) << _BITS


def serialised(process: int, thread: int = 0) -> int:
    """The serialised id of a thread of a process by their numbers; of the process, with none."""
    return (process << _BITS) | thread


def fits(number: int) -> bool:
    """Whether a process or thread can have this number in serialised ids."""
    return 0 < number <= _NUMBER


def process_number(ids: Ids) -> Ids:
    """The operating system's number of the process."""
    return (ids >> _BITS) & _NUMBER


def thread_number(ids: Ids) -> Ids:
    """The operating system's number of the thread."""
    return ids & _NUMBER
