"""nsys's ``cuda_gpu_mem_time_sum`` and ``cuda_gpu_mem_size_sum``: copies and memory sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from pytest_nsys.metrics.window import durations
from pytest_nsys.support.arrays.rows import Ints
from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.grouping import by_text, descending
from tests.parity.like_nsys.summary import Summary, summarise
from tests.parity.like_nsys.table import CsvTable, csv_table, megabytes, percentages, rounded

_COPIES: Final[Mapping[int, str]] = {
    0: "Unknown",
    1: "Host-to-Device",
    2: "Device-to-Host",
    3: "Host-to-Array",
    4: "Array-to-Host",
    5: "Array-to-Array",
    6: "Array-to-Device",
    7: "Device-to-Array",
    8: "Device-to-Device",
    9: "Host-to-Host",
    10: "Peer-to-Peer",
    11: "Unified Host-to-Device",
    12: "Unified Device-to-Host",
    13: "Unified Device-to-Device",
}
"""Names of MEMCPY.copyKind (ENUM_CUDA_MEMCPY_OPER); nsys leaves out copies of other kinds."""

_MEMSET: Final = -1
_NAMES: Final[Mapping[int, str]] = {
    **{kind: f"[CUDA memcpy {name}]" for kind, name in _COPIES.items()},
    _MEMSET: "[CUDA memset]",
}


def cuda_gpu_mem_time_sum(trace: Trace) -> CsvTable:
    """Durations of copies and memory sets by kind."""
    names, summary = _summary(trace, durations(trace.copies), durations(trace.memsets))
    return csv_table(
        [
            ("Time (%)", percentages(summary.total), rounded),
            ("Total Time (ns)", summary.total, str),
            ("Count", summary.count, str),
            *summary.columns("{} (ns)"),
            ("Operation", names, str),
        ]
    )


def cuda_gpu_mem_size_sum(trace: Trace) -> CsvTable:
    """Sizes of copies and memory sets by kind."""
    names, summary = _summary(
        trace,
        trace.copies["bytes"].to_numpy(np.int64),
        trace.memsets["bytes"].to_numpy(np.int64),
    )
    return csv_table(
        [
            ("Total (MB)", summary.total, megabytes),
            ("Count", summary.count, str),
            *summary.columns("{} (MB)", megabytes, megabytes),
            ("Operation", names, str),
        ]
    )


def _summary(trace: Trace, copied: Ints, filled: Ints) -> tuple[list[str], Summary]:
    """Names and statistics by kind, the largest total first."""
    kinds = trace.copies["kind"].to_numpy(np.int64)
    known = np.isin(kinds, list(_COPIES))
    kinds = np.concatenate([kinds[known], np.full(len(filled), _MEMSET)])
    groups, names = by_text(kinds, _NAMES)
    summary = summarise(np.concatenate([copied[known], filled]), groups, len(names))
    order = descending(summary.total)
    return [names[group] for group in order], summary.take(order)
