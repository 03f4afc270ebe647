"""What a window is made of: kernels by name, copies by size, blocking calls, allocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.cut import Cut, Ints, Members
from pytest_nsys.metrics.memory import MemoryTimeline
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.metrics.window import COPY_KINDS, api_name, blocking_calls, durations
from pytest_nsys.quantities import format_amount
from pytest_nsys.trace.schema import MemKind

_COLUMNS = ["window", "label", "raw", "count", "ns", "bytes"]
_COPY_NAMES = {kind: name for name, kind in COPY_KINDS.items()}
_COPY_TEXTS = {
    "h2d": "[CUDA memcpy HtoD] [CUDA memcpy Host-to-Device]",
    "d2h": "[CUDA memcpy DtoH] [CUDA memcpy Device-to-Host]",
    "d2d": "[CUDA memcpy DtoD] [CUDA memcpy Device-to-Device]",
    "p2p": "[CUDA memcpy PtoP] [CUDA memcpy Peer-to-Peer]",
}


def breakdowns(cut: Cut, naming: Naming) -> Mapping[Breakdown, pd.DataFrame]:
    """Per kind of thing, a table of window, label, raw, count, ns and bytes.

    ``raw`` is the name that patterns are matched with; one label may stand for several.
    """
    return {
        "kernels": _kernels(cut, naming),
        "copies": _copies(cut),
        "memsets": _memsets(cut),
        "syncs": _calls(cut, blocking_calls(cut)),
        "calls": _calls(cut, cut.calls),
    }


def peak_allocations(cut: Cut, memory: MemoryTimeline) -> pd.DataFrame:
    """For spans: what was allocated in the span and is live at its memory peak, by size."""
    rows = []
    for window, (start, end) in enumerate(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)):
        _, at = memory.peak(start, end)
        for part in memory.live_allocations(start, at):
            label = format_amount(part.bytes, "B")
            rows.append((window, label, label, 1, 0, part.bytes))
    return _summed(pd.DataFrame(rows, columns=_COLUMNS))


def _kernels(cut: Cut, naming: Naming) -> pd.DataFrame:
    names = cut.trace.kernels["name"].to_numpy()
    return _named(cut, cut.kernels, names, durations(cut.trace.kernels), naming.canonical)


def _calls(cut: Cut, members: Members) -> pd.DataFrame:
    table = cut.trace.calls
    return _named(cut, members, table["name"].to_numpy(), durations(table), api_name)


def _named(
    cut: Cut, members: Members, names: Ints, times: Ints, label: Callable[[str], str]
) -> pd.DataFrame:
    """Rows named by string ids; summed by id first, because labels are dear and repeat."""
    rows = pd.DataFrame(
        {
            "window": members.window,
            "name": names[members.row],
            "count": 1,
            "ns": times[members.row],
            "bytes": 0,
        }
    )
    summed = rows.groupby(["window", "name"], as_index=False, sort=True).sum()
    raw = summed["name"].map(cut.trace.strings)
    summed["raw"] = raw
    labels = {text: label(text) for text in raw.unique()}
    summed["label"] = raw.map(labels)
    return summed[_COLUMNS]


def _copies(cut: Cut) -> pd.DataFrame:
    table = cut.trace.copies
    rows = cut.copies.row
    pageable = (table["source"] == MemKind.PAGEABLE) | (table["target"] == MemKind.PAGEABLE)
    sizes = table["bytes"].to_numpy()[rows]
    names = [_COPY_NAMES.get(kind, f"copy kind {kind}") for kind in table["kind"].to_numpy()[rows]]
    labels = [
        f"{name} {format_amount(size, 'B')}{' pageable' if paged else ''}"
        for name, size, paged in zip(names, sizes, pageable.to_numpy()[rows], strict=True)
    ]
    frame = {
        "window": cut.copies.window,
        "label": labels,
        "raw": [_COPY_TEXTS.get(name, name) for name in names],
        "count": 1,
        "ns": durations(table)[rows],
        "bytes": sizes,
    }
    return _summed(pd.DataFrame(frame))


def _memsets(cut: Cut) -> pd.DataFrame:
    table = cut.trace.memsets
    rows = cut.memsets.row
    sizes = table["bytes"].to_numpy()[rows]
    frame = {
        "window": cut.memsets.window,
        "label": [f"memset {format_amount(size, 'B')}" for size in sizes],
        "raw": "[CUDA memset]",
        "count": 1,
        "ns": durations(table)[rows],
        "bytes": sizes,
    }
    return _summed(pd.DataFrame(frame))


def _summed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(["window", "label", "raw"], as_index=False).sum()[_COLUMNS]
