"""The GPUs of this process, as far as CUDA or NVML say, without starting CUDA."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from pytest_nsys.gpu.devices import list_gpus, visible_gpus
from pytest_nsys.gpu.nvml import DEADLINE_S, answer_within, nvml_session
from pytest_nsys.trace.tables import TraceGpu
from pytest_nsys.worker.device import loaded_driver

# CUdevice_attribute
_MULTIPROCESSORS, _CLOCK_KHZ, _BUS_BITS, _MAJOR, _MINOR = 16, 36, 37, 75, 76


def gpus(driver: Callable[[], Any | None] = loaded_driver) -> tuple[TraceGpu, ...]:
    """The GPUs that CUDA shows to this process, by CUDA's numbers; where it has not begun to use
    CUDA, by their names alone, from NVML."""
    cuda, count = driver(), ctypes.c_int()
    if cuda is None or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return _by_nvml()
    return tuple(_described(cuda, number) for number in range(count.value))


def _described(cuda: Any, number: int) -> TraceGpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    cuda.cuDeviceGetName(name, len(name), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        failed = cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return 0 if failed else value.value

    return TraceGpu(
        number,
        name.value.decode("utf-8", "replace"),
        attribute(_MULTIPROCESSORS),
        # Two transfers in each clock, as NVIDIA's specifications and nsys have it.
        2 * attribute(_CLOCK_KHZ) * 1000 * attribute(_BUS_BITS) // 8,
        (attribute(_MAJOR), attribute(_MINOR)),
    )


def _by_nvml() -> tuple[TraceGpu, ...]:
    return answer_within(DEADLINE_S, _visible) or ()


def _visible() -> tuple[TraceGpu, ...]:
    try:
        with nvml_session() as nvml:
            found = visible_gpus(list_gpus(nvml), os.environ)
    except Exception:  # whatever is wrong, no GPU is known
        return ()
    return tuple(TraceGpu(number, one.gpu.name) for number, one in enumerate(found))


def driver_text() -> str:
    """The driver's version, such as ``580.95.05``; "" if NVML does not say."""
    return answer_within(DEADLINE_S, _version) or ""


def _version() -> str:
    try:
        with nvml_session() as nvml:
            said = nvml.nvmlSystemGetDriverVersion()
    except Exception:  # whatever is wrong, it is not known
        return ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
