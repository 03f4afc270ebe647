"""Why a device was idle: each gap between its operations has one cause."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pytest_nsys.support.arrays.intervals import Intervals, length_before, merged
from pytest_nsys.support.arrays.rows import Flags, Ints

BRIEF = 100_000
"""ns. What a host needs at most between two operations if all it does is to come back from a
synchronisation, go through a framework's dispatch and launch: on the machines we measured 10 to
60 us with tracing. In a longer gap the host did something else."""

CLOCK_SLACK = 1_000
"""ns. How far the clocks of host and device, as nsys aligns them, are taken to disagree."""

MOST = 0.5
"""A call that covers at least this part of a gap is what the gap comes from."""


class IdleCause(IntEnum):
    """What a device waited for while it was idle."""

    HOST = 0
    """The host: it computed, or was in CUDA calls that none of the others names."""
    LAUNCH = 1
    """The launch of an operation that is shorter than the call that launches it."""
    WAIT = 2
    """The host, which blocked until the device had run dry and only then launched on."""
    ALLOCATION = 3
    """An allocation or a release of memory."""
    DEVICE = 4
    """Nothing on the host: the next operation had been launched before the gap began."""


_NEVER = 2**62


@dataclass(frozen=True)
class Following:
    """Operations that may end a gap, one row each.

    Attributes:
        group: number of the device.
        start: ns.
        launched: end of the call that launched it, ns; its own start if none was recorded.
        short: whether it is shorter than that call, and such launches limit the windows.
    """

    group: Ints
    start: Ints
    launched: Ints
    short: Flags


@dataclass(frozen=True)
class Gaps:
    """Stretches in which devices were idle, one row each.

    Attributes:
        intervals: the stretches; their group is the number of the device.
        cause: `IdleCause` of each.
        waited: row of the blocking call during which it began, or -1.
    """

    intervals: Intervals
    cause: Ints
    waited: Ints

    def of(self, cause: IdleCause) -> Intervals:
        """Those with this cause, merged."""
        return self.intervals.only(self.cause == cause)


def classify(
    idle: Intervals,
    blocking: Intervals,
    blocking_rows: Ints,
    allocating: Intervals,
    following: Following,
) -> Gaps:
    """The gaps with their causes.

    Args:
        idle: merged, by device.
        blocking: calls that block the host until the device is done, by device.
        blocking_rows: their rows.
        allocating: calls that allocate or release, by device.
        following: the operations that may end a gap.
    """
    cause = np.full(len(idle), IdleCause.HOST, dtype=np.int64)
    waited = np.full(len(idle), -1, dtype=np.int64)
    for group in np.unique(idle.group):
        mine = idle.group == group
        gaps, calls = idle.only(mine), blocking.group == group
        during = _call_at(blocking.only(calls), gaps.start)
        waited[mine] = (
            np.where(during >= 0, blocking_rows[calls][during], -1) if calls.any() else -1
        )
        brief = gaps.end - gaps.start <= BRIEF
        short, launched = _next_operation(gaps, following, group)
        queued = launched <= gaps.start + CLOCK_SLACK
        here = cause[mine]
        here[queued] = IdleCause.DEVICE
        # Among short kernels, gaps are the price of launching on the device's side, too.
        here[brief & short] = IdleCause.LAUNCH
        # Nothing comes of a wait if what follows was launched before it: copy, then wait for it.
        waits = (during >= 0) & ~queued
        here[waits & (brief | _mostly(gaps, blocking.only(calls)))] = IdleCause.WAIT
        here[_mostly(gaps, allocating.only(allocating.group == group))] = IdleCause.ALLOCATION
        cause[mine] = here
    return Gaps(idle, cause, waited)


def _call_at(calls: Intervals, times: Ints) -> Ints:
    """Number of a call of one group that is under way at each of the times, or -1."""
    if len(calls) == 0:
        return np.full(len(times), -1, dtype=np.int64)
    order = np.argsort(calls.start, kind="stable")
    start, end = calls.start[order], calls.end[order]
    # Of the calls begun by then, the one that ends last: calls of several threads overlap.
    latest = np.maximum.accumulate(end)
    numbers = np.arange(len(end))
    holder = np.maximum.accumulate(np.where(end == latest, numbers, 0))
    place = np.searchsorted(start, times, side="right") - 1
    known = np.maximum(place, 0)
    under_way = (place >= 0) & (latest[known] + CLOCK_SLACK >= times)
    return np.where(under_way, order[holder[known]], -1)


def _next_operation(gaps: Intervals, following: Following, group: int) -> tuple[Flags, Ints]:
    """For each gap of one group, whether a short operation ends it, and when that was launched.

    A gap that none of the operations ends, as the last of a window, gets the largest time.
    """
    starts = following.start[following.group == group]
    place = np.minimum(np.searchsorted(gaps.end, starts), len(gaps) - 1)
    ends_it = gaps.end[place] == starts
    place = place[ends_it]
    short = np.zeros(len(gaps), dtype=np.bool_)
    launched = np.full(len(gaps), _NEVER, dtype=np.int64)
    short[place] = following.short[following.group == group][ends_it]
    launched[place] = following.launched[following.group == group][ends_it]
    return short, launched


def _mostly(gaps: Intervals, calls: Intervals) -> Flags:
    """Which gaps of one group are mostly covered by the calls."""
    union = merged(calls)
    covered = length_before(union, gaps.end) - length_before(union, gaps.start)
    return covered >= MOST * (gaps.end - gaps.start)
