"""When devices and the host were busy, idle or waiting: metrics that need intervals, not sums.

A GPU operation is a kernel, a copy, a memory set or, in ``--cuda-graph-trace=graph`` captures, a
whole CUDA graph. It belongs to the window it was launched in and is never clipped to it: it may
end after the window, and another window's operations are not looked at. Two operations at a time
on one device count once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import pandas as pd

from pytest_nsys.kernels.category import COMMUNICATION
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.window import blocking_calls
from pytest_nsys.support.arrays.grouping import are_among, chosen
from pytest_nsys.support.arrays.intervals import (
    Intervals,
    bounds,
    gaps,
    length_before,
    lengths,
    longest,
    merged,
    sorted_within,
    union,
)
from pytest_nsys.support.arrays.rows import Flags, Floats, Ints, Members
from pytest_nsys.windows.cut import Cut

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Busyness:
    """The intervals of a cut's work, each family computed once, and the metrics made of them.

    Metrics return ns, one float per window; 0.0 in a window without what they are about, but for
    the latency, which has no value there (NaN).
    Intervals of devices are grouped: device ``devices[d]`` in window w is the group
    ``w * len(devices) + d``.

    Attributes:
        cut: the windows.
        naming: tells communication kernels from others.
    """

    cut: Cut
    naming: Naming = Naming()

    @cached_property
    def devices(self) -> Ints:
        """Numbers of all devices that did anything in the trace, ascending."""
        found = [table["device"].unique() for table in self._operations.values()]
        return np.unique(np.concatenate(found).astype(np.int64))

    @cached_property
    def computing(self) -> Flags:
        """Per row of the trace's kernels, whether it is no communication kernel."""
        return ~are_among(self.cut.trace.kernels["name"].to_numpy(), self._communication)

    @cached_property
    def busy_intervals(self) -> Intervals:
        """When each device ran operations of each window; merged."""
        return _union(
            self.kernel_intervals,
            self.copy_intervals,
            merged(self._by_device("memsets", self.cut.memsets)),
            merged(self._by_device("graphs", self.cut.graphs)),
        )

    @cached_property
    def kernel_intervals(self) -> Intervals:
        """When each device ran kernels of each window; merged."""
        return merged(self._by_device("kernels", self.cut.kernels))

    @cached_property
    def copy_intervals(self) -> Intervals:
        """When each device ran copies of each window; merged."""
        return merged(self._by_device("copies", self.cut.copies))

    def busy(self) -> Floats:
        """Length of the union of each device's operations, summed over devices."""
        return _as_floats(self._device_spans[2].sum(axis=1))

    def idle(self) -> Floats:
        """The GPU span minus the device's busy time, summed over the devices the window used."""
        first, last, busy = self._device_spans
        used = last > first
        begin, end = self._span
        idle = np.where(used, (end - begin)[:, None] - busy, 0)
        return _as_floats(idle.sum(axis=1))

    def max_gap(self) -> Floats:
        """The longest time for which a device the window used was idle."""
        first, last, _ = self._device_spans
        begin, end = self._span
        used = last > first
        edges = np.maximum(first - begin[:, None], end[:, None] - last)
        inner = longest(gaps(self.busy_intervals), self._groups)
        longest_inside = self._per_device(inner)
        found = np.where(used, np.maximum(edges, longest_inside), 0)
        return _as_floats(found.max(axis=1, initial=0))

    @cached_property
    def _device_spans(self) -> tuple[Ints, Ints, Ints]:
        """First start, last end and busy time; shape (windows, devices), 0 where unused."""
        first, last = bounds(self.busy_intervals, self._groups)
        busy = lengths(self.busy_intervals, self._groups)
        return self._per_device(first), self._per_device(last), self._per_device(busy)

    def api_time(self) -> Floats:
        """Length of the union, over all threads, of the CUDA API calls."""
        cut, calls = self.cut, self.cut.trace.calls
        start, end = _times(calls)
        # What each call covers that no earlier one does; calls are sorted by start.
        reached = np.maximum.accumulate(end)
        fresh = end.copy()
        fresh[1:] -= np.maximum(start[1:], reached[:-1])
        fresh[:1] -= start[:1]
        np.maximum(fresh, 0, out=fresh)
        total = np.concatenate([[0], np.cumsum(fresh)])
        low = np.searchsorted(start, cut.starts)
        high = np.maximum(np.searchsorted(start, cut.ends), low)
        found = total[high] - total[low]
        # Calls of before the window do not count in it: where one reaches into it, look closer.
        filled = high > low
        crossed = filled & (low > 0)
        crossed[crossed] = reached[low[crossed] - 1] > start[low[crossed]]
        for window in np.flatnonzero(crossed).tolist():
            rows = slice(low[window], high[window])
            group = np.zeros(high[window] - low[window], dtype=np.int64)
            alone = Intervals(group, start[rows], end[rows])
            found[window] = lengths(merged(alone), 1)[0]
        return _as_floats(found)

    def launch_latency(self) -> Floats:
        """Median, over kernels, of start minus the start of the API call that launched it.

        Kernels inside CUDA graphs, whose call launched the whole graph, and kernels without a
        recorded call do not count.
        """
        kernels, members = self.cut.trace.kernels, self.cut.kernels
        launched = kernels["call"].to_numpy() >= 0
        launched &= kernels["graph_node"].to_numpy() == -1
        latency = kernels["start"].to_numpy() - kernels["launched"].to_numpy()
        found = members if launched.all() else chosen(members, launched)
        return _medians(found.window, latency[found.row], len(self.cut))

    def sync_exposed(self) -> Floats:
        """Host time in blocking calls (union over threads) while no device ran anything.

        Operations of the whole trace count here, not only those of the window.
        """
        waits = merged(self._calls(blocking_calls(self.cut)))
        if len(waits) == 0:
            return np.zeros(len(self.cut))
        running = _union(*(merged(_one_group(table)) for table in self._operations.values()))
        covered = length_before(running, waits.end) - length_before(running, waits.start)
        hidden = np.zeros(len(self.cut), dtype=np.int64)
        np.add.at(hidden, waits.group, covered)
        return (lengths(waits, len(self.cut)) - hidden).astype(np.float64)

    def nccl_time(self) -> Floats:
        """Sum of the durations of communication kernels."""
        lines = self.cut.kernel_names
        return self.cut.times(lines.only(are_among(lines.name, self._communication)))

    def nccl_exposed(self) -> Floats:
        """Time in which a device ran communication kernels and no other ones, over devices.

        In ``--cuda-graph-trace=graph`` captures it says nothing of kernels inside graphs.
        """
        if not self._communication:
            return np.zeros(len(self.cut))
        # The other kernels are part of all kernels: the union grows by what they leave exposed.
        others = merged(self._by_device("kernels", chosen(self.cut.kernels, self.computing)))
        exposed = lengths(self.kernel_intervals, self._groups) - lengths(others, self._groups)
        return self._over_devices(exposed)

    @property
    def _operations(self) -> Mapping[str, pd.DataFrame]:
        trace = self.cut.trace
        return {
            "kernels": trace.kernels,
            "copies": trace.copies,
            "memsets": trace.memsets,
            "graphs": trace.graphs,
        }

    @cached_property
    def _device_index(self) -> Mapping[str, Ints]:
        """Per table, the place of each row's device in ``devices``."""
        return {
            name: np.searchsorted(self.devices, table["device"].to_numpy(np.int64))
            for name, table in self._operations.items()
        }

    @property
    def _groups(self) -> int:
        return len(self.cut) * len(self.devices)

    @cached_property
    def _span(self) -> tuple[Ints, Ints]:
        """Start of the first and end of the last operation of each window; 0 where none is."""
        first, last, _ = self._device_spans
        used = last > first
        begin = np.where(used, first, _NEVER).min(axis=1, initial=_NEVER)
        end = np.where(used, last, -_NEVER).max(axis=1, initial=-_NEVER)
        return np.where(used.any(axis=1), begin, 0), np.where(used.any(axis=1), end, 0)

    @cached_property
    def _communication(self) -> list[int]:
        """String ids of the names of communication kernels."""
        strings = self.cut.trace.strings
        names = np.unique(self.cut.kernel_names.name).tolist()
        return [
            name for name in names if self.naming.category(strings.get(name, "")) == COMMUNICATION
        ]

    def _by_device(self, operations: str, members: Members) -> Intervals:
        group = members.window
        if len(self.devices) > 1:
            device = self._device_index[operations][members.row]
            group = group * len(self.devices) + device
        return _rows(self._operations[operations], group, members.row)

    def _calls(self, members: Members) -> Intervals:
        return _rows(self.cut.trace.calls, members.window, members.row)

    def _over_devices(self, values: Ints) -> Floats:
        sums: Floats = self._per_device(values).sum(axis=1).astype(np.float64)
        return sums

    def _per_device(self, values: Ints) -> Ints:
        return values.reshape(len(self.cut), len(self.devices))


BUSY_METRICS: Mapping[str, Callable[[Busyness], Floats]] = {
    "gpu.busy": Busyness.busy,
    "gpu.idle": Busyness.idle,
    "gpu.max_gap": Busyness.max_gap,
    "api.time": Busyness.api_time,
    "launch.latency": Busyness.launch_latency,
    "sync.exposed": Busyness.sync_exposed,
    "nccl.time": Busyness.nccl_time,
    "nccl.exposed": Busyness.nccl_exposed,
}
"""Per key, the function that computes it for every window of a cut."""


def _union(*families: Intervals) -> Intervals:
    """The union of merged families, the small ones first."""
    return reduce(union, sorted(families, key=len))


def _rows(table: pd.DataFrame, group: Ints, row: Ints) -> Intervals:
    start, end = _times(table)
    return Intervals(group, start[row], end[row])


def _one_group(table: pd.DataFrame) -> Intervals:
    start, end = _times(table)
    return Intervals(np.zeros_like(start), start, end)


def _times(table: pd.DataFrame) -> tuple[Ints, Ints]:
    return table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64)


def _as_floats(values: Ints) -> Floats:
    return values.astype(np.float64)


def _medians(group: Ints, values: Ints, groups: int) -> Floats:
    """Median of each group's values, the mean of the middle two of an even number; NaN of none."""
    ordered = sorted_within(group, values)
    counts = np.bincount(group, minlength=groups)
    filled = counts > 0
    first = (np.cumsum(counts) - counts)[filled]
    low = ordered[first + (counts[filled] - 1) // 2]
    high = ordered[first + counts[filled] // 2]
    medians = np.full(groups, np.nan)
    medians[filled] = low + (high - low) / 2
    return medians
