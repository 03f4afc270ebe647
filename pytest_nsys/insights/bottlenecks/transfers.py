"""Rules on copies: too much time, pageable memory, blocking the host, not beside kernels."""

from __future__ import annotations

import numpy as np

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck, percent
from pytest_nsys.insights.bottlenecks.gaps import CLOCK_SLACK
from pytest_nsys.insights.bottlenecks.view import View, length
from pytest_nsys.support.arrays.intervals import difference, intersection, merged
from pytest_nsys.support.arrays.rows import Flags, Ints
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.calls import CallClass
from pytest_nsys.trace.schema import MemcpyKind, MemKind

EXPOSED = 0.3
"""Part of the time in which nothing but copies runs: at a third, making them shorter or hiding them
wins more than most work on kernels does."""

HIDEABLE = 0.15
"""Part of the time that would be saved if copies (or communication) ran beside kernels."""

COST = 0.05
"""Part of the time that pageable or synchronous copies take; below, they are not worth a change."""

STAGED = 64 * 1024
"""Bytes. The driver stages so much at once; nsys's own rules set the line there. What is wrong with
smaller pageable copies, such as results that are read one by one, is that the host waits for
them."""

KIND_NAMES = {
    MemcpyKind.H2D: "host to device",
    MemcpyKind.D2H: "device to host",
    MemcpyKind.D2D: "within a device",
    MemcpyKind.P2P: "device to device",
}


def transfer_bound(view: View) -> Bottleneck | None:
    """Copies between host and devices, or between devices, run while nothing computes."""
    chosen = _transfers(view)
    copies = view.union(chosen)
    if view.share(length(copies)) < EXPOSED:
        return None
    exposed = difference(copies, view.computing)
    share = view.share(length(exposed))
    if share < EXPOSED:
        return None
    return Bottleneck(
        "transfer-bound",
        share,
        f"Copies that no kernel runs beside take {percent(length(exposed), view.total)} of"
        f" {view.scope}.",
        (
            *_by_kind(view, chosen),
            f"{percent(length(copies) - length(exposed), length(copies))} of the copies' time lies"
            " beside kernels",
        ),
        "Copy less: keep data on the device between steps, create it there, copy smaller types"
        " (uint8, bf16) and convert on the device. Hide the rest: pinned memory,"
        " non_blocking=True and a stream of its own, one batch ahead.",
    )


def pageable_copies(view: View) -> Bottleneck | None:
    """Asynchronous copies from or to pageable memory: staged by the host, so slow and blocking."""
    large = view.background.column("copies", "bytes") > STAGED
    chosen = view.of_table("copies", view.background.pageable & large)
    cost = _cost(view, chosen)
    share = view.share(cost)
    if share < COST:
        return None
    return Bottleneck(
        "pageable-copies",
        share,
        f"Asynchronous copies from or to pageable memory take {percent(cost, view.total)} of"
        f" {view.scope}; the host waits in them.",
        (*_by_kind(view, chosen), *_pinned(view, chosen)),
        "Use pinned host memory: DataLoader(pin_memory=True), tensor.pin_memory(), or"
        " torch.empty(..., pin_memory=True) buffers that are used again; then"
        " .to(device, non_blocking=True) returns at once.",
    )


def synchronous_copies(view: View) -> Bottleneck | None:
    """Copies and memory sets that hold the host until they are done, by calls without Async."""
    background = view.background
    copied = view.of_table("copies", background.copy_classes == CallClass.COPY)
    set_ = view.of_table("memsets", background.memset_classes == CallClass.MEMSET)
    copied, set_ = copied & _held(view), set_ & _held(view)
    cost = _cost(view, copied | set_)
    share = view.share(cost)
    if share < COST:
        return None
    rows = view.launching(copied | set_)
    return Bottleneck(
        "synchronous-copies",
        share,
        "Copies and memory sets that hold the host until they are done take"
        f" {percent(cost, view.total)} of {view.scope}.",
        (
            *(
                f"{view.many(count, 'call')} of {name}, {view.time(ns)} on the host"
                for name, count, ns in view.functions(np.concatenate(rows))
            ),
            *_by_kind(view, copied),
        ),
        "Use the asynchronous variants on a stream (cudaMemcpyAsync, cudaMemsetAsync; cupy:"
        " .set(..., stream=), .get(..., blocking=False)) with pinned memory, and wait once for"
        " all of them.",
    )


def copy_overlap(view: View) -> Bottleneck | None:
    """Copies and kernels take turns, though each device can do both at once."""
    chosen = _transfers(view)
    copies = view.union(chosen)
    if view.share(length(copies)) < HIDEABLE:
        return None
    kernels = view.union(view.of_table("kernels") | view.of_table("graphs"))
    exposed, alone = view.taking_turns(copies, kernels)
    saved = min(exposed, alone)
    share = view.share(saved)
    if share < HIDEABLE:
        return None
    return Bottleneck(
        "copy-overlap",
        share,
        f"Copies and kernels take turns: side by side they would save up to"
        f" {percent(saved, view.total)} of {view.scope}.",
        (
            f"{view.time(length(copies))} of copies, of which"
            f" {percent(length(copies) - exposed, length(copies))} beside kernels;"
            f" {view.time(alone)} of kernels with no copy beside them",
            f"copies on streams {_streams(view, chosen)}, kernels on streams"
            f" {_streams(view, view.of_table('kernels') | view.of_table('graphs'))}",
            *_by_kind(view, chosen),
        ),
        "Copy on a stream of its own (torch.cuda.Stream) from pinned memory, the next batch while"
        " this one is computed, and let the kernels wait for an event, not the host.",
    )


def _transfers(view: View) -> Flags:
    """Operations that are copies to, from or between devices."""
    return view.of_table("copies", view.background.column("copies", "kind") != MemcpyKind.D2D)


def _held(view: View) -> Flags:
    """Operations at whose end the host was still in the call that launched them.

    Not every function without Async in its name holds the host: copies within or between devices,
    small ones to a device, and memory sets on a device return at once.
    """
    operations, ends = view.operations, view.background.column("calls", "end")
    held = operations.call >= 0
    held[held] = ends[operations.call[held]] >= operations.end[held] - CLOCK_SLACK
    return held


def _cost(view: View, chosen: Flags) -> int:
    """Time in which the operations ran, or a device was idle while the host was in their calls."""
    calls = merged(view.call_intervals(view.launching(chosen)))
    return length(view.union(chosen)) + length(intersection(calls, view.idle))


def _by_kind(view: View, chosen: Flags) -> list[str]:
    """A line per kind of the copies: how many, how much, how fast."""
    rows = view.operations.row[chosen & view.of_table("copies")]
    kinds, sizes, time = _columns(view, rows)
    lines = []
    for kind in np.unique(kinds):
        mine = kinds == kind
        size, ns = int(sizes[mine].sum()), int(time[mine].sum())
        lines.append(
            f"{view.count(int(mine.sum()))}x {KIND_NAMES.get(int(kind), f'kind {kind}')}:"
            f" {view.size(size)} in {view.time(ns)}{_speed(size, ns)}"
        )
    return lines


def _pinned(view: View, chosen: Flags) -> list[str]:
    """What pinned copies of the same kinds, anywhere in the trace, achieve."""
    column = view.background.column
    source, target = column("copies", "source"), column("copies", "target")
    pinned = (source == MemKind.PINNED) | (target == MemKind.PINNED)
    pinned &= column("copies", "bytes") > STAGED
    lines = []
    for kind in np.unique(_columns(view, view.operations.row[chosen])[0]):
        rows = np.flatnonzero(pinned & (column("copies", "kind") == kind))
        _, sizes, time = _columns(view, rows)
        if len(sizes) and time.sum() > 0:
            speed = format_amount(float(sizes.sum()) / float(time.sum()) * 1e9, "B/s")
            lines.append(f"pinned copies {KIND_NAMES.get(int(kind), '')} in this trace: {speed}")
    return lines


def _columns(view: View, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Kind, bytes and duration of copies."""
    kind, size, start, end = (
        view.background.column("copies", name)[rows] for name in ("kind", "bytes", "start", "end")
    )
    return kind, size, end - start


def _speed(size: int, ns: int) -> str:
    return f", {format_amount(size / ns * 1e9, 'B/s')}" if ns > 0 else ""


def _streams(view: View, chosen: Flags) -> str:
    streams = np.unique(view.operations.stream[chosen]).tolist()
    shown = ", ".join(map(str, streams[:5]))
    return f"{shown}, ..." if len(streams) > 5 else shown
