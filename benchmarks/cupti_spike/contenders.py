"""Two ways to have CUPTI's records in Python: by cupti-python, and by ctypes and numpy alone.

Both have the same methods; what they hand out are records by kind (`records.FIELDS`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cupti_spike.records import (
    FIELDS,
    KERNEL,
    MEMORY,
    Session,
    UnknownLayout,
    offsets_by_kind,
    read_records,
    sizes_of,
)
from pytest_nsys.support.arrays.rows import Ints

BUFFER = 16 * 2**20
"""Bytes of a buffer: some 100,000 records, so that callbacks are few."""

_DRIVER_DOMAIN, _RUNTIME_DOMAIN = 1, 2
_FORCED = 1


class CuptiFailed(RuntimeError):
    """A call of CUPTI failed; says which, and what CUPTI calls the error."""


def find_libcupti() -> str:
    """The library that the process has loaded already, or else that of the newest NVIDIA package.

    PyTorch depends on ``nvidia-cuda-cupti`` (13) or ``nvidia-cuda-cupti-cu12``, and loads it.

    Raises:
        CuptiFailed: there is none.
    """
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    for line in maps.splitlines():
        path = line.split(maxsplit=5)[-1]
        if os.path.basename(path).startswith("libcupti.so"):  # noqa: PTH119
            return path
    from importlib.metadata import PackageNotFoundError, files

    for package in ("nvidia-cuda-cupti", "nvidia-cuda-cupti-cu12"):
        with contextlib.suppress(PackageNotFoundError):
            for file in files(package) or ():
                if file.name.startswith("libcupti.so"):
                    return str(file.locate())
    raise CuptiFailed("no libcupti: pip install nvidia-cuda-cupti")


class ByCtypes:
    """libcupti's C functions, and buffers read by numpy. Needs no package but numpy."""

    name = "ctypes"

    def __init__(self, library: str | None = None) -> None:
        self.library = library or find_libcupti()
        self._cupti = ctypes.CDLL(self.library)
        version = ctypes.c_uint32()
        self._call("cuptiGetVersion", ctypes.byref(version))
        self.version = version.value
        self.sizes: Mapping[int, int] = {}  # unknown: CUPTI's iterator is asked
        with contextlib.suppress(UnknownLayout):
            self.sizes = sizes_of(self.version)
        self._lent: dict[int, npt.NDArray[np.uint8]] = {}
        self._full: list[npt.NDArray[np.uint8]] = []
        self._registered = False
        self.callbacks = 0
        self.ranges: list[tuple[str, int, int]] = []
        # They have to live as long as CUPTI may call them: as this object does.
        pointer, size = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t)
        self._requested = ctypes.CFUNCTYPE(None, pointer, size, size)(self._request)
        self._completed = ctypes.CFUNCTYPE(
            None,
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_size_t,
        )(self._complete)

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._cupti, name)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._cupti.cuptiGetResultString(result, ctypes.byref(text))
            raise CuptiFailed(f"{name}: {(text.value or b'').decode()} ({result})")

    def _request(self, buffer: Any, size: Any, most: Any) -> None:
        self.callbacks += 1
        memory = np.empty(BUFFER, np.uint8)  # aligned to 16 bytes; CUPTI wants 8
        self._lent[memory.ctypes.data] = memory
        buffer[0], size[0], most[0] = memory.ctypes.data, BUFFER, 0

    def _complete(self, _context: int, _stream: int, buffer: int, _size: int, valid: int) -> None:
        self.callbacks += 1
        memory = self._lent.pop(buffer)
        if valid:
            self._full.append(memory[:valid])

    def start(self, kinds: Sequence[int]) -> None:
        """Record these kinds from now on."""
        if not self._registered:
            self._call("cuptiActivityRegisterCallbacks", self._requested, self._completed)
            self._registered = True
        for kind in kinds:
            self._call("cuptiActivityEnable", kind)

    def stop(self, kinds: Sequence[int]) -> None:
        """Record no more; what was recorded is there then."""
        for kind in kinds:
            self._call("cuptiActivityDisable", kind)
        self._call("cuptiActivityFlushAll", _FORCED)

    def take(self) -> list[npt.NDArray[np.uint8]]:
        """The buffers that were filled since the last call."""
        full, self._full = self._full, []
        return full

    def read(self) -> dict[int, npt.NDArray[Any]]:
        """What was recorded since the last call."""
        return read_records(self.take(), self.walked if self.sizes else self.iterated)

    def walked(self, data: npt.NDArray[np.uint8]) -> Mapping[int, Ints]:
        """Where records begin, by the sizes of this version."""
        return offsets_by_kind(data, self.sizes)

    def iterated(self, data: npt.NDArray[np.uint8]) -> Mapping[int, Ints]:
        """Where records begin, by CUPTI's own iterator."""
        step, record = self._cupti.cuptiActivityGetNextRecord, ctypes.c_void_p()
        begin = data.ctypes.data
        at, length, found = ctypes.c_void_p(begin), ctypes.c_size_t(len(data)), []
        while not step(at, length, ctypes.byref(record)):
            found.append((record.value or 0) - begin)
        offsets = np.array(found, np.int64)
        kinds = data.view("<u4")[offsets // 4]
        return {
            kind: offsets[kinds == kind] for kind in np.unique(kinds).tolist() if kind in FIELDS
        }

    def now(self) -> int:
        """CUPTI's clock, ns."""
        time_ns = ctypes.c_uint64()
        self._call("cuptiGetTimestamp", ctypes.byref(time_ns))
        return time_ns.value

    def call_name(self, runtime: bool, number: int) -> str:
        """The name of a call."""
        text = ctypes.c_char_p()
        domain = _RUNTIME_DOMAIN if runtime else _DRIVER_DOMAIN
        self._call("cuptiGetCallbackName", domain, number, ctypes.byref(text))
        return (text.value or b"").decode()

    @contextlib.contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A window of this name."""
        begin = self.now()
        yield
        self.ranges.append((name, begin, self.now()))

    def session(self) -> Session:
        """All that was recorded, by what it is called."""
        return Session(self.read(), self.ranges, os.getpid(), _text_at, self.call_name)


def _text_at(address: int) -> str:
    return ctypes.string_at(address).decode("utf-8", "replace") if address else ""


class ByCuptiPython:
    """NVIDIA's package (proprietary, an extra): each record is an object when the callback gets it,
    and its fields are attributes.

    The objects point into CUPTI's buffer as long as they live. So the same records can be read by
    numpy, from the first object's address on (`as_arrays`), at the cost of making the objects.
    """

    name = "cupti-python"

    def __init__(self, *, as_arrays: bool = False) -> None:
        from cupti import cupti

        self._cupti = cupti
        self._as_arrays = as_arrays
        self._ctypes = ByCtypes()  # for the names of calls, which it has no shorter way to
        self._found: dict[int, list[tuple[int, ...]]] = {}
        self._names: dict[int, str] = {}
        self._full: list[npt.NDArray[np.uint8]] = []
        self.callbacks = 0
        self.reading_s = 0.0
        self.ranges: list[tuple[str, int, int]] = []
        self.now = cupti.get_timestamp

    def start(self, kinds: Sequence[int]) -> None:
        """Record these kinds from now on."""
        self._cupti.activity_register_callbacks(lambda: (BUFFER, 0), self._complete)
        for kind in kinds:
            self._cupti.activity_enable(kind)

    def stop(self, kinds: Sequence[int]) -> None:
        """Record no more; what was recorded is there then."""
        for kind in kinds:
            self._cupti.activity_disable(kind)
        self._cupti.activity_flush_all(_FORCED)

    def _complete(self, activities: list[Any]) -> None:
        began = time.perf_counter()
        self.callbacks += 1
        if self._as_arrays and activities:
            last = activities[-1]
            begin, end = activities[0].ptr, last.ptr + self._ctypes.sizes[int(last.kind)]
            raw = (ctypes.c_uint8 * (end - begin)).from_address(begin)
            self._full.append(np.frombuffer(raw, np.uint8).copy())
        else:
            for one in activities:
                kind = int(one.kind)
                attributes = ATTRIBUTES.get(kind)
                if attributes is not None:
                    row = tuple(int(_attribute(one, name)) for name in attributes)
                    if kind == KERNEL:
                        text = one.name
                        number = hash(text) & 0x7FFFFFFFFFFFFFFF
                        self._names[number] = text
                        row = (*row, number)
                    self._found.setdefault(kind, []).append(row)
        self.reading_s += time.perf_counter() - began

    def read(self) -> dict[int, npt.NDArray[Any]]:
        """What was recorded since the last call."""
        if self._as_arrays:
            full, self._full = self._full, []
            return read_records(full, self._ctypes.walked)
        found, self._found = self._found, {}
        arrays = {}
        for kind, rows in found.items():
            names = [*ATTRIBUTES[kind].values(), *(["name"] if kind == KERNEL else [])]
            arrays[kind] = np.array(rows, np.dtype([(name, "<u8") for name in names]))
        return arrays

    @contextlib.contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A window of this name."""
        begin = self.now()
        yield
        self.ranges.append((name, begin, self.now()))

    def session(self) -> Session:
        """All that was recorded, by what it is called."""
        name = _text_at if self._as_arrays else self._names.__getitem__
        return Session(self.read(), self.ranges, os.getpid(), name, self._ctypes.call_name)


def _attribute(record: Any, path: str) -> Any:
    for name in path.split("."):
        record = getattr(record, name)
    return record


_SPELLED = {
    "direction": "copy_kind",
    "source": "src_kind",
    "target": "dst_kind",
    "device": "device_id",
    "context": "context_id",
    "stream": "stream_id",
    "source_device": "src_device_id",
    "target_device": "dst_device_id",
    "correlation": "correlation_id",
    "node": "graph_node_id",
    "process": "process_id",
    "thread": "thread_id",
    "memory": "memory_kind",
    "operation": "memory_operation_type",
    "pool_kind": "memory_pool_config.memory_pool_type",
    "pool": "memory_pool_config.address",
    "used": "memory_pool_config.utilized_size",
}
_OF_MEMORY = {"start": "timestamp"}

ATTRIBUTES = {
    kind: {
        (_OF_MEMORY if kind == MEMORY else {}).get(name, _SPELLED.get(name, name)): name
        for name in fields
        if not (kind == KERNEL and name == "name")
    }
    for kind, fields in FIELDS.items()
}
"""Per kind, the attributes of its objects, and what their values are called here."""
