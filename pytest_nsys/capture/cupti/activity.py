"""CUPTI's activity in this process: switched on and off, and the buffers that it fills."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_nsys.capture.cupti.calls import is_recorded
from pytest_nsys.capture.cupti.library import DRIVER as DRIVER_DOMAIN
from pytest_nsys.capture.cupti.library import RUNTIME as RUNTIME_DOMAIN
from pytest_nsys.capture.cupti.library import Library
from pytest_nsys.capture.cupti.records import (
    DRIVER,
    KERNEL,
    MEMCPY,
    MEMSET,
    PEER,
    RUNTIME,
    offsets_by_kind,
    offsets_by_steps,
    read_records,
    sizes_of,
)
from pytest_nsys.errors import CuptiUnread
from pytest_nsys.support.arrays.rows import Ints

BUFFER: Final = 16 * 2**20
"""Bytes of a buffer: some 100,000 records, so that callbacks are few."""

OPERATIONS: Final = (KERNEL, MEMCPY, PEER, MEMSET)
"""What runs on a GPU."""

_DOMAINS: Mapping[int, int] = {RUNTIME: RUNTIME_DOMAIN, DRIVER: DRIVER_DOMAIN}
_MOST_CALLS = 4096
_GAP = 32
"""So many numbers without a name are the end of a domain: a few are of functions that are gone."""


class Activity:
    """What CUPTI records, and the buffers in which it does.

    Args:
        library: libcupti.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self._sizes = sizes_of(library.version)
        self._lent: dict[int, npt.NDArray[np.uint8]] = {}
        self._full: list[npt.NDArray[np.uint8]] = []
        self._names: dict[int, dict[int, str]] = {}
        self.callbacks = 0
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

    def _request(self, buffer: Any, size: Any, most: Any) -> None:
        self.callbacks += 1
        memory = np.empty(BUFFER, np.uint8)  # aligned to 16 bytes; CUPTI wants 8
        self._lent[memory.ctypes.data] = memory
        buffer[0], size[0], most[0] = memory.ctypes.data, BUFFER, 0

    def _complete(self, _context: int, _stream: int, buffer: int, _size: int, valid: int) -> None:
        self.callbacks += 1
        memory = self._lent.pop(buffer, None)  # None: another profiler lent it
        if valid and memory is not None:
            self._full.append(memory[:valid])

    def register(self) -> None:
        """Have CUPTI use this object's buffers, whosever it used until now."""
        self.library.register(self._requested, self._completed)

    def start(self, kinds: Sequence[int]) -> None:
        """Record these kinds from now on."""
        for kind in kinds:
            self.library.enable(kind)

    def stop(self, kinds: Sequence[int]) -> None:
        """Do not record these kinds any more."""
        for kind in kinds:
            self.library.disable(kind)

    def record_calls(self, record: bool) -> None:
        """Record the calls that nsys records from now on, or none any more."""
        for kind, domain in _DOMAINS.items():
            for number in self.calls(kind):
                self.library.enable_call(domain, number, record=record)

    def calls(self, kind: int) -> Mapping[int, str]:
        """The names of the calls that are recorded of the runtime or the driver, by number."""
        if kind not in self._names:
            named = self._named(_DOMAINS[kind])
            self._names[kind] = {one: name for one, name in named.items() if is_recorded(name)}
        return self._names[kind]

    def _named(self, domain: int) -> dict[int, str]:
        found: dict[int, str] = {}
        for number in range(1, _MOST_CALLS):
            if name := self.library.call_name(domain, number):
                found[number] = name
            elif number - max(found, default=0) > _GAP:
                break
        return found

    def call_name(self, runtime: bool, number: int) -> str:
        """The name of a call; "" of one that is not recorded."""
        return self.calls(RUNTIME if runtime else DRIVER).get(number, "")

    def read(self) -> dict[int, npt.NDArray[Any]]:
        """What was recorded since the last time, of all that is complete.

        Raises:
            CuptiUnread: it is not laid out as is known, or some was lost.
            CuptiError: CUPTI failed.
        """
        return read_records(self.take(), self._places())

    def take(self) -> list[npt.NDArray[np.uint8]]:
        """The buffers that were filled since the last time.

        Raises:
            CuptiUnread: records were lost.
            CuptiError: CUPTI failed.
        """
        self.library.flush()
        full, self._full = self._full, []
        if dropped := self.library.dropped():
            raise CuptiUnread(
                f"CUPTI has lost {dropped:,} records",
                evidence="cuptiActivityGetNumDroppedRecords",
                remedy="measure less in a round: there was no memory for what CUPTI recorded",
            )
        return full

    def _places(self) -> Callable[[npt.NDArray[np.uint8]], Mapping[int, Ints]]:
        if self._sizes:
            return lambda data: offsets_by_kind(data, self._sizes)
        return lambda data: offsets_by_steps(data, self.library.record_after)


def text_at(address: int) -> str:
    """A text of C, by its address."""
    return ctypes.string_at(address).decode("utf-8", "replace") if address else ""
