"""A capture as a trace that https://ui.perfetto.dev opens.

The Trace Event Format, JSON with an object at the top: complete events (``X``) for what has a
duration, flow events (``s``, ``f``) from a call to what it launched, counters (``C``) and names
(``M``). Times are microseconds from the first event on, to the nanosecond.

In this format the events of one thread nest; those that merely overlap are moved out of sight.
Operations of one stream may overlap (nodes of a CUDA graph, programmatic dependent launches), and
so may ranges of a thread: they stand on as many lanes, threads with the same name, as it takes.

What else Perfetto's reader asks for, in the versions of several years: names of threads are looked
up by their number alone, which therefore no two processes share; older readers stop at a key of
the document that they do not know, take "displayTimeUnit" for the unit of all times, and find the
time of an event only where no string with an escaped character is before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from pytest_nsys import __version__
from pytest_nsys.cuda.names import api_name
from pytest_nsys.errors import NotACapture
from pytest_nsys.kernels.naming import Naming
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.offline.lanes import flat_lanes, nested_lanes
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace import Trace
from pytest_nsys.trace.narrow import of_device
from pytest_nsys.trace.schema import MemcpyKind, MemKind, process_number, thread_number
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.windows.cut import Cut, whole
from pytest_nsys.windows.ranges import (
    EVERYTHING,
    Selection,
    of_selected_process,
    selected_ranges,
)

TraceEvent = dict[str, Any]

_KINDS: Mapping[str, str] = {
    "kernels": "kernel",
    "copies": "copy",
    "memsets": "memset",
    "graphs": "graph",
}
_OPERATIONS = (*_KINDS,)
_STREAM = ["device", "pid", "context", "stream"]
_DEVICES = 1 << 24
"""Numbers of processes from here on are not the operating system's."""

_LANES = 1 << 25
"""Numbers of threads from here on are neither the operating system's nor those of processes."""

_EVENTS = 5_000
_ROWS = 50_000
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_DIRECTIONS: Mapping[int, str] = {
    MemcpyKind.H2D: "h2d",
    MemcpyKind.D2H: "d2h",
    MemcpyKind.D2D: "d2d",
    MemcpyKind.P2P: "p2p",
    MemcpyKind.UM_H2D: "um h2d",
    MemcpyKind.UM_D2H: "um d2h",
    MemcpyKind.UM_D2D: "um d2d",
}
_MEMORIES: Mapping[int, str] = {
    MemKind.PAGEABLE: "pageable",
    MemKind.PINNED: "pinned",
    MemKind.DEVICE: "device",
    MemKind.ARRAY: "array",
    MemKind.MANAGED: "managed",
    MemKind.DEVICE_STATIC: "device static",
    MemKind.MANAGED_STATIC: "managed static",
}


def perfetto_text(
    trace: Trace, selection: Selection = EVERYTHING, naming: Naming = Naming()
) -> Iterator[str]:
    """The trace's JSON in pieces, so that the text of a large capture is never there as a whole.

    Args:
        trace: the capture.
        selection: what of it.
        naming: how kernels are named.

    Raises:
        NotACapture: there is no such range or process, or it has no times; at once, not with the
            first piece.
    """
    if not trace.knows("gpu.busy"):
        raise NotACapture(
            "there is nothing to draw: the capture does not say when a kernel ran",
            remedy="have Proton write a trace (data='trace'), or give a capture of nsys",
        )
    trace = of_selected_process(trace, selection)
    if selection.range is None:
        return _text(_Events(whole(trace), naming))
    rows = selected_ranges(trace, selection)
    start, end, pid = (rows[name].to_numpy(np.int64) for name in ("start", "end", "pid"))
    return _text(_Events(Cut(trace, start, end), naming, pid))


def _text(events: _Events) -> Iterator[str]:
    yield '{"traceEvents":[\n'
    comma = ""
    found = events.all()
    while piece := list(islice(found, _EVENTS)):
        yield comma + _encode(piece)[1:-1]
        comma = ",\n"
    yield f'\n],"otherData":{_encode(events.facts())}}}\n'


class _Tracks:
    """The processes and threads of the trace by what they stand for.

    Those of the host keep the system's numbers where two do not have the same.
    """

    def __init__(self) -> None:
        self.names: list[TraceEvent] = []
        self._processes: dict[object, int] = {}
        self._threads: dict[object, tuple[int, int]] = {}
        self._taken: dict[str, set[int]] = {"process": set(), "thread": set()}

    def known(self, key: object) -> tuple[int, int] | None:
        """A thread that was seen already: there are few, asked for a million times."""
        return self._threads.get(key)

    def process(self, key: object, number: int, name: str) -> int:
        """The number of a process, ``number`` if that is free."""
        if key not in self._processes:
            pid = self._free("process", number, _DEVICES)
            self._processes[key] = pid
            self._name("process", {"pid": pid}, name)
        return self._processes[key]

    def thread(self, key: object, pid: int, number: int, name: str) -> tuple[int, int]:
        """The numbers of a thread and its process."""
        if key not in self._threads:
            tid = self._free("thread", number, _LANES)
            self._threads[key] = (pid, tid)
            self._name("thread", {"pid": pid, "tid": tid}, name)
        return self._threads[key]

    def _name(self, kind: str, whose: Mapping[str, int], name: str) -> None:
        place = len(self._taken[kind])
        for what, args in (("name", {"name": name}), ("sort_index", {"sort_index": place})):
            event = {"ph": "M", "ts": 0, **whose, "name": f"{kind}_{what}", "args": args}
            self.names.append(event)

    def _free(self, kind: str, number: int, others: int) -> int:
        taken = self._taken[kind]
        while number in taken:
            number = max(number + 1, others)
        taken.add(number)
        return number


class _Events:
    """All events of a cut."""

    def __init__(self, cut: Cut, naming: Naming, pids: Ints | None = None) -> None:
        self._cut = cut
        self._trace = cut.trace
        self._naming = naming
        self._pids = pids
        self._tracks = _Tracks()
        self._arrows = 0
        self._rows = {name: self._chosen(name) for name in (*_OPERATIONS, "calls", "ranges")}
        self._start, self._end = self._bounds()

    def facts(self) -> dict[str, str]:
        """What is known of the capture besides its events."""
        trace = self._trace
        return {
            "made by": f"pytest-nsys {__version__}",
            "nsys": trace.nsys,
            "driver": trace.driver,
            "cuda": trace.cuda,
            "gpu": ", ".join(gpu.name for gpu in trace.gpus),
            "ns of the capture at 0": str(self._start),
        }

    def all(self) -> Iterator[TraceEvent]:
        """The events, and then the names of the threads that they are on."""
        yield from self._ranges()
        yield from self._calls()
        for name in _OPERATIONS:
            yield from self._operations(name)
        yield from self._memory()
        yield from self._samples()
        yield from self._tracks.names

    def _chosen(self, name: str) -> Ints:
        """The rows of a table that belong to the windows, each once."""
        table: pd.DataFrame = getattr(self._trace, name)
        if self._pids is None:
            return np.arange(len(table))
        members = self._cut.members(table["start" if name in ("calls", "ranges") else "launched"])
        # Of the processes that did something then, only the range's own counts.
        own = table["pid"].to_numpy()[members.row] == self._pids[members.window]
        rows: Ints = np.unique(members.row[own])
        return rows

    def _bounds(self) -> tuple[int, int]:
        """The time that is shown: all of what belongs to it."""
        starts = self._cut.starts.tolist()
        # One that holds everything ends after the last event.
        ends = (self._cut.ends - (self._pids is None)).tolist()
        for name, rows in self._rows.items():
            if len(rows):
                table: pd.DataFrame = getattr(self._trace, name)
                starts.append(int(table["start"].to_numpy(np.int64)[rows].min()))
                ends.append(int(table["end"].to_numpy(np.int64)[rows].max()))
        return min(starts, default=0), max(ends, default=0)

    def _us(self, ns: int) -> float:
        return (ns - self._start) / 1000

    def _slice(
        self, kind: str, track: tuple[int, int], span: tuple[int, int], name: str, args: TraceEvent
    ) -> TraceEvent:
        return {
            "ph": "X",
            "ts": self._us(span[0]),
            "dur": (span[1] - span[0]) / 1000,
            "pid": track[0],
            "tid": track[1],
            "cat": kind,
            "name": name,
            "args": args,
        }

    # Of the host

    def _host(self, pid: int) -> int:
        number = process_number(pid)
        return self._tracks.process(("host", pid), number, f"process {number}")

    def _ranges(self) -> Iterator[TraceEvent]:
        table = self._trace.ranges.iloc[self._rows["ranges"]]
        names = ("start", "end", "pid", "tid")
        starts, ends, pids, tids = (table[name].to_numpy(np.int64) for name in names)
        closed = ends != ABSENT
        ends = np.where(closed, ends, np.maximum(self._end, starts))
        lanes = nested_lanes(tids, starts, ends)
        columns = (starts, ends, pids, tids, closed, lanes)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        texts = zip(table["text"].tolist(), table["domain"].tolist(), strict=True)
        for (start, end, pid, tid, ended, lane), (text, domain) in zip(rows, texts, strict=True):
            name = f"thread {thread_number(tid)} NVTX"
            track = self._tracks.thread(("nvtx", tid, lane), self._host(pid), _LANES, name)
            args = {"domain": domain} if domain else {}
            if not ended:
                args["end"] = "it never ended"
            yield self._slice("nvtx", track, (start, end), text, args)

    @cached_property
    def _call_lanes(self) -> Ints:
        """Per call of the capture its lane."""
        table, rows = self._trace.calls, self._rows["calls"]
        columns = (table[name].to_numpy(np.int64)[rows] for name in ("tid", "start", "end"))
        lanes = np.zeros(len(table), dtype=np.int64)
        lanes[rows] = nested_lanes(*columns)
        return lanes

    def _call_track(self, tid: int, pid: int, lane: int) -> tuple[int, int]:
        key = ("calls", tid, lane)
        if found := self._tracks.known(key):
            return found
        number = thread_number(tid)
        own = _LANES if lane else number
        return self._tracks.thread(key, self._host(pid), own, f"thread {number} CUDA API")

    def _calls(self) -> Iterator[TraceEvent]:
        names: dict[int, str] = {}
        for row in _records(
            self._trace.calls.assign(lane=self._call_lanes),
            self._rows["calls"],
            ("start", "end", "tid", "pid", "name", "lane"),
        ):
            key = row["name"]
            if key not in names:
                names[key] = api_name(self._trace.strings[key])
            track = self._call_track(row["tid"], row["pid"], row["lane"])
            span = (row["start"], row["end"])
            yield self._slice("api", track, span, names[key], {"call": row["row"]})

    # Of the devices

    def _device(self, number: int) -> int:
        names = {gpu.id: gpu.name for gpu in self._trace.gpus}
        name = f"GPU {number}: {names.get(number, '')}" if number != ABSENT else "an unknown GPU"
        return self._tracks.process(("gpu", number), _DEVICES, name.rstrip(": "))

    @cached_property
    def _lanes(self) -> Mapping[str, Ints]:
        """Per kind of operation and row, its lane among all operations of its stream."""
        tables = [
            getattr(self._trace, name)[[*_STREAM, "start", "end"]].iloc[self._rows[name]]
            for name in _OPERATIONS
        ]
        together = pd.concat(tables, ignore_index=True)
        streams = together.groupby(_STREAM, sort=False).ngroup().to_numpy(np.int64)
        starts, ends = (together[name].to_numpy(np.int64) for name in ("start", "end"))
        edges = np.cumsum([len(table) for table in tables])[:-1]
        parts = np.split(flat_lanes(streams, starts, ends), edges)
        found = {}
        for name, part in zip(_OPERATIONS, parts, strict=True):
            found[name] = np.zeros(len(getattr(self._trace, name)), dtype=np.int64)
            found[name][self._rows[name]] = part
        return found

    @cached_property
    def _apart(self) -> tuple[bool, bool]:
        """Whether there are several processes, and several contexts of one."""
        columns = [getattr(self._trace, name)[["pid", "context"]] for name in _OPERATIONS]
        pairs = pd.concat(columns).drop_duplicates()
        return pairs["pid"].nunique() > 1, bool(pairs["pid"].duplicated().any())

    def _stream(self, row: Mapping[str, int]) -> tuple[int, int]:
        key = (row["device"], row["pid"], row["context"], row["stream"], row["lane"])
        if found := self._tracks.known(key):
            return found
        by_process, by_context = self._apart
        name = f"stream {row['stream']}" if row["stream"] != ABSENT else "unknown stream"
        name += f", process {process_number(row['pid'])}" if by_process else ""
        name += f", context {row['context']}" if by_context else ""
        return self._tracks.thread(key, self._device(row["device"]), _LANES, name)

    def _operations(self, kind: str) -> Iterator[TraceEvent]:
        """The operations of a kind, each followed by the two ends of the arrow to it."""
        table: pd.DataFrame = getattr(self._trace, kind)
        calls = self._trace.calls
        call_tids, call_pids = (calls[name].to_numpy(np.int64) for name in ("tid", "pid"))
        table = table.drop(columns="short", errors="ignore").assign(lane=self._lanes[kind])
        for row in _records(table, self._rows[kind], table.columns):
            track = self._stream(row)
            name, args = self._described(kind, row)
            call = row["call"]
            if call != ABSENT:
                args["call"] = call
            if row.get("graph_node", ABSENT) != ABSENT:
                args["graph_node"] = row["graph_node"]
            span = (row["start"], row["end"])
            yield self._slice(_KINDS[kind], track, span, name, args)
            if call != ABSENT and row["launched"] <= row["start"]:
                lane = int(self._call_lanes[call])
                source = self._call_track(int(call_tids[call]), int(call_pids[call]), lane)
                self._arrows += 1
                yield self._arrow("s", source, row["launched"])
                arrow = self._arrow("f", track, row["start"])
                arrow["bp"] = "e"  # to the event that it is in, not to the next one
                yield arrow

    def _arrow(self, end: str, track: tuple[int, int], ns: int) -> TraceEvent:
        return {
            "ph": end,
            "ts": self._us(ns),
            "pid": track[0],
            "tid": track[1],
            "id": self._arrows,
            "cat": "launch",
            "name": "launch",
        }

    def _described(self, kind: str, row: Mapping[str, int]) -> tuple[str, TraceEvent]:
        if kind == "kernels":
            canonical, args = self._kernel(row["name"])
            return canonical, {**args}
        if kind == "graphs":
            return f"CUDA graph {row['graph']}", {"graph": row["graph"]}
        if kind == "memsets":
            memory = _MEMORIES.get(row["kind"], "unknown")
            return "memset", {"bytes": row["bytes"], "memory": memory}
        args = {
            "bytes": row["bytes"],
            "from": _MEMORIES.get(row["source"], "unknown"),
            "to": _MEMORIES.get(row["target"], "unknown"),
        }
        for end in ("source_device", "target_device"):
            if row[end] != ABSENT:
                args[end] = row[end]
        return f"memcpy {_DIRECTIONS.get(row['kind'], row['kind'])}", args

    def _kernel(self, key: int) -> tuple[str, TraceEvent]:
        if key not in self._kernels:
            raw = self._trace.strings[key]
            args = {"name": raw, "category": self._naming.category(raw)}
            self._kernels[key] = self._naming.canonical(raw), args
        return self._kernels[key]

    @cached_property
    def _kernels(self) -> dict[int, tuple[str, TraceEvent]]:
        return {}

    def _counter(self, device: int, name: str, ns: int, values: Mapping[str, int]) -> TraceEvent:
        pid = self._device(device)
        return {"ph": "C", "ts": self._us(ns), "pid": pid, "name": name, "args": values}

    def _memory(self) -> Iterator[TraceEvent]:
        for device in sorted(self._trace.memory["device"].unique().tolist()):
            live = MemoryTimeline(of_device(self._trace, device)).live
            name = "live device memory"
            before = live.before(self._start)
            yield self._counter(device, name, self._start, {"bytes": before})
            low, high = np.searchsorted(live.times, [self._start, self._end + 1])
            times, values = live.times[low:high].tolist(), live.values[low:high].tolist()
            for time, value in zip(times, values, strict=True):
                yield self._counter(device, name, time, {"bytes": value})

    def _samples(self) -> Iterator[TraceEvent]:
        times = self._trace.samples["time"].to_numpy(np.int64)
        rows = np.arange(*np.searchsorted(times, [self._start, self._end + 1]))
        for row in _records(self._trace.samples, rows, ("time", "device", "metric", "value")):
            if row["metric"] != ABSENT:
                name = self._trace.sampled[row["metric"]]
                yield self._counter(row["device"], name, row["time"], {"value": row["value"]})


def _records(table: pd.DataFrame, rows: Ints, columns: Iterable[str]) -> Iterator[dict[str, int]]:
    """Rows of a table of integers as dictionaries, with their own number; some at a time."""
    names = [*columns]
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        values = [table[name].to_numpy()[some].tolist() for name in names]
        for number, *row in zip(some.tolist(), *values, strict=True):
            yield {"row": number, **dict(zip(names, row, strict=True))}
