"""nsys's ``cuda_gpu_kern_sum``: GPU time by kernel."""

from __future__ import annotations

import numpy as np

from pytest_nsys.metrics.window import durations
from pytest_nsys.trace.tables import Trace
from tests.parity.like_nsys.grouping import by_text
from tests.parity.like_nsys.summary import summarise
from tests.parity.like_nsys.table import CsvTable, csv_table, percentages, rounded


def cuda_gpu_kern_sum(trace: Trace) -> CsvTable:
    """Durations of the kernels by raw name, over all processes, devices and streams.

    The kernels of CUDA graphs are in it where the capture has them; whole graphs never are.
    """
    groups, names = by_text(trace.kernels["name"].to_numpy(), trace.strings)
    summary = summarise(durations(trace.kernels), groups, len(names))
    order = np.lexsort((np.arange(len(names)), summary.count, -summary.total))
    summary = summary.take(order)
    return csv_table(
        [
            ("Time (%)", percentages(summary.total), rounded),
            ("Total Time (ns)", summary.total, str),
            ("Instances", summary.count, str),
            *summary.columns("{} (ns)"),
            ("Name", [names[group] for group in order], str),
        ]
    )
