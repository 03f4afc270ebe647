"""Two ways to have CUPTI's records in Python: by cupti-python, and by ctypes and numpy alone.

Both have the same methods; what they hand out are records by kind (`records.FIELDS`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cupti_spike.records import Session
from pytest_nsys.capture.cupti.activity import BUFFER, Activity, text_at
from pytest_nsys.capture.cupti.library import Library, find_library, load
from pytest_nsys.capture.cupti.records import (
    DRIVER,
    FIELDS,
    KERNEL,
    MEMORY,
    RUNTIME,
    offsets_by_kind,
    offsets_by_steps,
    read_records,
    sizes_of,
)
from pytest_nsys.capture.cupti.tables import Around
from pytest_nsys.support.arrays.rows import Ints

_FORCED = 1
_CALLS = (RUNTIME, DRIVER)


class ByCtypes:
    """libcupti's C functions, and buffers read by numpy: as the product does it. Needs no package
    but numpy."""

    name = "ctypes"

    def __init__(self) -> None:
        self.activity = Activity(Library(load(find_library())))
        self.library = self.activity.library
        self.sizes = sizes_of(self.library.version)
        self.now = self.library.now
        self.ranges: list[tuple[str, int, int]] = []
        self._full: list[npt.NDArray[np.uint8]] = []

    @property
    def callbacks(self) -> int:
        """How often CUPTI has asked for a buffer or given one back."""
        return self.activity.callbacks

    def start(self, kinds: Sequence[int]) -> None:
        """Record these kinds from now on, and of calls those that nsys records."""
        self.activity.register()
        self.activity.start([kind for kind in kinds if kind not in _CALLS])
        if not set(kinds).isdisjoint(_CALLS):
            self.activity.record_calls(True)

    def stop(self, kinds: Sequence[int]) -> None:
        """Record no more; what was recorded is there then."""
        self.activity.stop([kind for kind in kinds if kind not in _CALLS])
        self.activity.record_calls(False)
        self._full = self.activity.take()

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
        return offsets_by_steps(data, self.library.record_after)

    @contextlib.contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A window of this name."""
        begin = self.now()
        yield
        self.ranges.append((name, begin, self.now()))

    def session(self) -> Session:
        """All that was recorded, by what it is called."""
        return Session(self.read(), self.ranges, self.around(text_at))

    def around(self, kernel_name: Callable[[int], str]) -> Around:
        """What is known beside the records."""
        return Around(os.getpid(), kernel_name, self.activity.call_name)


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
        name = text_at if self._as_arrays else self._names.__getitem__
        return Session(self.read(), self.ranges, self._ctypes.around(name))


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
    "registers": "registers_per_thread",
    "result": "return_value",
    "static_shared": "static_shared_memory",
    "dynamic_shared": "dynamic_shared_memory",
    "local": "local_memory_per_thread",
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
