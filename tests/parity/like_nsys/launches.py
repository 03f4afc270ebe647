"""nsys's ``cuda_kern_exec_sum``: kernels by who launched them, and how long they waited."""

from __future__ import annotations

import numpy as np

from pytest_nsys.metrics.window import durations
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.schema import process_number, thread_number
from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.calls import function_name
from tests.parity.like_nsys.grouping import by_columns, by_text, descending
from tests.parity.like_nsys.summary import summarise
from tests.parity.like_nsys.table import CsvTable, csv_table, rounded


def _ordinals(trace: Trace, pids: Ints, devices: Ints) -> Ints:
    """What CUDA calls the devices in their processes, which is what nsys shows."""
    found = devices.copy()
    real = process_number(pids)
    for (pid, gpu), ordinal in trace.ordinals.items():
        found[(real == pid) & (devices == gpu)] = ordinal
    return found


def cuda_kern_exec_sum(trace: Trace) -> CsvTable:
    """Launches by process, thread, device, function and kernel, the longest first.

    Of each launch: the whole time, from the call's start to the end of call or kernel, whichever
    is later (T); the call (A); the time from the call's end to the kernel's start (Q), unless the
    kernel started earlier; and the kernel (K). Kernels without a recorded call are left out.
    """
    kernels = trace.kernels[trace.kernels["call"].to_numpy() >= 0]
    calls = trace.calls.iloc[kernels["call"].to_numpy()]
    called, returned = calls["start"].to_numpy(np.int64), calls["end"].to_numpy(np.int64)
    started, ended = kernels["start"].to_numpy(np.int64), kernels["end"].to_numpy(np.int64)
    threads = calls["tid"].to_numpy(np.int64)
    devices = _ordinals(trace, kernels["pid"].to_numpy(), kernels["device"].to_numpy(np.int64))
    short = {key: function_name(text) for key, text in trace.strings.items()}
    function, functions = by_text(calls["name"].to_numpy(), short)
    kernel, names = by_text(kernels["name"].to_numpy(), trace.strings)
    pids, tids = process_number(threads), thread_number(threads)
    groups, rows = by_columns([pids, tids, devices, function, kernel])

    queued = started >= returned
    whole = summarise(np.maximum(returned, ended) - called, groups, len(rows))
    api = summarise(durations(calls), groups, len(rows))
    queue = summarise((started - returned)[queued], groups[queued], len(rows))
    running = summarise(durations(kernels), groups, len(rows))
    # nsys sorts what it has rounded.
    order = descending(np.array([float(rounded(mean)) for mean in whole.mean.tolist()]))
    rows = rows[order]
    return csv_table(
        [
            ("PID", pids[rows], str),
            ("TID", tids[rows], str),
            ("DevId", devices[rows], str),
            ("Count", running.count[order], str),
            ("QCount", queue.count[order], str),
            *whole.take(order).columns("T{} (ns)"),
            *api.take(order).columns("A{} (ns)"),
            *queue.take(order).columns("Q{} (ns)"),
            *running.take(order).columns("K{} (ns)"),
            ("API Name", [functions[number] for number in function[rows]], str),
            ("Kernel Name", [names[number] for number in kernel[rows]], str),
        ]
    )
