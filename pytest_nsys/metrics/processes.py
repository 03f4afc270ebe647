"""Metrics of windows in which several processes launched kernels: the ranks of a server."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pytest_nsys.metrics.busy import Busyness
from pytest_nsys.metrics.window import durations
from pytest_nsys.support.arrays.grouping import sums
from pytest_nsys.support.arrays.rows import Floats

PROCESS_METRICS = ("process.count", "process.skew_pct")


def process_values(busyness: Busyness) -> dict[str, Floats]:
    """How many processes launched kernels in each window, and how unevenly; NaN where it is one.

    The skew is that of the time of kernels that compute: 100 * (most / mean - 1). Communication is
    left out, for the kernels of a rank that has less to do run until the others have come, so
    that with them all ranks are as busy as the busiest.
    """
    cut = busyness.cut
    kernels = cut.trace.kernels
    codes, processes = pd.factorize(kernels["pid"].to_numpy())
    if len(processes) < 2:
        return {}
    computing_ns = durations(kernels) * busyness.computing
    window, _, _, ns = sums(cut.kernels, codes, len(processes), computing_ns)
    count = np.bincount(window, minlength=len(cut)).astype(np.float64)
    total = np.bincount(window, weights=ns, minlength=len(cut))
    most = np.zeros(len(cut))
    np.maximum.at(most, window, ns)
    several = count > 1
    known = several & (total > 0)
    if not several.any():
        return {}
    skew = np.full(len(cut), np.nan)
    skew[known] = 100 * (most[known] * count[known] / total[known] - 1)
    return {
        "process.count": np.where(several, count, np.nan),
        "process.skew_pct": skew,
    }
