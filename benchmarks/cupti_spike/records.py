"""Which kinds of records are compared, and the tables of a trace that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_nsys.capture.cupti.records import (
    DRIVER,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    Records,
)
from pytest_nsys.capture.cupti.tables import Around, tables_of
from pytest_nsys.trace import Trace, schema
from pytest_nsys.trace.load import build_trace
from pytest_nsys.trace.made import MadeSource
from pytest_nsys.trace.schema import NvtxType, serialised

KINDS: Mapping[str, tuple[int, ...]] = {
    "kernels": (KERNEL,),
    "operations": (KERNEL, MEMCPY, PEER, MEMSET),
    "with calls": (KERNEL, MEMCPY, PEER, MEMSET, RUNTIME),
    "all": (KERNEL, MEMCPY, PEER, MEMSET, RUNTIME, DRIVER, MEMORY),
}
"""Sets of kinds whose costs are compared; the last is what the tables need."""


@dataclass(frozen=True)
class Session:
    """What one capture in a process found.

    Attributes:
        records: by kind.
        ranges: name, start and end of windows, ns of CUPTI's clock.
        around: what is known beside the records.
    """

    records: Records
    ranges: Sequence[tuple[str, int, int]]
    around: Around


def trace_of(session: Session) -> Trace:
    """The capture as the tables that all metrics are made of, its windows as NVTX ranges."""
    tables = tables_of(session.records, session.around)
    strings = tables[schema.STRINGS]
    numbers = range(len(strings["id"]), len(strings["id"]) + len(session.ranges))
    tables[schema.STRINGS] = {
        "id": [*strings["id"], *numbers],
        "value": [*strings["value"], *(name for name, *_ in session.ranges)],
    }
    pid = serialised(session.around.process)
    tables[schema.NVTX] = {
        "start": np.array([start for _, start, _ in session.ranges], np.int64),
        "end": np.array([end for *_, end in session.ranges], np.int64),
        "eventType": np.full(len(session.ranges), NvtxType.PUSH_POP),
        "textId": np.array(numbers, np.int64),
        "globalTid": np.full(len(session.ranges), pid),
        "domainId": np.zeros(len(session.ranges), np.int64),
    }
    return build_trace(MadeSource(tables))
