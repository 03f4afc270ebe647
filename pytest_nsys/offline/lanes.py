"""Lanes: where intervals that overlap are drawn, so that those of one lane do not."""

from __future__ import annotations

import numpy as np

from pytest_nsys.support.arrays.rows import Ints


def flat_lanes(groups: Ints, starts: Ints, ends: Ints) -> Ints:
    """Per interval a lane of its group, from 0, in which no two overlap; they may touch.

    Each has the first lane that is free when it starts, so that a group has as many as there are
    intervals at one time.
    """
    lanes = np.zeros(len(starts), dtype=np.int64)
    for rows in _by_group(groups, starts, ends):
        first, last = starts[rows], ends[rows]
        if (first[1:] >= np.maximum.accumulate(last)[:-1]).all():
            continue
        busy: list[int] = []
        found = []
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            lane = next((n for n, until in enumerate(busy) if until <= start), len(busy))
            busy[lane : lane + 1] = [end]
            found.append(lane)
        lanes[rows] = found
    return lanes


def nested_lanes(groups: Ints, starts: Ints, ends: Ints) -> Ints:
    """Per interval a lane of its group in which any two are apart or one within the other."""
    lanes = np.zeros(len(starts), dtype=np.int64)
    for rows in _by_group(groups, starts, ends):
        stacks: list[list[int]] = []
        found = []
        for start, end in zip(starts[rows].tolist(), ends[rows].tolist(), strict=True):
            lane = _lane_around(stacks, start, end)
            stacks[lane].append(end)
            found.append(lane)
        lanes[rows] = found
    return lanes


def _lane_around(stacks: list[list[int]], start: int, end: int) -> int:
    """The first lane, of those there are or a new one, whose open intervals all hold this one."""
    for lane, stack in enumerate(stacks):
        while stack and stack[-1] <= start:
            stack.pop()
        if not stack or end <= stack[-1]:
            return lane
    stacks.append([])
    return len(stacks) - 1


def _by_group(groups: Ints, starts: Ints, ends: Ints) -> list[Ints]:
    """The rows of each group by their start; of those with one start the longest is first."""
    if not len(groups):
        return []
    order = np.lexsort((-ends, starts, groups))
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, edges)
