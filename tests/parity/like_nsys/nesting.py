"""How NVTX ranges lie within each other, by nsys's reckoning."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pytest_nsys.support.arrays.rows import Floats, Ints

NONE = -1


@dataclass(frozen=True)
class Nesting:
    """Where each range lies.

    Attributes:
        parent: number of the range around it, or -1.
        level: number of ranges around it, one within the other; nan where nsys finds no level.
    """

    parent: Ints
    level: Floats


def nest(starts: Ints, ends: Ints, threads: Ints) -> Nesting:
    """The parent of each range: the shortest other range on its thread that contains it.

    Start/end ranges may cross each other, so that there may be several that contain it and not
    each other; of those of one length it is the one with the smallest number (nsys: the one whose
    row comes first). Ranges with the same start and end are each other's parents: nsys never
    arrives at their level, nor at that of the ranges within them.

    Args:
        starts: ns.
        ends: ns, not before ``starts``.
        threads: serialised thread ids.
    """
    order = np.lexsort((-ends, starts, threads))  # stable, and containers before contents
    twin = np.zeros(len(order), dtype=bool)  # as the one before
    twin[1:] = np.all(
        [column[order][1:] == column[order][:-1] for column in (starts, ends, threads)], axis=0
    )
    firsts = order[~twin]
    first_of = firsts[np.cumsum(~twin) - 1]
    second = np.zeros(len(order), dtype=bool)
    second[1:] = twin[1:] & ~twin[:-1]

    parent = np.full(len(order), NONE, dtype=np.int64)
    level = np.zeros(len(order))
    parent[order[twin]] = first_of[twin]
    level[order[twin]] = math.nan
    parent[first_of[second]] = order[second]
    level[first_of[second]] = math.nan
    _nest_distinct(firsts.tolist(), starts.tolist(), ends.tolist(), threads.tolist(), parent, level)
    return Nesting(parent, level)


def _nest_distinct(
    order: list[int],
    starts: list[int],
    ends: list[int],
    threads: list[int],
    parent: Ints,
    level: Floats,
) -> None:
    """Fill in parents and levels of ranges without twins, in an order that has containers first."""
    around: list[int] = []
    thread = NONE
    for this in order:
        if threads[this] != thread:
            thread, around = threads[this], []
        start, end = starts[this], ends[this]
        around = [other for other in around if ends[other] >= start]
        if parent[this] == NONE:
            containers = [other for other in around if ends[other] >= end]
            if containers:
                found = min(containers, key=lambda other: (ends[other] - starts[other], other))
                parent[this] = found
                level[this] = level[found] + 1
        around.append(this)
