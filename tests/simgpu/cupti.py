"""A stand-in for libcupti: records, in CUPTI's layout, of what the simulated GPU does here.

It has the functions that are called of the real one, as an object that takes the place of what
ctypes loads. What goes wrong on purpose is in its attributes.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pytest_nsys.capture.cupti.records import (
    DRIVER,
    FIELDS,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    dtype_of,
    sizes_of,
)

VERSION = 130001
_COPIES = {"h2d": 1, "d2h": 2, "d2d": 8, "p2p": 10}
_PAGEABLE, _PINNED, _DEVICE = 1, 2, 3
_NO_MORE = 12
_RESULTS = {15: "NOT_INITIALIZED", 35: "INSUFFICIENT_PRIVILEGES", 43: "MIG_DEVICE_NOT_SUPPORTED"}
_RESULTS |= {39: "MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED", 8: "OUT_OF_MEMORY", 999: "UNKNOWN"}


def record(kind: int, version: int = VERSION, **values: int) -> bytes:
    """A record as CUPTI lays it into a buffer."""
    size = sizes_of(version)[kind]
    row = np.zeros(1, dtype_of(kind, size))
    for name, value in values.items():
        row[name] = value
    data = bytearray(row.tobytes())
    data[:4] = kind.to_bytes(4, "little")
    return bytes(data)


class StandIn:
    """The functions of libcupti.

    Args:
        log: the file that the simulated GPU writes to.

    Attributes:
        version: what it says it is.
        failing: by name of a function, what it returns instead of doing anything.
        to_drop: how many records it says to have dropped.
        callbacks: those that were registered last: another profiler's take the records.
        enabled: kinds that are recorded.
        calls: numbers of calls that are, by domain.
    """

    def __init__(self, log: Path, version: int = VERSION) -> None:
        self.version = version
        self.failing: dict[str, int] = {}
        self.to_drop = 0
        self.callbacks: tuple[Any, Any] | None = None
        self.enabled: set[int] = set()
        self.calls: dict[int, set[int]] = {1: set(), 2: set()}
        self._log = log
        self._place = 0
        self._names: dict[str, Any] = {}
        self._numbers: dict[int, dict[str, int]] = {1: {}, 2: {}}
        for name in ("cudaGetDevice_v3020", "cudaLaunchKernel_v7000", "cudaGraphLaunch_v10000"):
            self._number(name)
        for name in ("cudaMemcpyAsync", "cudaMemcpy", "cudaMemsetAsync", "cudaMalloc", "cudaFree"):
            self._number(f"{name}_v3020")
        for name in ("Device", "Stream", "Event"):
            self._number(f"cuda{name}Synchronize_v3020")
        self._number("cudaEventRecord_v3020")
        for name in ("cuCtxGetCurrent", "cuCtxSynchronize", "cuLaunchKernel"):
            self._number(name)

    def rewind(self) -> None:
        """The log is a new one."""
        self._place, self._pending = 0, []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cupti"):
            result = object.__getattribute__(self, "failing").get(name)
            if result is not None:
                return lambda *_: result
        return object.__getattribute__(self, name)

    def _number(self, name: str) -> int:
        numbers = self._numbers[2 if name.startswith("cuda") else 1]
        return numbers.setdefault(name, len(numbers) + 1)

    def cuptiGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuptiActivityRegisterCallbacks(self, *callbacks: Any) -> int:  # noqa: N802
        self.callbacks = callbacks
        return 0

    def cuptiSetThreadIdType(self, kind: int) -> int:  # noqa: N802
        return 0

    def cuptiActivityEnable(self, kind: int) -> int:  # noqa: N802
        self.enabled.add(kind)
        return 0 if kind in FIELDS else 21

    def cuptiActivityDisable(self, kind: int) -> int:  # noqa: N802
        self._gather()
        self.enabled.discard(kind)
        return 0

    def cuptiActivityEnableRuntimeApi(self, number: int, enable: Any) -> int:  # noqa: N802
        return self._enable(2, number, enable)

    def cuptiActivityEnableDriverApi(self, number: int, enable: Any) -> int:  # noqa: N802
        return self._enable(1, number, enable)

    def _enable(self, domain: int, number: int, enable: Any) -> int:
        self._gather()
        (self.calls[domain].add if enable.value else self.calls[domain].discard)(number)
        return 0

    def cuptiActivityFlushAll(self, flag: int) -> int:  # noqa: N802
        self._gather()
        data, self._pending = b"".join(self._pending), []
        if data and self.callbacks is not None:
            _give(*self.callbacks, data)
        return 0

    def cuptiActivityGetNumDroppedRecords(self, *arguments: Any) -> int:  # noqa: N802
        arguments[-1]._obj.value, self.to_drop = self.to_drop, 0
        return 0

    def cuptiActivityGetNextRecord(self, buffer: Any, length: Any, found: Any) -> int:  # noqa: N802
        at, sizes = found._obj.value, sizes_of(VERSION)
        at = at + sizes[ctypes.c_uint32.from_address(at).value] if at else buffer.value
        if at >= buffer.value + length.value:
            return _NO_MORE
        found._obj.value = at
        return 0

    def cuptiGetTimestamp(self, time_ns: Any) -> int:  # noqa: N802
        time_ns._obj.value = time.perf_counter_ns()
        return 0

    def cuptiGetCallbackName(self, domain: int, number: int, text: Any) -> int:  # noqa: N802
        names = {number: name for name, number in self._numbers[domain].items()}
        if number not in names:
            return 1
        text._obj.value = names[number].encode()
        return 0

    def cuptiGetResultString(self, result: int, text: Any) -> int:  # noqa: N802
        text._obj.value = f"CUPTI_ERROR_{_RESULTS.get(result, result)}".encode()
        return 0

    def wait(self) -> int:
        """What waits for the device does: a call of the driver's that is recorded."""
        self._gather()
        number, now = self._number("cuCtxSynchronize"), time.perf_counter_ns()
        if number in self.calls[1]:
            call = {"process": os.getpid(), "thread": 1, "correlation": 1}
            waited = record(DRIVER, cbid=number, start=now, end=now + 1, **call)
            self._pending = [*self._pending, waited]
        return 1

    # What the simulated GPU has done

    _pending: list[bytes] = []  # noqa: RUF012  (its own from the first record on)

    def _gather(self) -> None:
        """Take what is new in the log, as far as it is recorded now."""
        with self._log.open("rb") as file:
            file.seek(self._place)
            lines = file.read()
            self._place = file.tell()
        for line in lines.splitlines():
            call = json.loads(line)
            if call["kind"] == "call" and call["pid"] == os.getpid():
                self._pending = [*self._pending, *self._records(call)]

    def _records(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        if "memory" in call and MEMORY in self.enabled:
            event = call["memory"]
            yield record(
                MEMORY,
                operation=1 if event["op"] == "alloc" else 2,
                memory=_DEVICE,
                address=event["address"],
                bytes=event["bytes"],
                start=event["time"],
                device=call["device"],
                context=call["device"] + 1,
                correlation=call["correlation"],
            )
        name = call["api"]
        runtime = name.startswith("cuda")
        if runtime and "_v" not in name:
            version = {"cudaLaunchKernel": 7000, "cudaGraphLaunch": 10000}.get(name, 3020)
            name = f"{name}_v{version}"
        number = self._number(name)
        if number in self.calls[2 if runtime else 1]:
            yield record(
                RUNTIME if runtime else DRIVER,
                cbid=number,
                start=call["start"],
                end=call["end"],
                process=call["pid"],
                thread=call["tid"],
                correlation=call["correlation"],
            )
        for op in call.get("ops", ()):
            yield from self._operation(call, op)

    def _operation(self, call: Mapping[str, Any], op: Mapping[str, Any]) -> Iterator[bytes]:
        place = {
            "start": op["start"],
            "end": op["end"],
            "device": call["device"],
            "context": call["device"] + 1,
            "stream": call["stream"],
            "correlation": call["correlation"],
        }
        if op["op"] == "kernel" and KERNEL in self.enabled:
            grid, block, registers, shared, local = op.get("launched", (132, 128, 32, 0, 0))
            name = self._names.setdefault(op["name"], ctypes.create_string_buffer(_mangled(op)))
            yield record(
                KERNEL,
                **place,
                name=ctypes.addressof(name),
                node=op["graph_node"] or 0,
                registers=registers,
                **dict.fromkeys(("grid_y", "grid_z", "block_y", "block_z"), 1),
                grid_x=grid,
                block_x=block,
                dynamic_shared=shared,
                local=local,
            )
        elif op["op"] == "memset" and MEMSET in self.enabled:
            yield record(MEMSET, **place, bytes=op["bytes"], memory=_DEVICE)
        elif op["op"] == "memcpy" and MEMCPY in self.enabled:
            host = _PAGEABLE if op["pageable"] else _PINNED
            sides = {
                "source": host if op["copy"] == "h2d" else _DEVICE,
                "target": host if op["copy"] == "d2h" else _DEVICE,
            }
            copy = {**place, **sides, "bytes": op["bytes"], "direction": _COPIES[op["copy"]]}
            peer = {"source_device": call["device"], "target_device": call["device"] + 1}
            yield record(PEER, **copy, **peer) if op["copy"] == "p2p" else record(MEMCPY, **copy)


def _mangled(op: Mapping[str, Any]) -> bytes:
    """The kernel's name as a compiler has it."""
    name = str(op["name"])
    return f"_Z{len(name)}{name}v".encode() if name.isidentifier() else name.encode()


def _give(requested: Callable[..., object], completed: Callable[..., object], data: bytes) -> None:
    buffer, size, most = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(5)
    requested(ctypes.pointer(buffer), ctypes.pointer(size), ctypes.pointer(most))
    assert most.value == 0
    assert buffer.value is not None
    assert buffer.value % 8 == 0
    assert len(data) <= size.value
    ctypes.memmove(buffer.value, data, len(data))
    completed(None, 0, buffer.value, size.value, len(data))
