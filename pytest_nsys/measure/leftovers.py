"""Which launches in a test's rounds are those of a process or thread that an earlier test left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from pytest_nsys.support.units import format_count
from pytest_nsys.trace.schema import process_number, thread_number
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import cut_records
from pytest_nsys.windows.record import Leftover, WindowRecord


def foreign_launches(
    trace: Trace, records: Sequence[WindowRecord], nodeids: Collection[str]
) -> Mapping[str, str]:
    """In words, for each test that had some."""
    found = {}
    for record in records:
        if record.kind == "span" and record.leftovers and record.nodeid in nodeids:
            rounds = [r for r in records if r.kind == "round" and r.nodeid == record.nodeid]
            said = ", ".join(_told(trace, rounds, record.leftovers))
            if said:
                found[record.nodeid] = said
    return found


def _told(
    trace: Trace, rounds: Sequence[WindowRecord], leftovers: Sequence[Leftover]
) -> Iterator[str]:
    cut = cut_records(trace, rounds)
    calls = [
        table["call"].to_numpy()[members.row]
        for table, members in (
            (trace.kernels, cut.kernels),
            (trace.copies, cut.copies),
            (trace.memsets, cut.memsets),
            (trace.graphs, cut.graphs),
        )
    ]
    rows = np.concatenate(calls).astype(np.int64)
    threads = trace.calls["tid"].to_numpy(np.int64)[rows[rows >= 0]]
    counts: Counter[tuple[str, str]] = Counter()
    for one in leftovers:
        theirs = process_number(threads) == one.pid
        if one.tid:
            theirs &= thread_number(threads) == one.tid
        launched = int(np.count_nonzero(theirs))
        if launched:
            counts["thread" if one.tid else "process", one.since] += launched
    for (kind, since), count in counts.items():
        launches = format_count(count, "launch") if count == 1 else f"{count:,} launches"
        yield f"{launches} in its rounds came from a {kind} that {since} left running"
