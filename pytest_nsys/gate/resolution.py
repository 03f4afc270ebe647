"""What a time made of kernels is good for at best: the GPU's clock ticks, once for each of them."""

from __future__ import annotations

from pytest_nsys.catalogue import Metric
from pytest_nsys.gate.clock import depends_on_clock
from pytest_nsys.gate.culprit import chooser, units_factor
from pytest_nsys.measurement import WindowMeasurement

KERNEL_NS = 64.0
"""Two ticks of the clock that kernels' starts and ends are taken from: 32 ns each on an H200.

A process is laid out in memory as it comes, and its kernels have a latency to match: on an H200
300 kernels of 1 us took 304 us in some processes and 319 us in others, nothing between, 50 ns a
kernel apart. No number of rounds, and few numbers of sessions, tell this from a change.
"""


def resolution(metric: Metric, *windows: WindowMeasurement) -> float:
    """The change, in the metric's unit, below which kernels' times say nothing; 0 for others."""
    if not depends_on_clock(metric):
        return 0.0
    chosen = chooser(metric)
    return max(
        KERNEL_NS
        * units_factor(metric, window)
        * sum(part.count for part in window.kernels if chosen(part))
        for window in windows
    )
