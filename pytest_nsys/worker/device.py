"""Waiting for the GPU, without starting it: the CUDA driver API of whatever is loaded already.

Tests choose their own framework, or none, so this speaks to ``libcuda`` directly, and only where
the process has loaded it and created a context. Anything else would make the worker a user of
the GPU by itself and change what is measured.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from pytest_nsys.support.own import own

_SUCCESS = 0
_LOADED = os.RTLD_NOLOAD | os.RTLD_NOW


def _loaded_driver() -> Any | None:
    """``libcuda``, if this process has it already."""
    try:
        return own.Library("libcuda.so.1", mode=_LOADED)
    except OSError:
        return None


def synchronize(driver: Callable[[], Any | None] = _loaded_driver) -> int:
    """Wait until every CUDA context of this process that we can reach is idle.

    These are the current context of the calling thread and the primary context of each device
    (what the CUDA runtime and all frameworks use).

    Returns:
        The number of contexts waited for; 0 where CUDA is not in use.
    """
    cuda = driver()
    if cuda is None:
        return 0
    waited = 0
    current = ctypes.c_void_p()
    if cuda.cuCtxGetCurrent(ctypes.byref(current)) == _SUCCESS and current.value:
        cuda.cuCtxSynchronize()
        waited += 1
    count = ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
        return waited
    for device in range(count.value):
        waited += _synchronize_primary(cuda, device, current.value)
    return waited


def _synchronize_primary(cuda: Any, device: int, current: int | None) -> int:
    flags, active = ctypes.c_uint(), ctypes.c_int()
    status = cuda.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
    if status != _SUCCESS or not active.value:
        return 0
    context = ctypes.c_void_p()
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) != _SUCCESS:
        return 0
    try:
        if context.value == current:
            return 0
        if cuda.cuCtxPushCurrent_v2(context) != _SUCCESS:
            return 0
        cuda.cuCtxSynchronize()
        cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        return 1
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)
