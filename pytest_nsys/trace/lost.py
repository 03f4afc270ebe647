"""Operations that must have been, by the calls for them, and of which the export has none.

A table that is missing is a table without rows: in itself that is nothing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pytest_nsys.trace.tables import Trace

_GRAPH_LAUNCH = re.compile(r"cu(da)?GraphLaunch(_|$)")
_POOL_ALLOCATION = re.compile(r"cu(daMalloc|MemAlloc)(Async|FromPoolAsync)")
_LAUNCHES = (
    ("kernels", re.compile(r"cu(da)?Launch(Cooperative)?Kernel")),
    ("copies", re.compile(r"cu(da)?Memcpy")),
    ("memory sets", re.compile(r"cu(da)?Memset")),
)


def lost_operations(
    calls: pd.DataFrame,
    kernels: pd.DataFrame,
    copies: pd.DataFrame,
    memsets: pd.DataFrame,
    graphs: pd.DataFrame,
    strings: Mapping[int, str],
) -> list[str]:
    """One line for each kind of which there are calls, and nothing that they did."""
    found = []
    # Calls under stream capture do nothing but build a graph.
    if not len(graphs):
        for (what, pattern), table in zip(_LAUNCHES, (kernels, copies, memsets), strict=True):
            if not len(table) and (count := _count(calls, pattern, strings)):
                found.append(
                    f"{count} calls are for {what}, and the export has none: "
                    "they failed, or their events are lost"
                )
    launches = _matching(calls, _GRAPH_LAUNCH, strings)
    if launches and not len(graphs):
        nodes = [_launched_by(table, calls, launches) for table in (kernels, copies, memsets)]
        if not sum(map(len, nodes)):
            found.append(
                "the export has nothing of what its CUDA graph launches ran: "
                "they failed, or their events are lost"
            )
        elif count := sum(int((table["graph_node"] < 0).sum()) for table in nodes):
            found.append(
                f"{count} operations of CUDA graphs do not say so: "
                "they count as if each had been launched by itself"
            )
    return found


def launches_without_kernels(trace: Trace) -> int:
    """How many calls launch kernels, in a capture that has none of what they launched."""
    if len(trace.kernels) or len(trace.graphs):
        return 0
    return _count(trace.calls, _LAUNCHES[0][1], trace.strings) + _count(
        trace.calls, _GRAPH_LAUNCH, trace.strings
    )


def lost_pools(calls: pd.DataFrame, memory: pd.DataFrame, strings: Mapping[int, str]) -> list[str]:
    """A line if calls allocate from pools, and allocations are recorded, but none as of a pool."""
    count = _count(calls, _POOL_ALLOCATION, strings)
    if not count or not len(memory) or (memory["pool"] >= 0).any():
        return []
    return [f"{count} calls allocate from memory pools, and no allocation says from which"]


def _matching(
    calls: pd.DataFrame, pattern: re.Pattern[str], strings: Mapping[int, str]
) -> list[int]:
    names = pd.unique(calls["name"]).tolist()
    return [name for name in names if pattern.match(strings.get(name, ""))]


def _count(calls: pd.DataFrame, pattern: re.Pattern[str], strings: Mapping[int, str]) -> int:
    return int(calls["name"].isin(_matching(calls, pattern, strings)).sum())


def _launched_by(table: pd.DataFrame, calls: pd.DataFrame, names: list[int]) -> pd.DataFrame:
    wanted = np.append(calls["name"].isin(names).to_numpy(), False)  # -1, no call, picks the last
    chosen: pd.DataFrame = table[wanted[table["call"].to_numpy()]]
    return chosen
