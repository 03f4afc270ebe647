"""Which API call launched an operation: the join on correlation id and process.

Correlation ids are unique within a process only, and all operations of a CUDA graph share that
of their graph launch. An operation may be launched from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.source import ABSENT

_SPARSE = 8
"""How many times more ids than calls there may be for a table of all ids to be worth it."""


@dataclass(frozen=True)
class Launches:
    """The API calls that operations are launched by, ascending by start.

    Attributes:
        start: ns.
        pid: serialised process id.
        correlation: correlation id, unique within a process.
    """

    start: Ints
    pid: Ints
    correlation: Ints


def find_launches(launches: Launches, pid: Ints, correlation: Ints) -> Ints:
    """Per operation, the number of the call that launched it; -1 where none was recorded.

    Of several calls of one correlation id in one process, it is the first.
    """
    found = np.full(len(correlation), ABSENT, dtype=np.int64)
    processes = pd.unique(pid)
    one_process = len(processes) == 1 and bool((launches.pid == processes[0]).all())
    for process in processes:
        if one_process:
            return _find(launches.correlation, correlation)
        calls = np.flatnonzero(launches.pid == process)
        wanted = np.flatnonzero(pid == process)
        places = _find(launches.correlation[calls], correlation[wanted])
        known = places != ABSENT
        found[wanted[known]] = calls[places[known]]
    return found


def _find(ids: Ints, wanted: Ints) -> Ints:
    """Where each wanted id is first among ``ids``; -1 where it is not. An id of -1 is none."""
    found = np.full(len(wanted), ABSENT, dtype=np.int64)
    known = ids != ABSENT
    if not known.any():
        return found
    low, high = int(ids[known].min()), int(ids[known].max())
    if high - low >= _SPARSE * len(ids) + 1024:
        return _find_sorted(ids, wanted)
    # CUPTI counts them up, so that a table from id to row is the fastest way.
    table = np.full(high - low + 1, ABSENT, dtype=np.int64)
    rows = np.flatnonzero(known)[::-1]
    table[ids[rows] - low] = rows  # of equal ids, the one assigned last stays: the first row
    inside = np.flatnonzero((wanted >= low) & (wanted <= high) & (wanted != ABSENT))
    found[inside] = table[wanted[inside] - low]
    return found


def _find_sorted(ids: Ints, wanted: Ints) -> Ints:
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    place = np.searchsorted(ids, wanted, side="left")
    known = (place < len(ids)) & (wanted != ABSENT)
    known[known] = ids[place[known]] == wanted[known]
    found = np.full(len(wanted), ABSENT, dtype=np.int64)
    found[known] = order[place[known]]
    return found


def in_order(columns: dict[str, Ints], keys: tuple[str, ...]) -> dict[str, Ints]:
    """The rows sorted by the keys, the first weighing most; equal ones stay in their order.

    The columns are used up, one by one, so that a large table is never there twice.
    """
    order: Ints | None = None
    for key in reversed(keys):
        values = columns[key] if order is None else columns[key][order]
        # Exports are nearly in order already, which a stable sort makes use of.
        if len(values) < 2 or bool((values[1:] >= values[:-1]).all()):
            continue
        step = np.argsort(values, kind="stable")
        order = step if order is None else order[step]
    if order is None:
        return columns
    return {name: columns.pop(name)[order] for name in [*columns]}
