"""What a window is made of: kernels by name, copies by size, calls, allocations, ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.cuda.names import COPY_TEXTS, MEMSET_TEXT, UNIFIED_COPIES, api_name
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.window import (
    COPY_KINDS,
    blocking_names,
    durations,
    is_pageable,
)
from pytest_nsys.support.arrays.grouping import coded, sums
from pytest_nsys.support.arrays.rows import Ints, Members, NameSums
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.schema import MemcpyKind
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut
from pytest_nsys.windows.ranges import user_ranges

Texts = npt.NDArray[np.object_]

_UNIFIED = (MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D)
_COPY_NAMES = {
    **{kind: name for name, kind in COPY_KINDS.items()},
    **dict(zip(_UNIFIED, UNIFIED_COPIES, strict=True)),
}
_SHOWN_RANGES = 30

WHOLE_GRAPH = "CUDA graph, as a whole"
"""What a graph is called among the kernels where its own are not listed."""


@dataclass(frozen=True)
class Lines:
    """The lines of a breakdown of all windows, one row per window and label, by window.

    Attributes:
        window: number of the window.
        label: what the line is called.
        raw: the name that patterns are matched with; one label may stand for several.
        count: how many.
        ns: their time.
        bytes: what they copied, set or allocated.
    """

    window: Ints
    label: Texts
    raw: Texts
    count: Ints
    ns: Ints
    bytes: Ints

    @classmethod
    def none(cls) -> Lines:
        """No line at all."""
        numbers, texts = np.empty(0, dtype=np.int64), np.empty(0, dtype=object)
        return cls(numbers, texts, texts, numbers, numbers, numbers)


def breakdowns(cut: Cut, naming: Naming) -> Mapping[Breakdown, Lines]:
    """The lines of every kind that a window has; those of memory are `peak_allocations`."""
    return {
        "kernels": _kernels(cut, naming),
        "copies": _copies(cut),
        "memsets": _memsets(cut),
        "syncs": _named(cut.trace, blocking_names(cut), api_name),
        "calls": _named(cut.trace, cut.call_names, api_name),
        "ranges": _ranges(cut),
        "devices": _split(cut, "device", lambda _, device: f"GPU {device}"),
        "processes": _split(cut, "pid", lambda place, _: f"process {place + 1}"),
    }


def peak_allocations(cut: Cut, memory: MemoryTimeline) -> Lines:
    """For spans: what was allocated in the span and is live at its memory peak, by size."""
    windows, sizes = [], []
    for window, (start, end) in enumerate(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)):
        live = memory.live_sizes(start, memory.live.peak(start, end)[1])
        windows.append(np.full(len(live), window, dtype=np.int64))
        sizes.append(live)
    nothing = np.empty(0, dtype=np.int64)
    size = np.concatenate([nothing, *sizes])
    members = Members(np.concatenate([nothing, *windows]), np.arange(len(size)))
    labels = format_amount
    return _sized(members, [size], np.zeros_like(size), size, lambda n: (labels(n, "B"),) * 2)


def _kernels(cut: Cut, naming: Naming) -> Lines:
    """By canonical name; whole CUDA graphs, where their kernels are not listed, are one line."""
    listed = _named(cut.trace, cut.kernel_names, naming.canonical)
    if not len(cut.graphs.row):
        return listed
    graphs = cut.trace.graphs
    window, code, count, ns = sums(
        cut.graphs, np.zeros(len(graphs), dtype=np.int64), 1, durations(graphs)
    )
    name = _texts([WHOLE_GRAPH])[code]
    found = Lines(window, name, name, count, ns, np.zeros_like(ns))
    order = np.argsort(np.concatenate([listed.window, window]), kind="stable")
    columns = (
        np.concatenate([getattr(part, one.name) for part in (listed, found)])[order]
        for one in fields(Lines)
    )
    return Lines(*columns)


def _named(trace: Trace, sums: NameSums, label: Callable[[str], str]) -> Lines:
    codes, ids = coded(sums.name)
    texts = [trace.strings[key] for key in ids.tolist()]
    labels, raws = _texts([label(text) for text in texts]), _texts(texts)
    size = np.zeros_like(sums.ns)
    return Lines(sums.window, labels[codes], raws[codes], sums.count, sums.ns, size)


def copy_name(kind: int, pageable: int, size: int) -> str:
    """The label of a copy: "h2d 4 MiB pageable"."""
    name = _COPY_NAMES.get(kind, f"copy kind {kind}")
    return f"{name} {format_amount(size, 'B')}{' pageable' if pageable else ''}"


def memset_name(size: int) -> str:
    """The label of a memory set: "memset 4 MiB"."""
    return f"memset {format_amount(size, 'B')}"


def _copies(cut: Cut) -> Lines:
    table = cut.trace.copies

    def label(kind: int, pageable: int, size: int) -> tuple[str, str]:
        name = _COPY_NAMES.get(kind, f"copy kind {kind}")
        return copy_name(kind, pageable, size), COPY_TEXTS.get(name, name)

    sizes = table["bytes"].to_numpy()
    keys = [table["kind"].to_numpy(), is_pageable(table).astype(np.int64), sizes]
    return _sized(cut.copies, keys, durations(table), sizes, label)


def _memsets(cut: Cut) -> Lines:
    table = cut.trace.memsets
    sizes = table["bytes"].to_numpy()

    def label(size: int) -> tuple[str, str]:
        return memset_name(size), MEMSET_TEXT

    return _sized(cut.memsets, [sizes], durations(table), sizes, label)


def _sized(
    members: Members,
    keys: Sequence[Ints],
    times: Ints,
    sizes: Ints,
    label: Callable[..., tuple[str, str]],
) -> Lines:
    """Rows by label and raw name, which are made once per distinct combination of keys."""
    codes = np.zeros(len(sizes), dtype=np.int64)
    for key in keys:
        code, values = pd.factorize(key)
        codes, _ = pd.factorize(codes * max(len(values), 1) + code)
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    pairs = [label(*(int(key[row]) for key in keys)) for row in first.tolist()]
    # Different sizes may read the same.
    distinct = sorted(set(pairs))
    place = {pair: number for number, pair in enumerate(distinct)}
    merged = np.array([place[pair] for pair in pairs], dtype=np.int64)[codes]
    window, code, count, ns, size = sums(members, merged, len(distinct), times, sizes)
    labels, raws = (_texts([pair[side] for pair in distinct]) for side in (0, 1))
    return Lines(window, labels[code], raws[code], count, ns, size)


def _ranges(cut: Cut) -> Lines:
    """The program's own NVTX ranges that began in each window, by text, the longest first.

    The time of a range is that of the kernels that its process launched in it, from any thread.
    """
    ranges = user_ranges(cut.trace)
    start, end, pid = (ranges[name].to_numpy(np.int64) for name in ("start", "end", "pid"))
    kernels = cut.trace.kernels
    ns = np.zeros(len(ranges), dtype=np.int64)
    for process in pd.unique(pid):
        own = kernels[kernels["pid"].to_numpy() == process]
        launched = own["launched"].to_numpy()
        total = np.concatenate([[0], np.cumsum(durations(own))])
        inside = pid == process
        last, first = (np.searchsorted(launched, edge[inside]) for edge in (end, start))
        ns[inside] = total[last] - total[first]
    codes, texts = pd.factorize(ranges["text"].to_numpy(dtype=object))
    window, code, count, ns = sums(cut.members(ranges["start"]), codes, len(texts), ns)
    order = np.lexsort((-ns, window))
    place = np.arange(len(order)) - np.searchsorted(window[order], window[order])
    kept = np.sort(order[place < _SHOWN_RANGES])
    window, code, count, ns = window[kept], code[kept], count[kept], ns[kept]
    labels = _texts(list(texts))[code]
    return Lines(window, labels, labels, count, ns, np.zeros_like(ns))


def _split(cut: Cut, column: str, label: Callable[[int, int], str]) -> Lines:
    """The kernels by a column, in windows that have several of its values.

    ``label`` gets a value's place in the order of appearance, and the value.
    """
    found = cut.trace.kernels[column].to_numpy()
    if not len(found) or found.min() == found.max():
        return Lines.none()
    codes, values = pd.factorize(found)
    window, code, count, ns = sums(cut.kernels, codes, len(values), durations(cut.trace.kernels))
    several = np.bincount(window, minlength=1)[window] > 1
    labels = _texts([label(place, int(value)) for place, value in enumerate(values)])
    texts = labels[code[several]]
    window, count, ns = window[several], count[several], ns[several]
    return Lines(window, texts, texts, count, ns, np.zeros_like(ns))


def _texts(texts: Sequence[str]) -> Texts:
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found
