"""Algebra of half-open intervals of time, for many groups at once.

A group is whatever an answer is wanted for: a window, or a device in a window. Times are int64, in
any unit, less than 2**62 from zero; no number of groups overflows. Nothing loops over rows.

One fact carries the module. Sort a family's n starts and, separately, its n ends. Intervals that
begin at or after ``start[i]`` end after it, so at most i of them have ended by then, and how many
have is read off ``end[i - 1]``: all i of them have, if it is before ``start[i]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_nsys.support.arrays.rows import Flags, Ints

Kind = Literal["stable"] | None
"""How numpy is to sort: stable merges runs that are in order already."""

_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Intervals:
    """Half-open intervals [start, end), one per row; one with end <= start is empty.

    Functions that take *merged* intervals want what `merged` returns: sorted by group and start,
    in each group disjoint, not touching, none empty. All functions that return intervals, but for
    `clipped` of unmerged ones, return merged ones.

    Attributes:
        group: number of the interval's group, from 0.
        start: first time in the interval.
        end: first time after it.
    """

    group: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.group)

    def only(self, rows: Flags) -> Intervals:
        """The rows that are chosen."""
        index = np.flatnonzero(rows)
        return Intervals(self.group[index], self.start[index], self.end[index])


def concatenated(*parts: Intervals) -> Intervals:
    """The rows of all parts."""
    return Intervals(
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.end for part in parts]),
    )


def sorted_within(group: Ints, values: Ints) -> Ints:
    """The values as they are once rows are sorted by group, and by value in each group."""
    return _sorted_columns(group, values)[1]


def merged(intervals: Intervals) -> Intervals:
    """The union of each group's intervals; touching ones become one."""
    filled = _filled(intervals)
    if len(filled) == 0:
        return filled
    group, start, end = filled.group, filled.start, filled.end
    later = group[1:] > group[:-1]
    if not _in_order_within(later, group, start, end):
        # A stable sort merges runs that are in order: those of families put together.
        group, start, end = _sorted_columns(group, start, end, kind="stable")
    return _joined(group, start, end)


def _joined(group: Ints, start: Ints, end: Ints) -> Intervals:
    """Merged intervals, from a family's starts and ends, each sorted by group and time."""
    later = group[1:] > group[:-1]
    # The union has a hole before a start where all that began earlier has ended.
    fresh = np.ones(len(group), dtype=np.bool_)
    np.greater(start[1:], end[:-1], out=fresh[1:])
    fresh[1:] |= later
    if fresh.all():
        return Intervals(group, start, end)
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(group)) - 1
    return Intervals(group[first], start[first], end[last])


def _in_order_within(later: Flags, group: Ints, *columns: Ints) -> bool:
    """Whether rows are in the order of their groups, and each column is within its group."""
    if not (later | (group[1:] == group[:-1])).all():
        return False
    # From one group to the next times nearly always grow, too: look closer only where not.
    return all(
        _in_order(column) or bool(((column[1:] >= column[:-1]) | later).all()) for column in columns
    )


def union(one: Intervals, other: Intervals) -> Intervals:
    """What either of two merged families covers, by group.

    Faster than merging them together where one is much smaller: it is inserted into the other.
    """
    small, large = sorted((one, other), key=len)
    if len(small) == 0:
        return large
    low = min(int(small.start.min()), int(large.start.min()))
    extent = max(int(small.end.max()), int(large.end.max())) - low + 1
    highest = max(int(small.group[-1]), int(large.group[-1]))
    if len(large) < 8 * len(small) or extent * (highest + 1) + abs(low) > _LARGEST:
        return merged(concatenated(one, other))
    begins, ends = (
        np.searchsorted(large.group * extent + into, small.group * extent + new)
        for into, new in ((large.start, small.start), (large.end, small.end))
    )
    return _joined(
        np.insert(large.group, begins, small.group),
        np.insert(large.start, begins, small.start),
        np.insert(large.end, ends, small.end),
    )


def intersection(one: Intervals, other: Intervals) -> Intervals:
    """What both of two merged families cover, by group."""
    both = concatenated(one, other)
    group, start, end = _sorted_columns(both.group, both.start, both.end)
    # At most two are open at a time. At a start a second one is where one has not ended of those
    # that began earlier, and the next end of all closes the pair.
    second = np.flatnonzero((end[:-1] > start[1:]) & (group[1:] == group[:-1])) + 1
    return Intervals(group[second], start[second], end[second - 1])


def difference(one: Intervals, other: Intervals) -> Intervals:
    """What the first of two merged families covers and the second does not, by group."""
    if len(one) == 0:
        return one
    first = np.ones(len(one), dtype=np.bool_)
    first[1:] = one.group[1:] != one.group[:-1]
    groups = one.group[first]
    place = np.minimum(np.searchsorted(groups, other.group), len(groups) - 1)
    shared = groups[place] == other.group
    cut = Intervals(place[shared], other.start[shared], other.end[shared])
    left = holes(cut, one.start[first], one.end[_before_next(first)])
    return intersection(one, Intervals(groups[left.group], left.start, left.end))


def gaps(intervals: Intervals) -> Intervals:
    """The holes between the merged intervals of each group."""
    inner = intervals.group[1:] == intervals.group[:-1]
    return Intervals(
        intervals.group[1:][inner], intervals.end[:-1][inner], intervals.start[1:][inner]
    )


def holes(intervals: Intervals, starts: Ints, ends: Ints) -> Intervals:
    """What merged intervals leave of their group's window, before, between and after them.

    Args:
        intervals: merged, of the groups 0 to len(starts) - 1.
        starts: start of each group's window.
        ends: end of each group's window; a window with end <= start is empty.
    """
    groups = len(starts)
    counts = np.bincount(intervals.group, minlength=groups)
    group = np.repeat(np.arange(groups), counts + 1)
    # A group with n intervals has n + 1 holes: an interval's end starts one, its start ends one.
    # Intervals outside the window shrink to nothing at its edge and leave an empty hole there.
    leading = np.zeros(len(group), dtype=np.bool_)
    leading[np.cumsum(counts + 1) - counts - 1] = True
    trailing = _before_next(leading)
    low, high = starts[intervals.group], ends[intervals.group]
    start, end = np.empty_like(group), np.empty_like(group)
    start[leading], start[~leading] = starts, np.clip(intervals.end, low, high)
    end[trailing], end[~trailing] = ends, np.clip(intervals.start, low, high)
    return _filled(Intervals(group, start, end))


def clipped(intervals: Intervals, starts: Ints, ends: Ints) -> Intervals:
    """What of each interval lies in its group's window [starts[group], ends[group])."""
    return _filled(
        Intervals(
            intervals.group,
            np.maximum(intervals.start, starts[intervals.group]),
            np.minimum(intervals.end, ends[intervals.group]),
        )
    )


def lengths(intervals: Intervals, groups: int) -> Ints:
    """Sum of the intervals' lengths in each of the groups 0 to groups - 1."""
    return _reduced(np.add, intervals.group, np.maximum(intervals.end - intervals.start, 0), groups)


def longest(intervals: Intervals, groups: int) -> Ints:
    """Length of the longest interval in each of the groups 0 to groups - 1; 0 where none is."""
    return _reduced(np.maximum, intervals.group, intervals.end - intervals.start, groups)


def bounds(intervals: Intervals, groups: int) -> tuple[Ints, Ints]:
    """First start and last end in each of the groups 0 to groups - 1; both 0 where none is."""
    filled = _filled(intervals)
    first = _reduced(np.minimum, filled.group, filled.start, groups, _LARGEST)
    last = _reduced(np.maximum, filled.group, filled.end, groups, -_LARGEST)
    empty = last < first
    first[empty] = last[empty] = 0
    return first, last


def spans(intervals: Intervals, groups: int) -> Ints:
    """Last end minus first start in each of the groups 0 to groups - 1; 0 where none is."""
    first, last = bounds(intervals, groups)
    return last - first


def length_before(intervals: Intervals, times: Ints) -> Ints:
    """How much of one group's merged intervals lies before each of the times.

    Its difference between two times is what the intervals cover of the time between them, found
    without intersecting anything.
    """
    if len(intervals) == 0:
        return np.zeros(len(times), dtype=np.int64)
    length = intervals.end - intervals.start
    earlier = np.cumsum(length) - length
    index = np.maximum(np.searchsorted(intervals.start, times, side="right") - 1, 0)
    before: Ints = earlier[index] + np.clip(times - intervals.start[index], 0, length[index])
    return before


def _reduced(ufunc: np.ufunc, group: Ints, values: Ints, groups: int, least: int = 0) -> Ints:
    """The values of each group as one, beginning with ``least``."""
    found = np.full(groups, least, dtype=np.int64)
    if len(group) and _in_order(group):
        first = np.ones(len(group), dtype=np.bool_)
        first[1:] = group[1:] != group[:-1]
        rows = np.flatnonzero(first)
        place = group[rows]
        found[place] = ufunc(found[place], ufunc.reduceat(values, rows))
    else:
        ufunc.at(found, group, values)
    return found


def _sorted_columns(group: Ints, *columns: Ints, kind: Kind = None) -> tuple[Ints, ...]:
    """The groups sorted, and each column sorted within them."""
    if len(group) == 0:
        return group, *columns
    low = min(int(column.min()) for column in columns)
    extent = max(int(column.max()) for column in columns) - low + 1
    lowest, highest = int(group.min()), int(group.max())
    if extent * (highest - lowest + 1) + abs(low) > _LARGEST:
        return _sorted(group, kind), *(column[np.lexsort((column, group))] for column in columns)
    # Laid end to end the groups fit in 64 bits: sorting single numbers is several times faster
    # than sorting an index by two keys.
    origin = (group - lowest) * extent - low
    ordered = _sorted(origin, kind)
    groups = group if ordered is origin else _sorted(group, kind)
    return groups, *(_sorted_from(column, origin, ordered, kind) for column in columns)


def _sorted_from(column: Ints, origin: Ints, ordered: Ints, kind: Kind) -> Ints:
    """The column sorted, each group counted from its origin; in place, as memory is what costs."""
    keys = column + origin
    if not _in_order(keys):
        keys.sort(kind=kind)
    keys -= ordered
    return keys


def _filled(intervals: Intervals) -> Intervals:
    """Those that are not empty."""
    rows = intervals.end > intervals.start
    return intervals if rows.all() else intervals.only(rows)


def _before_next(first: Flags) -> Flags:
    """The last row of each run, from the first ones: row 0 is one, if there is any row."""
    last = np.ones_like(first)
    last[:-1] = first[1:]
    return last


def _sorted(values: Ints, kind: Kind) -> Ints:
    return values if _in_order(values) else np.sort(values, kind=kind)


def _in_order(values: Ints) -> bool:
    return bool((values[1:] >= values[:-1]).all())
