"""libcupti: finding it, calling it, and what its errors mean.

By ctypes, of the library that the process has, or that its packages have brought: PyTorch depends
on one. Nothing else is needed for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Final

from pytest_nsys.errors import (
    CuptiError,
    CuptiForbidden,
    CuptiNotFound,
    CuptiTaken,
    CuptiUnfit,
)
from pytest_nsys.support.own import own, read_bytes

_NAME = "libcupti.so"
_PACKAGES = ("nvidia-cuda-cupti", "nvidia-cuda-cupti-cu13", "nvidia-cuda-cupti-cu12")
_FOLDERS = ("/usr/local/cuda/extras/CUPTI/lib64", "/usr/local/cuda/lib64")
_HOW = "pip install nvidia-cuda-cupti (PyTorch brings it along), or use nsys_capture = nsys"

DRIVER: Final = 1
RUNTIME: Final = 2
"""Domains of callbacks, by which calls of CUDA are numbered (CUpti_CallbackDomain)."""

_FORCED = 1  # CUPTI_ACTIVITY_FLAG_FLUSH_FORCED
_SYSTEM_THREADS = 1  # CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM

_PRIVILEGES = (35, 40)
_IN_USE = (26, 36, 39)
_DEVICES: Mapping[int, str] = {
    33: "virtual GPUs",
    41: "confidential computing",
    42: "this mining GPU",
    43: "MIG instances",
    44: "SLI",
    45: "WSL",
}
_NO_MORE = 12  # CUPTI_ERROR_MAX_LIMIT_REACHED
_NOT_INITIALISED = (15, 999)
"""CUptiResult: what CUPTI says of a driver that is missing, or older than it, too."""


def find_library() -> str:
    """The libcupti that this process has loaded already, else that of NVIDIA's package or toolkit.

    Raises:
        CuptiNotFound: there is none.
    """
    for path in _loaded():
        return path
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            for file in metadata.files(package) or ():
                if file.name.startswith(_NAME):
                    return str(file.locate())
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):
            for name in sorted(own.listdir(folder)):
                if name == _NAME:
                    return f"{folder}/{name}"
    raise CuptiNotFound(
        "libcupti was not found",
        evidence=f"this process has not loaded it, none of {', '.join(_PACKAGES)} is installed, "
        f"and there is none in {' or '.join(_FOLDERS)}",
        remedy=_HOW,
    )


def _loaded() -> list[str]:
    lines = read_bytes("/proc/self/maps").decode("utf-8", "replace").splitlines()
    paths = (line.split(maxsplit=5)[-1] for line in lines)
    return [path for path in paths if os.path.basename(path).startswith(_NAME)]  # noqa: PTH119


def load(path: str) -> Any:
    """The library; its functions are attributes.

    Raises:
        CuptiNotFound: it cannot be loaded.
    """
    try:
        return own.Library(path)
    except OSError as error:
        raise CuptiNotFound("libcupti cannot be loaded", evidence=str(error), remedy=_HOW) from None


def cuda_of(version: int) -> str:
    """The CUDA that a libcupti belongs to: ``13.0`` of 130001; "" of one that has another scheme.

    Until CUDA 12 versions are numbers that count up: 26 is that of 12.8, 28 of 12.9.
    """
    if version >= 100000:
        return f"{version // 10000}.{version % 10000 // 100}"
    return {24: "12.6", 26: "12.8", 28: "12.9"}.get(version, "")


class Library:
    """The functions of libcupti that are called, each with what its errors mean.

    Args:
        functions: the library, from `load`.
        driver: the CUDA version that the driver has, as a number (13000); 0 if there is no driver.

    Attributes:
        version: CUPTI_API_VERSION.
    """

    def __init__(self, functions: Any, driver: Callable[[], int] | None = None) -> None:
        self._cupti = functions
        self._driver = driver or driver_version
        version = ctypes.c_uint32()
        self._call("cuptiGetVersion", ctypes.byref(version))
        self.version = version.value

    @property
    def version_text(self) -> str:
        """The version as people write it: ``13.0``."""
        return cuda_of(self.version) or f"API {self.version}"

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._cupti, name)
        except AttributeError:
            raise CuptiUnfit(
                f"libcupti has no function {name}",
                remedy="install a newer nvidia-cuda-cupti, or use nsys_capture = nsys",
            ) from None
        result = function(*arguments)
        if result:
            raise self._failure(name, int(result))

    def _failure(self, name: str, result: int) -> CuptiError:
        text = ctypes.c_char_p()
        self._cupti.cuptiGetResultString(result, ctypes.byref(text))
        said = f"{name}: {(text.value or b'').decode('utf-8', 'replace')} ({result})"
        if result in _PRIVILEGES:
            return CuptiForbidden(
                "the driver does not let this user record what GPUs do",
                evidence=said,
                remedy="run as root, or have the administrator load the driver with "
                "NVreg_RestrictProfilingToAdminUsers=0",
            )
        if result in _IN_USE:
            return CuptiTaken(
                "another profiler uses CUPTI in this process, or the GPU",
                evidence=said,
                remedy="run without torch.profiler, Proton, nsys or ncu around these tests",
            )
        if result in _DEVICES:
            return CuptiUnfit(
                f"CUPTI does not record on {_DEVICES[result]}",
                evidence=said,
                remedy="use nsys_capture = nsys, or another GPU",
            )
        if result in _NOT_INITIALISED:
            return self._without_driver(said)
        return CuptiError("CUPTI failed", evidence=said, remedy="use nsys_capture = nsys")

    def _without_driver(self, said: str) -> CuptiError:
        """It says no more of a driver that is missing, or of one that is too old for it."""
        driver = self._driver()
        if not driver:
            return CuptiUnfit(
                "CUPTI finds no NVIDIA driver",
                evidence=f"{said}\nlibcuda.so.1 cannot be loaded, or there is no GPU",
                remedy="run on a machine with a GPU and its driver (nvidia-smi shows it); in a "
                "container, start it with the GPU (--gpus all)",
            )
        cuda, theirs = f"{driver // 1000}.{driver % 1000 // 10}", cuda_of(self.version)
        old = driver // 1000 < self.version // 10000
        return CuptiUnfit(
            f"the driver is too old for CUPTI {theirs}" if old else "CUPTI cannot be used",
            evidence=f"{said}\nthe driver is of CUDA {cuda}, libcupti of CUDA {theirs}",
            remedy="update the driver, or install a libcupti of its version "
            f"(pip install 'nvidia-cuda-cupti-cu{driver // 1000}')"
            if old
            else "use nsys_capture = nsys",
        )

    def register(self, requested: Any, completed: Any) -> None:
        """Have buffers asked for, and given back, by these callbacks."""
        self._call("cuptiActivityRegisterCallbacks", requested, completed)

    def use_system_threads(self) -> None:
        """Have threads numbered as the system does."""
        self._call("cuptiSetThreadIdType", _SYSTEM_THREADS)

    def enable(self, kind: int) -> None:
        """Record this kind from now on."""
        self._call("cuptiActivityEnable", kind)

    def disable(self, kind: int) -> None:
        """Do not record this kind any more."""
        self._call("cuptiActivityDisable", kind)

    def enable_call(self, domain: int, number: int, *, record: bool) -> None:
        """Record calls of this function from now on, or not any more."""
        name = "Runtime" if domain == RUNTIME else "Driver"
        self._call(f"cuptiActivityEnable{name}Api", number, ctypes.c_uint8(record))

    def flush(self) -> None:
        """Have all buffers given back, with records that are not complete, too."""
        self._call("cuptiActivityFlushAll", _FORCED)

    def dropped(self) -> int:
        """How many records were lost since this was asked last."""
        count = ctypes.c_size_t()
        self._call("cuptiActivityGetNumDroppedRecords", None, 0, ctypes.byref(count))
        return count.value

    def now(self) -> int:
        """CUPTI's clock, by which records have their times, ns."""
        time_ns = ctypes.c_uint64()
        self._call("cuptiGetTimestamp", ctypes.byref(time_ns))
        return time_ns.value

    def call_name(self, domain: int, number: int) -> str:
        """The name of a function, such as ``cudaLaunchKernel_v7000``; "" if there is none."""
        text = ctypes.c_char_p()
        known = self._cupti.cuptiGetCallbackName(domain, number, ctypes.byref(text)) == 0
        return (text.value or b"").decode("ascii", "replace") if known else ""

    def record_after(self, buffer: int, length: int, record: int) -> int:
        """The address of the record that follows one (0 for the first); 0 where none does."""
        found = ctypes.c_void_p(record or None)
        step = self._cupti.cuptiActivityGetNextRecord
        result = step(ctypes.c_void_p(buffer), ctypes.c_size_t(length), ctypes.byref(found))
        if result not in (0, _NO_MORE):
            raise self._failure("cuptiActivityGetNextRecord", int(result))
        return 0 if result else found.value or 0


def driver_version() -> int:
    """The CUDA version that the driver has, as a number (13000); 0 if there is none."""
    version = ctypes.c_int()
    with contextlib.suppress(OSError, AttributeError):
        driver = own.Library("libcuda.so.1")
        if driver.cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value
    return 0
