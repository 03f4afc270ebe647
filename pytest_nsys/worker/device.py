"""Waiting for the GPU, without starting it: the CUDA driver API of whatever is loaded already.

Tests choose their own framework, or none, so this speaks to ``libcuda`` directly, and only where
the process has loaded it and created a context. Anything else would make the worker a user of
the GPU by itself and change what is measured.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

from pytest_nsys.support.own import own

_SUCCESS = 0
_L2_CACHE_SIZE = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
_LOADED = os.RTLD_NOLOAD | os.RTLD_NOW


def loaded_driver() -> Any | None:
    """``libcuda``, if this process has it already."""
    try:
        return own.Library("libcuda.so.1", mode=_LOADED)
    except OSError:
        return None


def synchronize(driver: Callable[[], Any | None] = loaded_driver) -> int:
    """Wait until every CUDA context of this process that we can reach is idle.

    Returns:
        The number of contexts waited for; 0 where CUDA is not in use.
    """
    cuda = driver()
    if cuda is None:
        return 0
    waited = 0
    for _ in _contexts(cuda):
        cuda.cuCtxSynchronize()
        waited += 1
    return waited


def _contexts(cuda: Any) -> Iterator[int]:
    """Every context of this process that we can reach, current as long as it is its turn.

    These are the current context of the calling thread and the primary context of each device
    (what the CUDA runtime and all frameworks use).
    """
    current = ctypes.c_void_p()
    if cuda.cuCtxGetCurrent(ctypes.byref(current)) == _SUCCESS and current.value:
        yield current.value
    count = ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
        return
    for device in range(count.value):
        yield from _primary(cuda, device, current.value)


def _primary(cuda: Any, device: int, current: int | None) -> Iterator[int]:
    """The primary context of a device, if it is in use and is not the current one."""
    flags, active = ctypes.c_uint(), ctypes.c_int()
    status = cuda.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
    if status != _SUCCESS or not active.value:
        return
    context = ctypes.c_void_p()
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) != _SUCCESS:
        return
    try:
        if context.value == current or cuda.cuCtxPushCurrent_v2(context) != _SUCCESS:
            return
        yield context.value or 0
        cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)


class L2Flush:
    """Empties the L2 cache of every device in use, by writing more than fits into it.

    So do NVBench and Triton's ``do_bench``. The buffers are twice as large as the cache, of whose
    lines a device with a divided L2 may keep two copies.
    """

    def __init__(self, driver: Callable[[], Any | None] = loaded_driver) -> None:
        self._driver = driver
        self._buffers: dict[int, tuple[int, int]] = {}

    def prepare(self) -> None:
        """Allocate the buffers, in each context that is in use now."""
        cuda = self._driver()
        if cuda is None:
            return
        for context in _contexts(cuda):
            if context not in self._buffers:
                size, address = 2 * _l2_bytes(cuda), ctypes.c_uint64()
                allocate = cuda.cuMemAlloc_v2
                if size and allocate(ctypes.byref(address), ctypes.c_size_t(size)) == _SUCCESS:
                    self._buffers[context] = address.value, size

    def flush(self) -> bool:
        """Write the buffers, and wait until that is done; whether it was, in all contexts."""
        cuda = self._driver()
        flushed = [self._write(cuda, one) for one in _contexts(cuda)] if cuda is not None else []
        return bool(flushed) and all(flushed)

    def release(self) -> None:
        """Free the buffers."""
        cuda = self._driver()
        if cuda is None:
            return
        for context in _contexts(cuda):
            if context in self._buffers:
                cuda.cuMemFree_v2(ctypes.c_uint64(self._buffers.pop(context)[0]))
        self._buffers.clear()  # of contexts that are gone

    def _write(self, cuda: Any, context: int) -> bool:
        """In the context, which is current."""
        if context not in self._buffers:
            return False
        address, size = self._buffers[context]
        written = cuda.cuMemsetD8_v2(
            ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size)
        )
        return bool(written == _SUCCESS == cuda.cuCtxSynchronize())


def _l2_bytes(cuda: Any) -> int:
    """The size of the current context's device's L2 cache; 0 if unknown."""
    device, size = ctypes.c_int(), ctypes.c_int()
    if cuda.cuCtxGetDevice(ctypes.byref(device)) != _SUCCESS:
        return 0
    asked = cuda.cuDeviceGetAttribute(ctypes.byref(size), _L2_CACHE_SIZE, device)
    return size.value if asked == _SUCCESS else 0
