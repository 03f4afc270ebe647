"""Rule on memory that is allocated and released again and again."""

from __future__ import annotations

import numpy as np

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck, percent
from pytest_nsys.insights.bottlenecks.gaps import IdleCause
from pytest_nsys.insights.bottlenecks.view import View, length
from pytest_nsys.support.arrays.intervals import intersection, merged
from pytest_nsys.support.units import format_amount
from pytest_nsys.trace.calls import CallClass

CALLS_LEAST = 4
"""Allocations and releases per window; a few happen in any program that has not seen all its
shapes."""

HOST_TIME = 0.05
"""Part of the time that the host must spend in them."""


def allocation(view: View) -> Bottleneck | None:
    """Memory is allocated and released through the driver, which is slow and may wait."""
    rows = view.calls_of(CallClass.ALLOCATION)
    every = np.concatenate(rows)  # a process that drives several devices calls for each of them
    calls = intersection(merged(view.call_intervals(rows)), view.observed)
    share = view.share(length(calls))
    if len(every) < CALLS_LEAST * view.instances or share < HOST_TIME:
        return None
    took = view.background.call_durations[every]
    idle = length(view.gaps.of(IdleCause.ALLOCATION)) if view.devices else 0
    return Bottleneck(
        "allocation",
        share,
        f"The host spends {percent(length(calls), view.total)} of {view.scope} in"
        f" {view.count(len(every))} allocations and releases of memory.",
        (
            *(
                f"{view.count(count)}x {name}: {view.time(ns)},"
                f" {format_amount(ns / count, 'ns')} each"
                for name, count, ns in view.functions(every)
            ),
            f"the longest takes {format_amount(int(took.max()), 'ns')}",
            *([f"{view.time(idle)} of idle GPU come from them"] if idle else []),
        ),
        "Allocate once and use the memory again: a caching allocator or a pool (PyTorch's own,"
        " cudaMallocAsync, rmm), buffers made before the loop, fixed shapes; no"
        " torch.cuda.empty_cache() in the loop. cudaFree waits for everything on the device.",
    )
