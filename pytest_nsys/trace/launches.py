"""Which API call launched an operation: the join on correlation id and process.

Correlation ids are unique within a process only, and all operations of a CUDA graph share that
of their graph launch. An operation may be launched from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pytest_nsys.trace.source import ABSENT, Ints


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
    for process in pd.unique(pid):
        calls = np.flatnonzero((launches.pid == process) & (launches.correlation != ABSENT))
        wanted = np.flatnonzero((pid == process) & (correlation != ABSENT))
        if not len(calls) or not len(wanted):
            continue
        ids = launches.correlation[calls]
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        place = np.searchsorted(ids, correlation[wanted], side="left")
        known = place < len(ids)
        known[known] = ids[place[known]] == correlation[wanted[known]]
        found[wanted[known]] = calls[order[place[known]]]
    return found


def in_order(columns: Mapping[str, Ints], keys: tuple[str, ...]) -> dict[str, Ints]:
    """The rows sorted by the keys, the first weighing most; equal ones stay in their order."""
    order: Ints | None = None
    for key in reversed(keys):
        values = columns[key] if order is None else columns[key][order]
        # Exports are nearly in order already, which a stable sort makes use of.
        if len(values) < 2 or bool((values[1:] >= values[:-1]).all()):
            continue
        step = np.argsort(values, kind="stable")
        order = step if order is None else order[step]
    if order is None:
        return dict(columns)
    return {name: values[order] for name, values in columns.items()}
