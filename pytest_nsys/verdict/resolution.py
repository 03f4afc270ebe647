"""What a time on the GPU is good for at best: the clock's ticks, and which GPU it was."""

from __future__ import annotations

from pytest_nsys.catalogue import Metric
from pytest_nsys.measure.measurement import WindowMeasurement
from pytest_nsys.verdict.clock import depends_on_clock
from pytest_nsys.verdict.culprit import chooser, units_factor
from pytest_nsys.verdict.verdict import Resolution

KERNEL_NS = 64.0
"""Two ticks of the clock that kernels' starts and ends are taken from: 32 ns each on an H200.

A process is laid out in memory as it comes, and its kernels have a latency to match: on an H200
300 kernels of 1 us took 304 us in some processes and 319 us in others, nothing between, 50 ns a
kernel apart. No number of rounds, and few numbers of processes, tell this from a change.
"""

ANOTHER_GPU = 0.05
"""By what fraction kernels may be slower on another GPU of the same model: of 37 workloads on four
H200s of one host one was 4.7 % slower, five by 1.4 % to 2.4 %, the median one by 0.7 %, apart from
two that differ as much between processes of one GPU."""


def resolution(
    metric: Metric, *windows: WindowMeasurement, another_gpu: bool = False
) -> Resolution:
    """The resolution of a metric in a comparison of windows; 0 for what is no time of kernels.

    Args:
        metric: what is compared.
        windows: the baseline's and the current one, or one alone.
        another_gpu: whether the two are of different GPUs; what that makes comes on top.
    """
    if not depends_on_clock(metric):
        return Resolution()
    chosen = chooser(metric)
    ticks = max(
        KERNEL_NS
        * units_factor(metric, window)
        * sum(part.count for part in window.kernels if chosen(part))
        for window in windows
    )
    measured = [window[metric.key] for window in windows[:1] if window.values(metric.key)]
    if another_gpu and measured:
        return Resolution(ticks + ANOTHER_GPU * measured[0], "gpu")
    return Resolution(ticks)
