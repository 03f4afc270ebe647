"""What CUDA API functions do, by their names: the one place that knows.

A capture has a function under the name of the version, and of the kind of default stream, that
the program was built for: ``cudaStreamSynchronize_ptsz_v7000``, ``cuCtxSynchronize_v2``.
"""

from __future__ import annotations

import re
from enum import IntEnum

from pytest_nsys.cuda.names import api_name


class CallClass(IntEnum):
    """What a CUDA API function does, as far as metrics and rules tell functions apart."""

    OTHER = 0
    SYNC = 1
    COPY = 2
    ASYNC_COPY = 3
    MEMSET = 4
    ALLOCATION = 5
    LOADING = 6


# The first pattern that matches the whole name, suffixes stripped, decides.
_CLASSES = (
    # Of devices, contexts (cuCtx, and from CUDA 13 on cudaExecutionCtx), streams and events; and
    # cudaThreadSynchronize, the name that cudaDeviceSynchronize had before CUDA 4, and still has.
    (CallClass.SYNC, r"cu(da)?[A-Z]\w*Synchronize"),
    (CallClass.ASYNC_COPY, r"cu(da)?Memcpy\w*Async"),
    (CallClass.COPY, r"cu(da)?Memcpy(?!\w*(Async|Node|Batch))\w*"),
    (CallClass.MEMSET, r"cu(da)?Memset(?!\w*(Async|Node))\w*"),
    # Stream-ordered allocations (cudaMallocAsync, cudaFreeAsync) come from a pool: they are cheap
    # and wait for nothing, so they are not among these.
    (CallClass.ALLOCATION, r"cuda(Malloc|Free|HostAlloc)(?!\w*(Async|Pool|Node))\w*"),
    (CallClass.ALLOCATION, r"cuda(HostRegister|HostUnregister)"),
    (CallClass.ALLOCATION, r"cu(Mem|Array|MipmappedArray)(Alloc|Free|HostAlloc)(?!\w*Async)\w*"),
    (
        CallClass.ALLOCATION,
        r"cuMem(Create|Release|Map|Unmap|SetAccess|HostRegister|HostUnregister)",
    ),
    (CallClass.LOADING, r"cu(da)?(Library|Module)(Load|Unload)\w*|cuModuleGetFunction"),
    (CallClass.LOADING, r"cu(da)?(KernelGetFunction|KernelSetAttribute|FuncSetAttribute)"),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _CLASSES)


def call_class(raw: str) -> CallClass:
    """The class of an API function, by its raw name."""
    name = api_name(raw)
    return next((kind for kind, found in _COMPILED if found.fullmatch(name)), CallClass.OTHER)


def blocks(raw: str) -> bool:
    """Whether the function, by its raw name, is a synchronisation: it only waits for the device."""
    return call_class(raw) is CallClass.SYNC
