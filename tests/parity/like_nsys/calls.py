"""nsys's ``cuda_api_sum``: host time by function of the CUDA API."""

from __future__ import annotations

import numpy as np

from pytest_nsys.metrics.window import durations
from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.grouping import by_columns, descending
from tests.parity.like_nsys.summary import summarise
from tests.parity.like_nsys.table import CsvTable, csv_table, percentages, rounded

_VERSION = len("_v3020")


def function_name(raw: str) -> str:
    """A function's name in nsys's reports: without a version of four characters.

    Newer versions have five digits, and stay: ``cudaGraphLaunch_v10000``.
    """
    return raw[:-_VERSION] if raw[-_VERSION:].startswith("_v") and len(raw) >= _VERSION else raw


def cuda_api_sum(trace: Trace) -> CsvTable:
    """Durations of the API calls by raw name: the versions of a function are rows of their own."""
    ids = trace.calls["name"].to_numpy(np.int64)
    groups, rows = by_columns([ids])
    summary = summarise(durations(trace.calls), groups, len(rows))
    order = descending(summary.total)
    summary = summary.take(order)
    names = [function_name(trace.strings.get(key, "")) for key in ids[rows[order]].tolist()]
    return csv_table(
        [
            ("Time (%)", percentages(summary.total), rounded),
            ("Total Time (ns)", summary.total, str),
            ("Num Calls", summary.count, str),
            *summary.columns("{} (ns)"),
            ("Name", names, str),
        ]
    )
