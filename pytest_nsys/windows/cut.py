"""Cutting: which rows of a trace belong to which window.

A GPU operation belongs to the window in which it was launched, from any thread and any process
under the worker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pytest_nsys.errors import CaptureError, NoWindows, WindowsMissing
from pytest_nsys.support.arrays.grouping import name_sums
from pytest_nsys.support.arrays.rows import Floats, Ints, Members, NameSums
from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.record import DOMAIN, MAIN, WindowRecord

_LABEL = re.compile(r"(\d+) (.+) (?:round (\d+)|span)", re.DOTALL)


@dataclass(frozen=True)
class Cut:
    """A trace and windows of it.

    Attributes:
        trace: the trace.
        starts: ns, one per window.
        ends: ns, one per window.
    """

    trace: Trace
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def members(self, times: pd.Series) -> Members:
        """Which of the ascending ``times`` lie in each window: start <= time < end."""
        values = times.to_numpy()
        low = np.searchsorted(values, self.starts, side="left")
        high = np.maximum(np.searchsorted(values, self.ends, side="left"), low)
        sizes = high - low
        window = np.repeat(np.arange(len(self.starts)), sizes)
        offset = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Members(window, np.repeat(low, sizes) + offset)

    @cached_property
    def kernels(self) -> Members:
        """Kernels by the window they were launched in."""
        return self.members(self.trace.kernels["launched"])

    @cached_property
    def copies(self) -> Members:
        """Copies by the window they were launched in."""
        return self.members(self.trace.copies["launched"])

    @cached_property
    def memsets(self) -> Members:
        """Memory sets by the window they were launched in."""
        return self.members(self.trace.memsets["launched"])

    @cached_property
    def graphs(self) -> Members:
        """Whole CUDA graphs by the window they were launched in."""
        return self.members(self.trace.graphs["launched"])

    @cached_property
    def calls(self) -> Members:
        """CUDA API calls by the window they began in."""
        return self.members(self.trace.calls["start"])

    @cached_property
    def kernel_names(self) -> NameSums:
        """The kernels of each window by raw name."""
        return _by_name(self.kernels, self.trace.kernels)

    @cached_property
    def call_names(self) -> NameSums:
        """The CUDA API calls of each window by name."""
        return _by_name(self.calls, self.trace.calls)

    def total(self, members: Members, values: Ints | None = None) -> Floats:
        """Per window, the sum of ``values`` (one per row of the table), or the number of rows."""
        weights = np.ones(len(members.row)) if values is None else values[members.row]
        return _sums(members.window, weights, len(self))

    def counts(self, lines: NameSums) -> Floats:
        """Per window, the number of rows that the lines stand for."""
        return _sums(lines.window, lines.count, len(self))

    def times(self, lines: NameSums) -> Floats:
        """Per window, the sum of the lines' durations, ns."""
        return _sums(lines.window, lines.ns, len(self))


def _sums(window: Ints, weights: Ints | Floats, windows: int) -> Floats:
    return np.bincount(window, weights=weights, minlength=windows).astype(np.float64)


def _by_name(members: Members, table: pd.DataFrame) -> NameSums:
    ns = (table["end"] - table["start"]).to_numpy(np.int64)
    return name_sums(members, table["name"].to_numpy(), ns)


def whole(trace: Trace) -> Cut:
    """One window that holds everything."""
    tables = [
        *(trace.kernels, trace.copies, trace.memsets, trace.graphs, trace.calls),
        *(trace.ranges, trace.memory, trace.faults),
    ]
    filled = [table for table in tables if len(table)]
    start = min((int(table["start"].min()) for table in filled), default=0)
    end = max((int(table.get("end", table["start"]).max()) for table in filled), default=0)
    return Cut(trace, np.array([start]), np.array([end + 1]))


def cut_records(trace: Trace, records: Sequence[WindowRecord]) -> Cut:
    """The windows of records, in their order, by their times or else found by their NVTX ranges.

    Raises:
        WindowsMissing: the capture lacks the range of a record, or it never ended.
        CaptureError: it has several that may be a record's.
    """
    marked = [record for record in records if record.times is None]
    found = _own_ranges(trace, marked)
    missing = [record for record in marked if record.index not in found]
    if missing:
        raise (WindowsMissing if found else NoWindows)(
            f"{len(missing)} of {len(marked)} windows are missing in the capture",
            evidence=_evidence(trace, missing, len(found)),
            remedy="the nvtx package and this nsys do not understand each other: use nsys "
            "2025 or newer, or, with an nsys of 2023 or older, 'pip install \"nvtx<0.2.12\"'"
            if not found
            else "run again; if it stays so, the capture lost events: profile fewer tests at once",
        )
    several = [record for record in marked if len(found[record.index]) > 1]
    if several:
        raise CaptureError(
            f"{len(several)} of {len(marked)} windows are in the capture more than once",
            evidence="\n".join(f"several times: {record.label}" for record in several[:3]),
            remedy="the tests start another pytest that profiles the same tests: let it run "
            "without pytest-nsys (-p no:nsys)",
        )
    times = [record.times or found[record.index][0] for record in records]
    spans = np.array(times, dtype=np.int64)
    spans = spans.reshape(-1, 2)
    return Cut(trace, spans[:, 0], spans[:, 1])


def _own_ranges(trace: Trace, records: Sequence[WindowRecord]) -> dict[int, list[tuple[int, int]]]:
    """Start and end of the plugin's own closed ranges, by the index in their text.

    Where several have an index, another pytest ran below the worker: then those count that have
    the whole text.
    """
    own = _closed_own(trace)
    labels = {str(record.index): record.label for record in records}
    found: dict[str, list[tuple[str, int, int]]] = {}
    columns = (own[name].tolist() for name in ("text", "start", "end"))
    for text, start, end in zip(*columns, strict=True):
        found.setdefault(text.partition(" ")[0], []).append((text, start, end))
    return {int(index): _chosen(found[index], labels[index]) for index in labels.keys() & found}


def _chosen(ranges: Sequence[tuple[str, int, int]], label: str) -> list[tuple[int, int]]:
    same = [one for one in ranges if one[0] == label]
    return [(start, end) for _, start, end in (same if len(ranges) > 1 and same else ranges)]


def _evidence(trace: Trace, missing: Sequence[WindowRecord], found: int) -> str:
    lines = [f"missing: {record.label}" for record in missing[:3]]
    lines.append(f"NVTX ranges in the capture: {len(trace.ranges)}, of them ours: {found}")
    lines += [text for severity, text in trace.diagnostics if severity > 1][:5]
    if trace.nsys:
        lines.append(f"nsys {trace.nsys}")
    return "\n".join(lines)


def labelled_records(trace: Trace) -> list[WindowRecord]:
    """A record of every closed window of the plugin's, read from the labels of their NVTX ranges.

    For captures whose records are not at hand. A label does not tell a test's name from that of a
    part of it, so a part appears as a test of its own, named by both. The closing sentinel is left
    out. Where two captures were made one, and windows have the same index, the last counts.
    """
    records = {}
    for text in _closed_own(trace)["text"]:
        match = _LABEL.fullmatch(text)
        if match is not None:
            index, name, round_ = int(match[1]), match[2], match[3]
            records[index] = WindowRecord(
                index=index,
                kind="span" if round_ is None else "round",
                nodeid=name,
                name=MAIN,
                round=-1 if round_ is None else int(round_),
            )
    return [*records.values()]


def _closed_own(trace: Trace) -> pd.DataFrame:
    """The closed ranges of the plugin."""
    return trace.ranges[(trace.ranges["domain"] == DOMAIN) & (trace.ranges["end"] != ABSENT)]
