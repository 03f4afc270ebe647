"""A part of a trace as a trace of its own: what one device did, or what one process did; and a
trace whose processes run one after another, so that none does anything in a window of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_nsys.trace.source import ABSENT
from pytest_nsys.trace.tables import Trace

_OPERATIONS = ("kernels", "copies", "memsets", "graphs")
_LAUNCHING = (*_OPERATIONS, "calls")
_OF_PROCESSES = (*_LAUNCHING, "memory", "faults", "ranges")
_TIMES = ("start", "end", "launched")


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
    tables = _where(trace, _OF_PROCESSES, "pid", pid)
    rows = _new_rows(trace.calls, trace.calls["pid"].to_numpy() == pid)
    for name in _OPERATIONS:
        # An operation's call is of its own process; -1, which is none, picks the last entry.
        tables[name] = tables[name].assign(call=rows[tables[name]["call"].to_numpy()])
    return replace(trace, **tables, samples=trace.samples.iloc[:0])


def one_after_another(trace: Trace) -> tuple[Trace, Mapping[int, int]]:
    """The trace as it would be if its processes had not run at the same time, but in turn.

    What a window of one process then holds, and when devices were busy in it, is that process's
    alone. Memory is given back at the end of each. Samples of devices are whose they are only where
    one process used devices; else there are none.

    Returns:
        The trace; and by process (serialised id), by how many ns it is later there. A trace of one
        process is as it was.
    """
    pids = _distinct(trace, _OF_PROCESSES, "pid")
    if len(pids) < 2:
        return trace, {}
    tables: dict[str, Any] = {name: getattr(trace, name) for name in _OF_PROCESSES}
    filled = [table for table in tables.values() if len(table)]
    begin = min(int(table["start"].min()) for table in filled)
    last = max(int(table[name].max()) for table in filled for name in _TIMES if name in table)
    length = max(last, *(int(table["start"].max()) for table in filled)) - begin + 2
    delays = {pid: number * length for number, pid in enumerate(pids)}
    tables["memory"] = _given_back(tables["memory"], last + 1)
    order = {}
    for name, table in tables.items():
        tables[name], order[name] = _delayed(table, delays)
    rows = np.full(len(trace.calls) + 1, -1, dtype=np.int64)
    rows[order["calls"]] = np.arange(len(trace.calls))
    for name in _OPERATIONS:
        tables[name] = tables[name].assign(call=rows[tables[name]["call"].to_numpy()])
    using = processes(trace)
    samples = trace.samples
    if len(using) == 1:
        samples = samples.assign(time=samples["time"] + delays[using[0]])
    else:
        samples = samples.iloc[:0]
    return replace(trace, **tables, samples=samples), delays


def _delayed(
    table: pd.DataFrame, delays: Mapping[int, int]
) -> tuple[pd.DataFrame, npt.NDArray[np.intp]]:
    """The table with each process's times later, in their order; and the old rows in that order."""
    delay = table["pid"].map(delays).to_numpy(np.int64)
    moved: dict[str, Any] = {}
    for name in (name for name in _TIMES if name in table):
        times = table[name].to_numpy(np.int64)
        # A range that never ended has none.
        moved[name] = (
            np.where(times == ABSENT, times, times + delay) if name == "end" else times + delay
        )
    key = moved["launched" if "launched" in moved else "start"]
    order = np.argsort(key, kind="stable")
    return table.assign(**moved).iloc[order].reset_index(drop=True), order


def _given_back(memory: pd.DataFrame, time: int) -> pd.DataFrame:
    """The events on memory with a free, at this time, of all that was not freed."""
    last = memory.drop_duplicates(["pid", "address"], keep="last")
    kept = last[last["operation"] == 0]
    # Of a pool, a free says what was in use before it.
    freed = kept.assign(start=time, operation=1, pool_used=kept["bytes"])
    return pd.concat([memory, freed], ignore_index=True)


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
