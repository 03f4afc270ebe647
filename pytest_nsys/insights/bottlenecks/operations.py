"""What was launched in windows, on which devices, and until when it ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pytest_nsys.insights.bottlenecks.background import OPERATION_TABLES, Background
from pytest_nsys.support.arrays.rows import Flags, Ints, Members
from pytest_nsys.windows.cut import Cut

DEVICE_LEAST = 0.02
"""A device that works less than this part of the busiest one's time is not looked at: a stray
context or one small copy on it does not make it a device that the windows leave idle."""


@dataclass(frozen=True)
class Operations:
    """GPU work that was launched in the windows, one row each; all columns are equally long.

    Attributes:
        table: index in `OPERATION_TABLES`.
        row: row in that table.
        group: number of the device in `View.devices`.
        pid: the process that launched it.
        stream: its stream.
        start: ns.
        end: ns.
        call: row of the API call that launched it, or -1.
        node: whether it is a part of a CUDA graph.
    """

    table: Ints
    row: Ints
    group: Ints
    pid: Ints
    stream: Ints
    start: Ints
    end: Ints
    call: Ints
    node: Flags

    def __len__(self) -> int:
        return len(self.row)


def observed_until(cut: Cut, background: Background) -> tuple[Ints, Ints]:
    """Devices that count, and the last end of their operations by window and device."""
    members: dict[str, Members] = {name: getattr(cut, name) for name in OPERATION_TABLES}

    def column(name: str) -> Ints:
        parts = [background.column(table, name)[rows.row] for table, rows in members.items()]
        return np.concatenate(parts)

    window = np.concatenate([rows.window for rows in members.values()])
    start, end = column("start"), column("end")
    codes, devices = pd.factorize(column("device"))
    last = np.full((len(cut), len(devices)), -(2**62), dtype=np.int64)
    np.maximum.at(last.ravel(), window * len(devices) + codes, end)
    work = np.bincount(codes, weights=np.maximum(end - start, 0), minlength=len(devices))
    counts = work >= DEVICE_LEAST * work.max(initial=0)
    order = np.argsort(devices[counts])
    return devices[counts][order].astype(np.int64), last[:, counts][:, order]


def operations_of(cut: Cut, background: Background, devices: Ints) -> Operations:
    """What was launched in the windows on these devices, ascending; each once."""
    parts = [_of_table(cut, background, devices, number) for number in range(len(OPERATION_TABLES))]
    return Operations(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _of_table(cut: Cut, background: Background, devices: Ints, number: int) -> list[Ints | Flags]:
    """The columns of `Operations` for one table."""
    table = OPERATION_TABLES[number]
    rows: Ints = getattr(cut, table).row
    if not (rows[1:] > rows[:-1]).all():  # windows that overlap
        rows = np.unique(rows)
    device = background.column(table, "device")[rows]
    place = np.minimum(np.searchsorted(devices, device), max(len(devices) - 1, 0))
    if len(devices):
        known = devices[place] == device
        if not known.all():
            rows, place = rows[known], place[known]
    names = ("pid", "stream", "start", "end", "call")
    columns = [background.column(table, name)[rows] for name in names]
    # A whole graph is not launched as one operation of many, either.
    node = np.ones(len(rows), dtype=np.bool_)
    if table != "graphs":
        node = background.column(table, "graph_node")[rows] >= 0
    return [np.full(len(rows), number, dtype=np.int64), rows, place, *columns, node]
