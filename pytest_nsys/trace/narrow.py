"""A part of a trace as a trace of its own: what one device did, or what one process did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.trace.tables import Trace

_OPERATIONS = ("kernels", "copies", "memsets", "graphs")
_LAUNCHING = (*_OPERATIONS, "calls")


def devices(trace: Trace) -> list[int]:
    """The devices that ran anything, ascending."""
    return _distinct(trace, _OPERATIONS, "device")


def processes(trace: Trace) -> list[int]:
    """The processes that called CUDA or ran anything on a device, ascending (serialised ids)."""
    return _distinct(trace, _LAUNCHING, "pid")


def of_device(trace: Trace, device: int) -> Trace:
    """What happened on one device: its operations, allocations, page faults, and samples.

    Calls and ranges are the host's and stay, so that operations keep their launches; of the
    metrics of such a trace only those of the GPU's side are the device's.
    """
    names = (*_OPERATIONS, "memory", "faults", "samples")
    return replace(trace, **_where(trace, names, "device", device))


def of_process(trace: Trace, pid: int) -> Trace:
    """What one process did: its calls, what they launched, its allocations and ranges.

    There are no samples in it: those are of devices, whoever works on them.
    """
    tables = _where(trace, (*_LAUNCHING, "memory", "faults", "ranges"), "pid", pid)
    rows = _new_rows(trace.calls, trace.calls["pid"].to_numpy() == pid)
    for name in _OPERATIONS:
        # An operation's call is of its own process; -1, which is none, picks the last entry.
        tables[name] = tables[name].assign(call=rows[tables[name]["call"].to_numpy()])
    return replace(trace, **tables, samples=trace.samples.iloc[:0])


def _distinct(trace: Trace, names: tuple[str, ...], column: str) -> list[int]:
    tables: list[pd.DataFrame] = [getattr(trace, name) for name in names]
    return sorted({int(value) for table in tables for value in pd.unique(table[column])})


def _where(trace: Trace, names: tuple[str, ...], column: str, value: int) -> dict[str, Any]:
    tables: Mapping[str, pd.DataFrame] = {name: getattr(trace, name) for name in names}
    return {
        name: table[table[column].to_numpy() == value].reset_index(drop=True)
        for name, table in tables.items()
    }


def _new_rows(calls: pd.DataFrame, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Per old row of ``calls`` its row among the kept ones, -1 if it is none; and a last -1."""
    rows = np.full(len(calls) + 1, -1, dtype=np.int32)
    rows[:-1][kept] = np.arange(np.count_nonzero(kept), dtype=np.int32)
    return rows
