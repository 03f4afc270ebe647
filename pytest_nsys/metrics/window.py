"""Metrics of single windows: sums and counts over the rows that belong to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from pytest_nsys.cuda.names import api_name
from pytest_nsys.support.arrays.grouping import are_among, chosen
from pytest_nsys.support.arrays.rows import Flags, Floats, Ints, Members, NameSums
from pytest_nsys.trace.calls import CallClass, blocks, call_class
from pytest_nsys.trace.schema import MemcpyKind, MemKind
from pytest_nsys.windows.cut import Cut

COPY_KINDS: Mapping[str, int] = {
    "h2d": MemcpyKind.H2D,
    "d2h": MemcpyKind.D2H,
    "d2d": MemcpyKind.D2D,
    "p2p": MemcpyKind.P2P,
}

_GRAPH_LAUNCH = re.compile(r"cu(da)?GraphLaunch")


def durations(table: pd.DataFrame) -> Ints:
    """end - start of each row, ns."""
    return (table["end"] - table["start"]).to_numpy(np.int64)


def launching_names(operations: pd.DataFrame, calls: pd.DataFrame) -> Ints:
    """String ids of the API functions that launched the operations; -1 where unknown."""
    rows = operations["call"].to_numpy()
    names = np.full(len(rows), -1, dtype=np.int64)
    names[rows >= 0] = calls["name"].to_numpy()[rows[rows >= 0]]
    return names


def _named(cut: Cut, wanted: Callable[[str], object]) -> list[int]:
    """String ids of the names that are wanted."""
    return [key for key, name in cut.trace.strings.items() if wanted(name)]


def copies_of(cut: Cut, *kinds: int) -> Members:
    """The copies of these kinds."""
    return chosen(cut.copies, are_among(cut.trace.copies["kind"].to_numpy(), kinds))


def _kernel_time(cut: Cut) -> Floats:
    """Whole graphs stand for their kernels, where these are not listed."""
    return cut.times(cut.kernel_names) + cut.total(cut.graphs, durations(cut.trace.graphs))


def _kernel_count(cut: Cut) -> Floats:
    return cut.counts(cut.kernel_names) + cut.total(cut.graphs)


def _copy_bytes(cut: Cut, kind: int) -> Floats:
    return cut.total(copies_of(cut, kind), cut.trace.copies["bytes"].to_numpy())


def _copy_count(cut: Cut, kind: int) -> Floats:
    return cut.total(copies_of(cut, kind))


def _copy_time(cut: Cut, kind: int) -> Floats:
    return cut.total(copies_of(cut, kind), durations(cut.trace.copies))


def pageable_copies(cut: Cut) -> Members:
    """Asynchronous copies with a side in pageable host memory."""
    table = cut.trace.copies
    asynchronous = _named(cut, lambda name: call_class(name) is CallClass.ASYNC_COPY)
    names = launching_names(table, cut.trace.calls)
    return chosen(cut.copies, is_pageable(table) & are_among(names, asynchronous))


def is_pageable(copies: pd.DataFrame) -> Flags:
    """Per copy, whether a side of it is in pageable host memory."""
    flags: Flags = (copies[["source", "target"]] == MemKind.PAGEABLE).any(axis=1).to_numpy()
    return flags


def _pageable(cut: Cut) -> Floats:
    return cut.total(pageable_copies(cut))


def _memset_bytes(cut: Cut) -> Floats:
    return cut.total(cut.memsets, cut.trace.memsets["bytes"].to_numpy())


def _memset_count(cut: Cut) -> Floats:
    return cut.total(cut.memsets)


def _memset_time(cut: Cut) -> Floats:
    return cut.total(cut.memsets, durations(cut.trace.memsets))


def blocking_calls(cut: Cut) -> Members:
    """Calls that wait for the device.

    By name, and not by rows of the SYNCHRONIZATION table: nsys 2025.3 numbers that table's
    syncType one below CUPTI's for streams (cudaStreamSynchronize has the 2 of
    cudaStreamWaitEvent, which blocks nobody) and gives cudaDeviceSynchronize no row.
    """
    names = cut.trace.calls["name"].to_numpy()
    return chosen(cut.calls, are_among(names, _named(cut, blocks)))


def blocking_names(cut: Cut) -> NameSums:
    """The lines of `blocking_calls`."""
    return _lines(cut, blocks)


def _lines(cut: Cut, wanted: Callable[[str], object]) -> NameSums:
    """The lines of the API calls whose names are wanted."""
    return cut.call_names.only(are_among(cut.call_names.name, _named(cut, wanted)))


def _sync_count(cut: Cut) -> Floats:
    return cut.counts(blocking_names(cut))


def _sync_time(cut: Cut) -> Floats:
    return cut.times(blocking_names(cut))


def _graph_launches(cut: Cut) -> Floats:
    return cut.counts(_lines(cut, lambda name: _GRAPH_LAUNCH.fullmatch(api_name(name))))


def _api_count(cut: Cut) -> Floats:
    return cut.counts(cut.call_names)


def _wall_time(cut: Cut) -> Floats:
    return (cut.ends - cut.starts).astype(np.float64)


WINDOW_METRICS: Mapping[str, Callable[[Cut], Floats]] = {
    "gpu.kernel_time": _kernel_time,
    "gpu.kernel_count": _kernel_count,
    **{f"memcpy.{name}.bytes": partial(_copy_bytes, kind=k) for name, k in COPY_KINDS.items()},
    **{f"memcpy.{name}.count": partial(_copy_count, kind=k) for name, k in COPY_KINDS.items()},
    **{f"memcpy.{name}.time": partial(_copy_time, kind=k) for name, k in COPY_KINDS.items()},
    "memcpy.pageable": _pageable,
    "memset.bytes": _memset_bytes,
    "memset.count": _memset_count,
    "memset.time": _memset_time,
    "sync.count": _sync_count,
    "sync.time": _sync_time,
    "graph.launches": _graph_launches,
    "api.count": _api_count,
    "wall.time": _wall_time,
}
"""Per key, the function that computes it for every window of a cut."""
