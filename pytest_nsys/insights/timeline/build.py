"""From a trace to the timeline of a window of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pytest_nsys.cuda.names import api_name
from pytest_nsys.insights.timeline.model import (
    MOST_ELEMENTS,
    MOST_LANES,
    Label,
    Lane,
    Point,
    Timeline,
    in_timeline,
)
from pytest_nsys.insights.timeline.reduce import (
    Columns,
    category_codes,
    reduce_columns,
    reduced_points,
)
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.breakdown import copy_name, memset_name
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.window import COPY_KINDS, blocking_calls, is_pageable
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.schema import MemcpyKind
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import Cut
from pytest_nsys.windows.record import DOMAIN

_COPY_CATEGORIES: Mapping[int, str] = {
    **{kind: name for name, kind in COPY_KINDS.items()},
    **dict.fromkeys((MemcpyKind.UM_H2D, MemcpyKind.UM_D2H, MemcpyKind.UM_D2D), "unified"),
}
_NOUNS = {"range": "levels of ranges", "gpu": "streams", "host": "threads that wait"}


def timeline_of(trace: Trace, start: int, end: int, naming: Naming = Naming()) -> Timeline:
    """The timeline of [start, end) of a trace, times in ns."""
    cut = Cut(trace, np.array([start], dtype=np.int64), np.array([end], dtype=np.int64))
    (found,) = timelines_of(cut, naming)
    return found


def timelines_of(
    cut: Cut,
    naming: Naming = Naming(),
    parts: Mapping[str, str] | None = None,
    *,
    without_memory: Collection[int] = (),
) -> list[Timeline]:
    """The timelines of all windows of a cut.

    GPU operations are those that were launched in the window, also where they ran after it; waits
    are the calls that hold the host until the device is done, ranges those that began in the
    window, to its end at most.

    Args:
        cut: the windows.
        naming: how kernels are named.
        parts: which of the plugin's own ranges are shown, by their texts, and what they are called
            there: the parts of tests.
        without_memory: numbers of the windows before which there was memory that the capture knows
            nothing of.
    """
    labels = _Labels()
    ranges = _shown_ranges(cut.trace, parts or {})
    source = _Windows(
        cut=cut,
        memory=MemoryTimeline(cut.trace),
        operations=_operations(cut, naming, labels),
        waits=_waits(cut, labels),
        ranges=_ranges(cut, ranges, labels),
        labels=tuple(labels.numbers),
        categories=category_codes([label.category for label in labels.numbers]),
    )
    return [
        _timeline(source, number, with_memory=number not in without_memory)
        for number in range(len(cut))
    ]


@dataclass(frozen=True)
class _Rows:
    """Rows by window; all columns are equally long.

    Attributes:
        window: number of the window, ascending.
        columns: by name, ``label`` being the label's number.
    """

    window: Ints
    columns: Mapping[str, Ints]

    def of(self, window: int) -> Mapping[str, Ints]:
        """The columns of one window."""
        low, high = np.searchsorted(self.window, [window, window + 1])
        return {name: column[low:high] for name, column in self.columns.items()}


@dataclass(frozen=True)
class _Windows:
    """What the timelines of all windows are made of."""

    cut: Cut
    memory: MemoryTimeline
    operations: _Rows
    waits: _Rows
    ranges: _Rows
    labels: tuple[Label, ...]
    categories: Ints


@dataclass
class _Labels:
    """Labels as they are met, with their numbers."""

    numbers: dict[Label, int] = field(default_factory=dict)

    def number(self, text: str, category: str) -> int:
        """The number of a label."""
        return self.numbers.setdefault(
            Label(in_timeline(text), in_timeline(category)), len(self.numbers)
        )

    def of(self, keys: Sequence[Ints], label: Callable[..., tuple[str, str]]) -> Ints:
        """Per row, the number of its label, made once per combination of keys that occurs."""
        codes = np.zeros(len(keys[0]), dtype=np.int64)
        for key in keys:
            code, values = pd.factorize(key)
            codes, _ = pd.factorize(codes * max(len(values), 1) + code)
        _, first = np.unique(codes, return_index=True)
        found = [self.number(*label(*(int(key[row]) for key in keys))) for row in first.tolist()]
        return np.array(found, dtype=np.int64)[codes]

    def texts(self, texts: Sequence[str], category: str) -> Ints:
        """Per row, the number of the label with its text."""
        return np.array([self.number(text, category) for text in texts], dtype=np.int64)


@dataclass(frozen=True)
class _FilledLane:
    """A lane and what is on it: start and end in the capture, ns, and the labels' numbers."""

    lane: Lane
    start: Ints
    end: Ints
    label: Ints


def _timeline(source: _Windows, window: int, *, with_memory: bool) -> Timeline:
    start, end = int(source.cut.starts[window]), int(source.cut.ends[window])
    rows = [
        *_at_most(_range_lanes(source.ranges.of(window), end)),
        *_at_most(_gpu_lanes(source.operations.of(window))),
        *_at_most(_wait_lanes(source.waits.of(window))),
    ]
    every = Columns.joined([_columns(row, number, start) for number, row in enumerate(rows)])
    extent = max(end - start, int(every.end.max(initial=0)))
    fewer, cell = reduce_columns(every, source.categories, extent, MOST_ELEMENTS)
    memory, sparse = _memory(source.memory, start, end) if with_memory else ((), False)
    used, places = np.unique(fewer.label, return_inverse=True)
    return Timeline(
        length=end - start,
        lanes=tuple(row.lane for row in rows),
        labels=tuple(source.labels[number] for number in used.tolist()),
        elements=fewer.labelled(places.reshape(-1).astype(np.int64)).elements(),
        memory=memory,
        cell=cell,
        sparse=sparse,
    )


def _columns(row: _FilledLane, number: int, origin: int) -> Columns:
    # Clocks of GPU and host agree to about a microsecond: nothing begins before what launched it.
    start = np.maximum(row.start - origin, 0)
    return Columns(
        lane=np.full(len(start), number, dtype=np.int64),
        start=start,
        end=np.maximum(row.end - origin, start),
        label=row.label,
        operations=np.ones(len(start), dtype=np.int64),
        busy=np.maximum(row.end - row.start, 0),
        mixed=np.zeros(len(start), dtype=np.int64),
    )


def _at_most(rows: Sequence[_FilledLane]) -> list[_FilledLane]:
    """The rows, with those that have least on them as one where there are too many."""
    if not rows or len(rows) <= MOST_LANES[rows[0].lane.kind]:
        return list(rows)
    kind = rows[0].lane.kind
    busy = [int((row.end - row.start).sum()) for row in rows]
    ranked = sorted(range(len(rows)), key=lambda number: (-busy[number], number))
    few = MOST_LANES[kind] - 1
    kept, folded = sorted(ranked[:few]), [rows[number] for number in ranked[few:]]
    start, end, label = (
        np.concatenate([getattr(row, column) for row in folded])
        for column in ("start", "end", "label")
    )
    rest = _FilledLane(Lane(kind, f"{len(folded)} more {_NOUNS[kind]}"), start, end, label)
    return [*(rows[number] for number in kept), rest]


def _operations(cut: Cut, naming: Naming, labels: _Labels) -> _Rows:
    """The GPU operations of all windows."""
    trace = cut.trace
    tables = (trace.kernels, trace.copies, trace.memsets, trace.graphs)
    members = (cut.kernels, cut.copies, cut.memsets, cut.graphs)
    kernels, copies, memsets, graphs = (found.row for found in members)

    def kernel(name: int) -> tuple[str, str]:
        raw = trace.strings[name]
        return naming.canonical(raw), naming.category(raw)

    def copy(kind: int, pageable: int, size: int) -> tuple[str, str]:
        return copy_name(kind, pageable, size), _COPY_CATEGORIES.get(kind, "copy")

    kinds, sizes = (trace.copies[name].to_numpy(np.int64)[copies] for name in ("kind", "bytes"))
    pageable = is_pageable(trace.copies)[copies].astype(np.int64)
    cleared = trace.memsets["bytes"].to_numpy(np.int64)[memsets]
    columns = {
        name: np.concatenate(
            [
                table[name].to_numpy(np.int64)[found.row]
                for table, found in zip(tables, members, strict=True)
            ]
        )
        for name in ("start", "end", "pid", "device", "stream")
    }
    columns["label"] = np.concatenate(
        [
            labels.of([trace.kernels["name"].to_numpy(np.int64)[kernels]], kernel),
            labels.of([kinds, pageable, sizes], copy),
            labels.of([cleared], lambda size: (memset_name(size), "memset")),
            labels.texts(["CUDA graph"] * len(graphs), "graph"),
        ]
    )
    window = np.concatenate([found.window for found in members])
    order = np.argsort(window, kind="stable")
    return _Rows(window[order], {name: column[order] for name, column in columns.items()})


def _gpu_lanes(rows: Mapping[str, Ints]) -> list[_FilledLane]:
    """A lane for each stream of each device of each process."""
    start, end, label = rows["start"], rows["end"], rows["label"]
    processes = _in_order_of_appearance(rows["pid"], start)
    several, devices = len(processes) > 1, len(np.unique(rows["device"])) > 1
    place = np.array([processes[pid] for pid in rows["pid"].tolist()], dtype=np.int64)
    order = np.lexsort((rows["stream"], rows["device"], place))
    keys = np.stack([place, rows["device"], rows["stream"]])[:, order]
    firsts = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    lanes = []
    for mine in np.split(order, firsts[1:]) if len(order) else []:
        process, device, stream = (
            int(column[mine[0]]) for column in (place, rows["device"], rows["stream"])
        )
        words = [f"process {process + 1}"] * several + [f"GPU {device}"] * devices
        title = ", ".join([*words, f"stream {stream}"])
        lanes.append(_FilledLane(Lane("gpu", title), start[mine], end[mine], label[mine]))
    return lanes


def _in_order_of_appearance(values: Ints, times: Ints) -> dict[int, int]:
    """The distinct values with their places in the order of their first times."""
    ordered = values[np.argsort(times, kind="stable")]
    return {value: place for place, value in enumerate(pd.unique(ordered).tolist())}


def _waits(cut: Cut, labels: _Labels) -> _Rows:
    """The calls of all windows in which the host waited."""
    trace, members = cut.trace, blocking_calls(cut)
    columns = {
        name: trace.calls[name].to_numpy(np.int64)[members.row]
        for name in ("start", "end", "pid", "tid", "name")
    }
    label = labels.of([columns["name"]], lambda name: (api_name(trace.strings[name]), "sync"))
    return _Rows(members.window, {**columns, "label": label})


def _wait_lanes(rows: Mapping[str, Ints]) -> list[_FilledLane]:
    lanes = []
    for thread, title in _thread_names(rows, "waits").items():
        mine = rows["tid"] == thread
        start, end, label = (rows[name][mine] for name in ("start", "end", "label"))
        lanes.append(_FilledLane(Lane("host", title), start, end, label))
    return lanes


def _thread_names(rows: Mapping[str, Ints], what: str) -> dict[int, str]:
    """Titles by thread, in the order in which threads appear."""
    threads: dict[int, list[int]] = {}
    for pid, tid in dict.fromkeys(zip(rows["pid"].tolist(), rows["tid"].tolist(), strict=True)):
        threads.setdefault(pid, []).append(tid)
    names = {}
    for number, mine in enumerate(threads.values(), 1):
        process = f"process {number}, " if len(threads) > 1 else ""
        for place, tid in enumerate(mine, 1):
            thread = f", thread {place}" if len(mine) > 1 else ""
            names[tid] = f"{process}{what}{thread}"
    return names


def _shown_ranges(trace: Trace, parts: Mapping[str, str]) -> pd.DataFrame:
    """The closed ranges that are shown, with the texts that they are shown with."""
    closed = trace.ranges[trace.ranges["end"] != ABSENT]
    own = (closed["domain"] == DOMAIN).to_numpy(np.bool_)
    texts = closed["text"].tolist()
    pairs = zip(own.tolist(), texts, strict=True)
    named = [parts.get(text) if mine else text for mine, text in pairs]
    found = closed.assign(text=pd.Series(named, index=closed.index, dtype=object))
    return found[np.array([text is not None for text in named], dtype=np.bool_)]


def _ranges(cut: Cut, shown: pd.DataFrame, labels: _Labels) -> _Rows:
    """The ranges of all windows."""
    members = cut.members(shown["start"])
    columns = {
        name: shown[name].to_numpy(np.int64)[members.row] for name in ("start", "end", "pid", "tid")
    }
    texts = shown["text"].to_numpy(dtype=object)[members.row]
    return _Rows(members.window, {**columns, "label": labels.texts(texts.tolist(), "range")})


def _range_lanes(rows: Mapping[str, Ints], until: int) -> list[_FilledLane]:
    """The ranges of each thread, those within others on lanes below."""
    start, end, label = rows["start"], np.minimum(rows["end"], until), rows["label"]
    lanes = []
    for thread, title in _thread_names(rows, "ranges").items():
        mine = np.flatnonzero(rows["tid"] == thread)
        mine = mine[np.lexsort((-end[mine], start[mine]))]
        depth = _depths(start[mine], end[mine])
        for level in range(int(depth.max(initial=-1)) + 1):
            at = mine[depth == level]
            lane = Lane("range", "" if level else title)
            lanes.append(_FilledLane(lane, start[at], end[at], label[at]))
    return lanes


def _depths(start: Ints, end: Ints) -> Ints:
    """Per range, in the order of starts, the first row on which no range is open any more.

    Of ranges that nest it is how many are around it; those that only overlap are apart as well.
    """
    free: list[int] = []
    taken: list[tuple[int, int]] = []
    depths = []
    for begin, until in zip(start.tolist(), end.tolist(), strict=True):
        while taken and taken[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(taken)[1])
        depth = heapq.heappop(free) if free else len(taken)
        heapq.heappush(taken, (until, depth))
        depths.append(depth)
    return np.array(depths, dtype=np.int64)


def _memory(memory: MemoryTimeline, start: int, end: int) -> tuple[tuple[Point, ...], bool]:
    """Live device memory in a window, from its start on."""
    if not memory.recorded:
        return (), False
    low, high = np.searchsorted(memory.live.times, [start, end], side="left")
    times = np.concatenate([np.zeros(1, np.int64), memory.live.times[low:high] - start])
    before = np.array([memory.live.before(start)], dtype=np.int64)
    live = np.concatenate([before, memory.live.values[low:high]])
    return reduced_points(times, live, end - start)
