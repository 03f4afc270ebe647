"""nsys's ``nvtx_gpu_proj_sum``: NVTX ranges projected onto the GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from pytest_nsys.support.arrays.rows import Floats, Ints
from pytest_nsys.trace.schema import NvtxType
from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.grouping import by_columns, by_text, descending
from tests.parity.like_nsys.nesting import nest
from tests.parity.like_nsys.summary import summarise
from tests.parity.like_nsys.table import CsvTable, csv_table, rounded

_STYLES: Final = {NvtxType.PUSH_POP: "PushPop", NvtxType.START_END: "StartEnd"}
_PAIRS: Final = 1 << 22
"""How many pairs of a range and a call within it are looked at at once."""


@dataclass(frozen=True)
class _Projected:
    """The ranges within which their own thread launched GPU operations.

    Attributes:
        row: their row, ascending.
        duration: ns from the first operation's start to the last one's end.
        operations: how many API calls launched any.
    """

    row: Ints
    duration: Ints
    operations: Ints


def nvtx_gpu_proj_sum(trace: Trace) -> CsvTable:
    """GPU time of the ranges by domain, text and style.

    A range is projected onto the kernels, copies and memory sets whose API calls lie within it
    on its own thread: from the start of the first of them to the end of the last. Whole CUDA
    graphs are none of these, and what one call launched counts as one operation. Ranges without
    operations are left out, but make levels. Ranges that another thread ended are left out
    altogether. An open range lasts until the last time that any range knows of.
    """
    ranges = _ranges_of_one_thread(trace)
    projected = _project(ranges, _launching_calls(trace))
    chosen = ranges.iloc[projected.row]
    nesting = nest(*(ranges[name].to_numpy(np.int64) for name in ("start", "end", "tid")))
    parents = nesting.parent[projected.row]
    children = np.bincount(parents[parents >= 0], minlength=len(ranges))[projected.row]

    texts = [
        f"{domain}:{text}" for domain, text in zip(chosen["domain"], chosen["text"], strict=True)
    ]
    text, names = by_text(np.arange(len(texts)), dict(enumerate(texts)))
    style, styles = by_text(chosen["style"].to_numpy(), _STYLES)
    groups, rows = by_columns([text, style])
    number = len(rows)
    spans = (chosen["end"] - chosen["start"]).to_numpy(np.int64)
    times = summarise(projected.duration, groups, number)
    operations = summarise(projected.operations, groups, number)
    order = descending(times.total)
    rows = rows[order]
    times, operations = times.take(order), operations.take(order)
    return csv_table(
        [
            ("Range", [names[key] for key in text[rows]], str),
            ("Style", [styles[key] for key in style[rows]], str),
            ("Total Proj Time (ns)", times.total, str),
            ("Total Range Time (ns)", summarise(spans, groups, number).total[order], str),
            ("Range Instances", times.count, str),
            *times.columns("Proj {} (ns)"),
            ("Total GPU Ops", operations.total, str),
            ("Avg GPU Ops", operations.mean, rounded),
            ("Avg Range Lvl", _means(nesting.level[projected.row], groups, number)[order], rounded),
            ("Avg Num Child", summarise(children, groups, number).mean[order], rounded),
        ]
    )


def _means(values: Floats, groups: Ints, number: int) -> Floats:
    """Per group, the mean of the values that are known; nan where none is."""
    known = ~np.isnan(values)
    # Levels are small integers.
    return summarise(values[known].astype(np.int64), groups[known], number).mean


def _ranges_of_one_thread(trace: Trace) -> pd.DataFrame:
    """The ranges that count, with an end each; none where not even one range ever ended."""
    ranges = trace.ranges
    if not (ranges["end"] != -1).any():
        return ranges.iloc[:0]
    latest = max(int(ranges["start"].max()), int(ranges["end"].max()))
    chosen = ranges[ranges["end_tid"] < 0]
    return chosen.assign(end=chosen["end"].where(chosen["end"] != -1, latest))


def _launching_calls(trace: Trace) -> pd.DataFrame:
    """The API calls that launched operations, by thread and start, with ``first``, the start of
    the first of their operations, and ``last``, the end of the last one."""
    tables = [table[["call", "start", "end"]] for table in (trace.kernels, trace.copies)]
    operations = pd.concat([*tables, trace.memsets[["call", "start", "end"]]])
    operations = operations[operations["call"] >= 0]
    spans = operations.groupby("call").agg(first=("start", "min"), last=("end", "max"))
    calls = trace.calls.iloc[spans.index.to_numpy()][["tid", "start", "end"]]
    calls = calls.assign(first=spans["first"].to_numpy(), last=spans["last"].to_numpy())
    return calls.sort_values(["tid", "start"], kind="stable", ignore_index=True)


def _project(ranges: pd.DataFrame, calls: pd.DataFrame) -> _Projected:
    """Project the ranges onto the operations of the calls that lie within them."""
    threads, callers = (table["tid"].to_numpy(np.int64) for table in (ranges, calls))
    by_thread = np.argsort(threads, kind="stable")
    found: list[tuple[Ints, Ints, Ints]] = []
    for thread in np.unique(threads).tolist():
        rows = by_thread[_where(threads[by_thread], thread)]
        found += _project_thread(ranges.iloc[rows], rows, calls.iloc[_where(callers, thread)])
    parts = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
    row, duration, operations = parts or [np.empty(0, dtype=np.int64)] * 3
    order = np.argsort(row, kind="stable")
    return _Projected(row[order], duration[order], operations[order])


def _where(ascending: Ints, value: int) -> slice:
    """The place of the elements that have this value."""
    low, high = (np.searchsorted(ascending, value, side=side) for side in ("left", "right"))
    return slice(int(low), int(high))


def _project_thread(
    ranges: pd.DataFrame, rows: Ints, calls: pd.DataFrame
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """For ranges with operations: row, duration and number of operations."""
    started, ended, first, last = (
        calls[name].to_numpy(np.int64) for name in ("start", "end", "first", "last")
    )
    ends = ranges["end"].to_numpy(np.int64)
    low = np.searchsorted(started, ranges["start"].to_numpy(np.int64), side="left")
    sizes = np.maximum(np.searchsorted(started, ends, side="right") - low, 0)
    for part in _pieces(sizes):
        size = sizes[part]
        owner = np.repeat(np.arange(len(size)), size)
        call = np.arange(len(owner)) + np.repeat(low[part] - (np.cumsum(size) - size), size)
        inside = ended[call] <= ends[part][owner]
        owner, call = owner[inside], call[inside]
        count = np.bincount(owner, minlength=len(size))
        filled = np.flatnonzero(count)
        if len(filled):
            begin = np.cumsum(count[filled]) - count[filled]
            start = np.minimum.reduceat(first[call], begin)
            end = np.maximum.reduceat(last[call], begin)
            yield rows[part][filled], end - start, count[filled]


def _pieces(sizes: Ints) -> Iterator[slice]:
    """Slices whose sizes add up to about `_PAIRS` at most, or that have one element."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        done = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, done + _PAIRS, side="right")), begin + 1)
        yield slice(begin, end)
        begin = end
