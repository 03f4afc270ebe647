"""Device memory over a test's span, from the allocation events of the capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_nsys.cut import Cut
from pytest_nsys.rows import Floats, Ints
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

    They pair by process, context and address. A free that names no live allocation (its
    allocation was before the capture, or was not recorded) changes nothing; a second allocation
    at a live address replaces the first, whose free was not recorded.

    Attributes:
        starts: ns of each allocation, ascending.
        ends: ns of its end; the largest number there is while it lives.
        sizes: bytes.
        live: live bytes over time.
        pools: bytes in use of stream-ordered memory pools over time.
        unmatched_frees: the number of frees that name no live allocation.
    """

    def __init__(self, trace: Trace) -> None:
        memory = trace.memory[trace.memory["kind"].isin(_DEVICE_KINDS)]
        start, pid, context, address, size, operation = (
            memory[name].to_numpy(np.int64)
            for name in ("start", "pid", "context", "address", "bytes", "operation")
        )
        # Sorted by address, an allocation ends at the next event of its address, be it its free
        # or another allocation.
        order = np.lexsort((address, context, pid))
        same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
        for column in (pid, context, address):
            same &= column[order[1:]] == column[order[:-1]]
        end = np.full(len(order), _NEVER, dtype=np.int64)
        end[order[:-1][same]] = start[order[1:][same]]
        is_alloc = operation == _ALLOC
        follows = np.zeros(len(order), dtype=np.bool_)
        follows[order[1:][same]] = is_alloc[order[:-1][same]]
        self.starts, self.ends, self.sizes = start[is_alloc], end[is_alloc], size[is_alloc]
        self.unmatched_frees = int(np.count_nonzero(~is_alloc & ~follows))
        ended = self.ends != _NEVER
        self.live = Steps.of(
            np.concatenate([self.starts, self.ends[ended]]),
            np.concatenate([self.sizes, -self.sizes[ended]]),
        )
        self.pools = _pools(trace)

    def live_sizes(self, since: int, time: int) -> Ints:
        """Bytes of what was allocated from ``since`` on and is live at ``time``."""
        low = np.searchsorted(self.starts, since, side="left")
        high = np.searchsorted(self.starts, time, side="right")
        live: Ints = self.sizes[low:high][self.ends[low:high] > time]
        return live


def _pools(trace: Trace) -> Steps:
    """Bytes in use of all stream-ordered pools together."""
    events = trace.memory[trace.memory["pool"] >= 0]
    start, pid, pool, used = (
        events[name].to_numpy(np.int64) for name in ("start", "pid", "pool", "pool_used")
    )
    order = np.lexsort((pool, pid))
    changes = used[order].copy()
    same = (pid[order[1:]] == pid[order[:-1]]) & (pool[order[1:]] == pool[order[:-1]])
    changes[1:][same] -= used[order[:-1]][same]
    return Steps.of(start[order], changes)


def _peak(cut: Cut, memory: MemoryTimeline) -> Floats:
    live = memory.live
    return np.array([live.peak(start, end)[0] - live.before(start) for start, end in _spans(cut)])


def _peak_total(cut: Cut, memory: MemoryTimeline) -> Floats:
    return np.array([memory.live.peak(start, end)[0] for start, end in _spans(cut)])


def _live_end(cut: Cut, memory: MemoryTimeline) -> Floats:
    live = memory.live
    return np.array([live.before(end) - live.before(start) for start, end in _spans(cut)])


def _alloc_count(cut: Cut, memory: MemoryTimeline) -> Floats:
    counts = np.searchsorted(memory.starts, cut.ends) - np.searchsorted(memory.starts, cut.starts)
    return counts.astype(np.float64)


def _pool_peak(cut: Cut, memory: MemoryTimeline) -> Floats:
    return np.array([memory.pools.peak(start, end)[0] for start, end in _spans(cut)])


def _spans(cut: Cut) -> Sequence[tuple[int, int]]:
    return list(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True))


SPAN_METRICS: Mapping[str, Callable[[Cut, MemoryTimeline], Floats]] = {
    "mem.peak": _peak,
    "mem.peak_total": _peak_total,
    "mem.live_end": _live_end,
    "mem.alloc_count": _alloc_count,
    "mem.pool_peak": _pool_peak,
}
"""Per key, the function that computes it for every span of a cut."""
