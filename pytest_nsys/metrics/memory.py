"""Device memory over a test's span, from the allocation events of the capture."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pytest_nsys.cut import Cut, Floats, Ints
from pytest_nsys.trace.schema import MemKind
from pytest_nsys.trace.tables import Trace

_DEVICE_KINDS = (
    MemKind.DEVICE,
    MemKind.ARRAY,
    MemKind.MANAGED,
    MemKind.DEVICE_STATIC,
    MemKind.MANAGED_STATIC,
)
_ALLOC = 0


@dataclass(frozen=True)
class Allocation:
    """One allocation of device memory: ns, bytes; ``end`` is None while it lives."""

    start: int
    end: int | None
    bytes: int


class MemoryTimeline:
    """Live device memory over time, allocations and frees paired.

    They pair by process, context and address. A free that names no live allocation (its
    allocation was before the capture, or was not recorded) changes nothing; a second allocation
    at a live address replaces the first, whose free was not recorded.
    """

    def __init__(self, trace: Trace) -> None:
        memory = trace.memory[trace.memory["kind"].isin(_DEVICE_KINDS)]
        live: dict[tuple[int, int, int], int] = {}
        starts: list[int] = []
        ends: list[int | None] = []
        sizes: list[int] = []
        columns = ("start", "pid", "context", "address", "bytes", "operation")
        for time, pid, context, address, size, operation in zip(
            *(memory[column].to_list() for column in columns), strict=True
        ):
            key = (pid, context, address)
            before = live.pop(key, None)
            if before is not None:
                ends[before] = time
            if operation == _ALLOC:
                live[key] = len(starts)
                starts.append(time)
                ends.append(None)
                sizes.append(size)
        self.allocations = tuple(map(Allocation, starts, ends, sizes))

    @cached_property
    def _steps(self) -> tuple[Ints, Ints]:
        """Times of change, ascending, and the live bytes from each on."""
        ended = [part for part in self.allocations if part.end is not None]
        times = np.array(
            [part.start for part in self.allocations] + [part.end for part in ended],
            dtype=np.int64,
        )
        changes = np.array(
            [part.bytes for part in self.allocations] + [-part.bytes for part in ended],
            dtype=np.int64,
        )
        # Frees before allocations at one instant: a block that is replaced is not live twice.
        order = np.lexsort((changes, times))
        return times[order], np.cumsum(changes[order])

    def live_at(self, time: int) -> int:
        """Live bytes just before ``time``."""
        times, live = self._steps
        index = int(np.searchsorted(times, time, side="left"))
        return int(live[index - 1]) if index else 0

    def peak(self, start: int, end: int) -> tuple[int, int]:
        """The highest number of live bytes in [start, end), and the time it is first reached."""
        times, live = self._steps
        low, high = np.searchsorted(times, [start, end], side="left")
        before = self.live_at(start)
        if low >= high:
            return before, start
        top = int(low) + int(np.argmax(live[low:high]))
        return (int(live[top]), int(times[top])) if live[top] > before else (before, start)

    def live_allocations(self, since: int, time: int) -> list[Allocation]:
        """What was allocated from ``since`` on and is live at ``time``."""
        # Events come in the order of their time, and so do the allocations.
        low = bisect.bisect_left(self.allocations, since, key=_start)
        high = bisect.bisect_right(self.allocations, time, key=_start)
        return [part for part in self.allocations[low:high] if part.end is None or part.end > time]


def _start(part: Allocation) -> int:
    return part.start


def _peak(cut: Cut, memory: MemoryTimeline) -> Floats:
    return np.array([memory.peak(s, e)[0] - memory.live_at(s) for s, e in _spans(cut)], float)


def _peak_total(cut: Cut, memory: MemoryTimeline) -> Floats:
    return np.array([memory.peak(start, end)[0] for start, end in _spans(cut)], float)


def _live_end(cut: Cut, memory: MemoryTimeline) -> Floats:
    return np.array([memory.live_at(e) - memory.live_at(s) for s, e in _spans(cut)], float)


def _alloc_count(cut: Cut, memory: MemoryTimeline) -> Floats:
    starts = np.array([part.start for part in memory.allocations], dtype=np.int64)
    starts.sort()
    counts = np.searchsorted(starts, cut.ends) - np.searchsorted(starts, cut.starts)
    return np.asarray(counts, dtype=np.float64)


def _spans(cut: Cut) -> Sequence[tuple[int, int]]:
    return list(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True))


SPAN_METRICS: Mapping[str, Callable[[Cut, MemoryTimeline], Floats]] = {
    "mem.peak": _peak,
    "mem.peak_total": _peak_total,
    "mem.live_end": _live_end,
    "mem.alloc_count": _alloc_count,
}
"""Per key, the function that computes it for every span of a cut."""
