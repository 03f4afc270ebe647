"""What rules look at: the windows, what the devices did in them, and when they did nothing.

Observed of a device is each window from its start to its end, or to the end of the last operation
that was launched in it, if that is later: a window that only queues work is looked at until the
work is done. The device is idle where nothing at all runs on it; work from before or beside the
windows counts as work. Windows that overlap are looked at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pytest_nsys.cuda.names import api_name
from pytest_nsys.insights.bottlenecks.background import OPERATION_TABLES, Background
from pytest_nsys.insights.bottlenecks.bottleneck import shortened
from pytest_nsys.insights.bottlenecks.gaps import Following, Gaps, classify
from pytest_nsys.insights.bottlenecks.operations import Operations, observed_until, operations_of
from pytest_nsys.insights.bottlenecks.serving import Serving
from pytest_nsys.support.arrays.intervals import (
    Intervals,
    concatenated,
    difference,
    intersection,
    merged,
)
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.calls import CallClass
from pytest_nsys.windows.cut import Cut

SHORT_MOST = 0.5
"""Windows are limited by launches if at least this part of their kernels is shorter than its
launch: fewer do not keep a queue of longer kernels from filling up behind them."""

SHORT_LEAST = 10
"""... and if there are at least so many of these in a window: a few cost tens of microseconds,
which no CUDA graph is worth."""

_NONE = np.zeros(0, dtype=np.int64)
_NOTHING = Intervals(_NONE, _NONE, _NONE)


@dataclass(frozen=True)
class View:
    """Windows that are diagnosed together. All intervals' groups are numbers of devices.

    Attributes:
        cut: the windows.
        background: what holds for the whole trace.
        devices: those that the windows kept busy. Where there is none, group 0 is the host alone.
        operations: what was launched in the windows on these devices.
        observed: merged.
        serving: what a server did in them, if they are those of one.
    """

    cut: Cut
    background: Background
    devices: tuple[int, ...]
    operations: Operations
    observed: Intervals
    serving: Serving | None = None

    @property
    def groups(self) -> int:
        """Number of groups."""
        return max(len(self.devices), 1)

    @cached_property
    def total(self) -> int:
        """Time observed, ns, summed over devices."""
        return length(self.observed)

    @cached_property
    def windows(self) -> int:
        """How many windows there are, of those that overlap as many as fit side by side.

        Ranges of the same text overlap where they are nested or several processes have them.
        """
        number, until = 0, -(2**62)
        for place in np.argsort(self.cut.ends, kind="stable").tolist():
            if self.cut.starts[place] >= until:
                number, until = number + 1, int(self.cut.ends[place])
        return number

    @cached_property
    def instances(self) -> int:
        """What amounts are divided by for people: windows times devices, at least 1."""
        return max(self.windows * self.groups, 1)

    @property
    def each(self) -> float:
        """Time observed per window and device, ns."""
        return self.total / self.instances

    def share(self, ns: int) -> float:
        """``ns``, summed over devices, as part of the time observed."""
        return min(max(ns / self.total, 0.0), 1.0) if self.total else 0.0

    def time(self, ns: float) -> str:
        """``ns``, a sum, per window and device, for people."""
        return format_amount(ns / self.instances, "ns")

    def count(self, number: int) -> str:
        """``number``, a sum, per window and device, for people."""
        mean = number / self.instances
        return f"{mean:.0f}" if mean == int(mean) or mean >= 100 else f"{mean:.1f}"

    def many(self, number: int, noun: str) -> str:
        """``number`` of something, a sum, for people: "1 gap", "2.5 gaps"."""
        return f"{self.count(number)} {noun}{'' if number == self.instances else 's'}"

    def size(self, number: int) -> str:
        """``number`` bytes, a sum, per window and device, for people."""
        return format_amount(number / self.instances, "B")

    @cached_property
    def scope(self) -> str:
        """What the time observed is, for people: "12 ms" or "12 ms (mean of 5 windows)"."""
        several = []
        if self.windows > 1:
            several.append(f"{self.windows} windows")
        if self.groups > 1:
            several.append(f"{self.groups} devices")
        mean = f" (mean of {', '.join(several)})" if several else ""
        return f"{format_amount(self.each, 'ns')}{mean}"

    @cached_property
    def idle(self) -> Intervals:
        """When the devices did nothing."""
        return difference(
            self.observed, _of_devices(self.background.busy, self.devices, self.observed)
        )

    @cached_property
    def gaps(self) -> Gaps:
        """The stretches of `idle` with what they come from."""
        blocking = self.blocking
        short = self.short if self.launch_limited else np.zeros(len(self.operations), np.bool_)
        operations, ends = self.operations, self.background.column("calls", "end")
        launched, known = operations.start.copy(), operations.call >= 0
        launched[known] = ends[operations.call[known]]
        return classify(
            self.idle,
            self.call_intervals(blocking),
            np.concatenate(blocking),
            self.call_intervals(self.calls_of(CallClass.ALLOCATION)),
            Following(operations.group, operations.start, launched, short),
        )

    @cached_property
    def blocking(self) -> tuple[Ints, ...]:
        """Per device, the calls that hold the host until the device is done.

        Synchronisations, synchronous copies, and asynchronous ones from or to pageable memory.
        """
        known = self.calls_of(CallClass.SYNC, CallClass.COPY)
        pageable = self.launching(self.of_table("copies", self.background.pageable))
        return tuple(np.union1d(*pair) for pair in zip(known, pageable, strict=True))

    @cached_property
    def short(self) -> Flags:
        """Which operations are shorter than the call that launched them; none of CUDA graphs."""
        operations, launch = self.operations, self.background.call_durations
        alone = (operations.call >= 0) & ~operations.node
        short = np.zeros(len(operations), dtype=np.bool_)
        took = operations.end[alone] - operations.start[alone]
        short[alone] = took < launch[operations.call[alone]]
        return short

    @cached_property
    def launch_limited(self) -> bool:
        """Whether most kernels, and enough of them, are shorter than their launch."""
        kernels = self.of_table("kernels")
        short = int(np.count_nonzero(self.short & kernels))
        many = short >= SHORT_LEAST * self.instances
        return many and short >= SHORT_MOST * int(np.count_nonzero(kernels))

    def union(self, chosen: Flags) -> Intervals:
        """When any of the chosen operations ran."""
        operations = self.operations
        group, start, end = operations.group, operations.start, operations.end
        return self.within(Intervals(group[chosen], start[chosen], end[chosen]))

    def kernels(self, chosen: Flags | None = None) -> Intervals:
        """When the windows' kernels ran, or those that are chosen, a flag per row of the table."""
        return self.union(self.of_table("kernels", chosen))

    def of_table(self, table: str, chosen: Flags | None = None) -> Flags:
        """Which operations are of one of the tables and chosen, a flag per row of the table."""
        mine: Flags = self.operations.table == OPERATION_TABLES.index(table)
        if chosen is not None:
            mine[mine] = chosen[self.operations.row[mine]]
        return mine

    @cached_property
    def computing(self) -> Intervals:
        """When any kernel that does not communicate, or a whole CUDA graph, ran on the devices."""
        unions = _of_devices(self.background.computing, self.devices, self.observed)
        return intersection(unions, self.observed)

    def taking_turns(self, work: Intervals, kernels: Intervals) -> tuple[int, int]:
        """How long the work has no computing beside it, and the kernels none of the work, ns."""
        return length(difference(work, self.computing)), length(difference(kernels, work))

    def within(self, intervals: Intervals) -> Intervals:
        """What any intervals cover of the time observed."""
        return intersection(merged(intervals), self.observed)

    @cached_property
    def calls(self) -> tuple[Ints, ...]:
        """Per device, rows of the API calls that its processes began in the time observed."""
        return tuple(
            self._driving(group, _ranges(low, high))
            for group, (low, high) in enumerate(self._call_bounds)
        )

    def calls_of(self, *classes: CallClass) -> tuple[Ints, ...]:
        """Per device, the rows of `calls` whose function is of one of the classes."""
        found = []
        for group, (low, high) in enumerate(self._call_bounds):
            parts = []
            for kind in classes:
                rows = self.background.class_rows[kind]
                places = _ranges(np.searchsorted(rows, low), np.searchsorted(rows, high))
                parts.append(rows[places])
            found.append(self._driving(group, np.sort(np.concatenate(parts))))
        return tuple(found)

    @cached_property
    def _call_bounds(self) -> list[tuple[Ints, Ints]]:
        """Per device, for each stretch of time observed its first row of calls, and the next."""
        starts, bounds = self.background.column("calls", "start"), []
        for group in range(self.groups):
            mine = self.observed.only(self.observed.group == group)
            bounds.append((np.searchsorted(starts, mine.start), np.searchsorted(starts, mine.end)))
        return bounds

    def _driving(self, group: int, rows: Ints) -> Ints:
        """Of the calls, those of processes that launched on the device."""
        if not self.devices:
            return rows
        operations = self.operations
        drivers = pd.unique(operations.pid[operations.group == group])
        pids = self.background.column("calls", "pid")[rows]
        mine = np.zeros(len(rows), dtype=np.bool_)
        for pid in drivers.tolist():
            mine |= pids == pid
        return rows if mine.all() else rows[mine]

    def call_intervals(self, rows: Iterable[Ints]) -> Intervals:
        """API calls, by device, as intervals; neither sorted nor merged."""
        start, end = (self.background.column("calls", name) for name in ("start", "end"))
        return concatenated(
            *(
                Intervals(np.full(len(mine), group, dtype=np.int64), start[mine], end[mine])
                for group, mine in enumerate(rows)
            )
        )

    def launching(self, chosen: Flags) -> tuple[Ints, ...]:
        """Per device, the rows of the API calls that launched the chosen operations."""
        calls, groups = self.operations.call[chosen], self.operations.group[chosen]
        return tuple(np.unique(calls[(groups == g) & (calls >= 0)]) for g in range(self.groups))

    def most_frequent(self, kernels: Flags, most: int) -> list[str]:
        """Lines for people: how often each of the chosen kernels runs, for the first ones."""
        names, canonical = self.background.kernels, self.background.naming.canonical
        codes, counts = np.unique(names.codes[self.operations.row[kernels]], return_counts=True)
        numbers: Counter[str] = Counter()
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            numbers[canonical(names.raw[code])] += count
        by_count = sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
        return [f"{self.count(count)}x {shortened(name)}" for name, count in by_count[:most]]

    def functions(self, rows: Ints, weights: Ints | None = None) -> list[tuple[str, int, int]]:
        """Names of calls, how many there are and the sum of their weights, heaviest first.

        Args:
            rows: the calls' rows.
            weights: of each row; without them, how long each took, ns.
        """
        if weights is None:
            weights = self.background.call_durations[rows]
        names = self.background.calls
        codes = names.codes[rows]
        counts = np.bincount(codes, minlength=len(names.raw))
        sums = np.bincount(codes, weights=weights, minlength=len(names.raw))
        by_name: dict[str, tuple[int, int]] = {}
        for code in np.flatnonzero(counts):
            name = api_name(names.raw[code])
            count, weight = by_name.get(name, (0, 0))
            by_name[name] = (count + int(counts[code]), weight + int(sums[code]))
        found = [(name, *numbers) for name, numbers in by_name.items()]
        return sorted(found, key=lambda one: (-one[2], one[0]))


def length(intervals: Intervals) -> int:
    """Sum of the lengths."""
    return int((intervals.end - intervals.start).sum())


def build_view(cut: Cut, background: Background, serving: Serving | None = None) -> View:
    """The view of all windows of the cut together."""
    devices, last = observed_until(cut, background)
    operations = operations_of(cut, background, devices)
    if len(devices):
        ends = np.maximum(cut.ends[:, None], last)
        group = np.tile(np.arange(len(devices)), len(cut))
        starts = np.repeat(cut.starts, len(devices))
        observed = merged(Intervals(group, starts, ends.ravel()))
    else:
        observed = merged(Intervals(np.zeros(len(cut), dtype=np.int64), cut.starts, cut.ends))
    used = tuple(int(device) for device in devices)
    return View(cut, background, used, operations, observed, serving)


def _of_devices(
    unions: Mapping[int, Intervals], devices: tuple[int, ...], observed: Intervals
) -> Intervals:
    """The unions of the devices, by their numbers, about as far as the time observed reaches."""
    parts = [_NOTHING]
    for group, device in enumerate(devices):
        union = unions.get(device, _NOTHING)
        mine = observed.only(observed.group == group)  # the window of the device's work, at least
        low = int(np.searchsorted(union.end, mine.start[0], side="right"))
        high = int(np.searchsorted(union.start, mine.end[-1]))
        start, end = union.start[low:high], union.end[low:high]
        parts.append(Intervals(np.full(len(start), group, dtype=np.int64), start, end))
    return concatenated(*parts)


def _ranges(low: Ints, high: Ints) -> Ints:
    """All integers from each low up to its high, one range after the other."""
    sizes = np.maximum(high - low, 0)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    numbers: Ints = np.repeat(low, sizes) + within
    return numbers
