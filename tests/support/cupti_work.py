"""What a device did, as CUPTI's records."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from pytest_nsys.capture.cupti.records import (
    DRIVER,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
)
from tests.simgpu.cupti import record

NAME = ctypes.create_string_buffer(b"gemm_kernel")
CALLS = {211: "cudaLaunchKernel_v7000", 41: "cudaMemcpyAsync_v3020", 3: "cudaGetDevice_v3020"}
CALLS |= {165: "cudaDeviceSynchronize_v3020"}
DRIVER_CALLS = {307: "cuLaunchKernel", 5: "cuCtxSynchronize"}


def launched(number: int, at: int, **more: int) -> list[bytes]:
    """A kernel, the runtime's call for it, and the driver's call within that."""
    call = {"start": at, "process": 1, "thread": 7, "correlation": number}
    place = {"device": 0, "context": 1, "stream": 7, "name": ctypes.addressof(NAME)}
    return [
        record(RUNTIME, cbid=211, end=at + 50, **call),
        record(DRIVER, cbid=307, **{**call, "start": at + 5}, end=at + 40),
        record(KERNEL, start=at + 100, end=at + 350, correlation=number, grid_x=3, **place, **more),
    ]


def work() -> list[bytes]:
    """What a device did between 1000 and 9000 ns."""
    copy = {"direction": 1, "source": 1, "target": 3, "bytes": 4096, "start": 2000, "end": 2500}
    call = {"start": 1900, "end": 1990, "thread": 7, "correlation": 2, "cbid": 41}
    frequent = {**call, "start": 1850, "end": 1860, "correlation": 11, "cbid": 3}
    wait = {"cbid": 165, "start": 6000, "end": 7000, "thread": 7, "correlation": 9}
    own = {"cbid": 307, "start": 7500, "end": 7600, "thread": 7, "correlation": 10}
    block = {"memory": 3, "address": 4096, "bytes": 2**20}
    return [
        record(MEMORY, operation=1, start=1100, **block),
        *launched(1, 1200),
        record(RUNTIME, **frequent),
        record(RUNTIME, **call),
        record(MEMCPY, correlation=2, **copy),
        record(PEER, **{**copy, "direction": 10}, source_device=0, target_device=1, correlation=2),
        record(MEMSET, bytes=64, start=2600, end=2700, correlation=2, memory=3),
        *launched(3, 3000, node=5),
        record(RUNTIME, **wait),
        record(DRIVER, **own),
        record(MEMORY, operation=2, start=8000, **block),
    ]


def as_bytes(*records: bytes) -> Any:
    """Records as CUPTI gives them back."""
    return np.frombuffer(b"".join(records), np.uint8)
