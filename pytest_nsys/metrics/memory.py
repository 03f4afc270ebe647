"""Device memory over a test's span, from the allocation events of the capture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_nsys.cuda.names import api_name
from pytest_nsys.support.arrays.rows import Floats, Ints
from pytest_nsys.trace.schema import MemKind
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut

_DEVICE_KINDS = (
    MemKind.DEVICE,
    MemKind.ARRAY,
    MemKind.MANAGED,
    MemKind.DEVICE_STATIC,
    MemKind.MANAGED_STATIC,
)
_STATIC_KINDS = (MemKind.DEVICE_STATIC, MemKind.MANAGED_STATIC)
_ALLOC = 0
_ALLOCATING = re.compile(r"cuda(Malloc|HostAlloc)|cu(Mem|Array)(Host)?(Alloc|Create)")
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Steps:
    """A quantity that changes at instants.

    Attributes:
        times: ns, ascending.
        values: the quantity from each time on; zero before the first.
    """

    times: Ints
    values: Ints

    @classmethod
    def of(cls, times: Ints, changes: Ints) -> Steps:
        """The steps that changes at these times make, in whatever order."""
        # What decreases before what increases at one instant: a block that is replaced is not
        # live twice.
        order = np.lexsort((changes, times))
        return cls(times[order], np.cumsum(changes[order]))

    def before(self, time: int) -> int:
        """The value just before ``time``."""
        index = int(np.searchsorted(self.times, time, side="left"))
        return int(self.values[index - 1]) if index else 0

    def all_before(self, times: Ints) -> Ints:
        """The value just before each of the times."""
        values = np.concatenate([np.zeros(1, dtype=np.int64), self.values])
        return values[np.searchsorted(self.times, times, side="left")]

    def peaks(self, starts: Ints, ends: Ints) -> Ints:
        """The highest value in each [start, end)."""
        found = self.all_before(starts)
        low = np.searchsorted(self.times, starts, side="left")
        high = np.searchsorted(self.times, ends, side="left")
        # Of the windows of a large capture, few allocate anything.
        for number in np.flatnonzero(high > low).tolist():
            highest = self.values[low[number] : high[number]].max()
            found[number] = max(found[number], highest)
        return found

    def peak(self, start: int, end: int) -> tuple[int, int]:
        """The highest value in [start, end), and the time it is first reached."""
        low, high = np.searchsorted(self.times, [start, end], side="left")
        before = self.before(start)
        if low >= high:
            return before, start
        top = int(low) + int(np.argmax(self.values[low:high]))
        highest = int(self.values[top])
        return (highest, int(self.times[top])) if highest > before else (before, start)


class MemoryTimeline:
    """Live device memory over time, allocations and frees paired.

    They pair by process and address: all devices and contexts of a process share one address
    space, and nsys names the context of an allocation and of its free differently where managed
    memory or a green context is involved. A free that names no live allocation (its
    allocation was before the capture, or was not recorded) changes nothing; a second allocation
    at a live address replaces the first, whose free was not recorded.

    Attributes:
        starts: ns of each allocation, ascending.
        ends: ns of its end; the largest number there is while it lives.
        sizes: bytes.
        requested: ns of each allocation that the program asked for, ascending: static variables
            come with the modules that the driver loads.
        live: live bytes over time.
        pools: bytes in use of stream-ordered memory pools over time.
        recorded: whether the capture recorded memory: it has events, or nothing was allocated.
        unmatched_frees: the number of frees that name no live allocation.
    """

    def __init__(self, trace: Trace) -> None:
        memory = trace.memory[trace.memory["kind"].isin(_DEVICE_KINDS)]
        start, pid, address, size, operation, kind = (
            memory[name].to_numpy(np.int64)
            for name in ("start", "pid", "address", "bytes", "operation", "kind")
        )
        # Sorted by address, an allocation ends at the next event of its address, be it its free
        # or another allocation.
        order = np.lexsort((address, pid))
        same = pid[order[1:]] == pid[order[:-1]]
        same &= address[order[1:]] == address[order[:-1]]
        end = np.full(len(order), _NEVER, dtype=np.int64)
        end[order[:-1][same]] = start[order[1:][same]]
        is_alloc = operation == _ALLOC
        follows = np.zeros(len(order), dtype=np.bool_)
        follows[order[1:][same]] = is_alloc[order[:-1][same]]
        self.starts, self.ends, self.sizes = start[is_alloc], end[is_alloc], size[is_alloc]
        self.requested = self.starts[~np.isin(kind[is_alloc], _STATIC_KINDS)]
        self.unmatched_frees = int(np.count_nonzero(~is_alloc & ~follows))
        ended = self.ends != _NEVER
        self.live = Steps.of(
            np.concatenate([self.starts, self.ends[ended]]),
            np.concatenate([self.sizes, -self.sizes[ended]]),
        )
        self.pools = _pools(trace)
        self.recorded = trace.knows("mem.peak") and (len(trace.memory) > 0 or not _allocates(trace))

    def live_sizes(self, since: int, time: int) -> Ints:
        """Bytes of what was allocated from ``since`` on and is live at ``time``."""
        low = np.searchsorted(self.starts, since, side="left")
        high = np.searchsorted(self.starts, time, side="right")
        live: Ints = self.sizes[low:high][self.ends[low:high] > time]
        return live


def _allocates(trace: Trace) -> bool:
    """Whether an API call of the capture allocates memory."""
    names = np.unique(trace.calls["name"].to_numpy()).tolist()
    return any(_ALLOCATING.match(api_name(trace.strings[name])) for name in names)


def _pools(trace: Trace) -> Steps:
    """Bytes in use of all stream-ordered pools together."""
    events = trace.memory[trace.memory["pool"] >= 0]
    start, pid, pool, used, size, operation = (
        events[name].to_numpy(np.int64)
        for name in ("start", "pid", "pool", "pool_used", "bytes", "operation")
    )
    # nsys 2025.3 says of an allocation what is in use after it, and of a free what was before.
    used = np.where(operation == _ALLOC, used, np.maximum(used - size, 0))
    order = np.lexsort((pool, pid))
    changes = used[order].copy()
    same = (pid[order[1:]] == pid[order[:-1]]) & (pool[order[1:]] == pool[order[:-1]])
    changes[1:][same] -= used[order[:-1]][same]
    return Steps.of(start[order], changes)


def _peak(cut: Cut, memory: MemoryTimeline) -> Floats:
    live = memory.live
    return (live.peaks(cut.starts, cut.ends) - live.all_before(cut.starts)).astype(np.float64)


def _peak_total(cut: Cut, memory: MemoryTimeline) -> Floats:
    return memory.live.peaks(cut.starts, cut.ends).astype(np.float64)


def _live_end(cut: Cut, memory: MemoryTimeline) -> Floats:
    live = memory.live
    return (live.all_before(cut.ends) - live.all_before(cut.starts)).astype(np.float64)


def _alloc_count(cut: Cut, memory: MemoryTimeline) -> Floats:
    asked = memory.requested
    counts = np.searchsorted(asked, cut.ends) - np.searchsorted(asked, cut.starts)
    return counts.astype(np.float64)


def _pool_peak(cut: Cut, memory: MemoryTimeline) -> Floats:
    return memory.pools.peaks(cut.starts, cut.ends).astype(np.float64)


def _where_recorded(
    compute: Callable[[Cut, MemoryTimeline], Floats],
) -> Callable[[Cut, MemoryTimeline], Floats]:
    """NaN of a capture that did not record memory: nothing is known of it."""

    def values(cut: Cut, memory: MemoryTimeline) -> Floats:
        return compute(cut, memory) if memory.recorded else np.full(len(cut), np.nan)

    return values


SPAN_METRICS: Mapping[str, Callable[[Cut, MemoryTimeline], Floats]] = {
    "mem.peak": _where_recorded(_peak),
    "mem.peak_total": _where_recorded(_peak_total),
    "mem.live_end": _where_recorded(_live_end),
    "mem.alloc_count": _where_recorded(_alloc_count),
    "mem.pool_peak": _where_recorded(_pool_peak),
}
"""Per key, the function that computes it for every span of a cut."""
