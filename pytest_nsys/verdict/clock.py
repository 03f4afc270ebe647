"""Whether a slow-down is the clock's: the same work in as many cycles, at a lower clock."""

from __future__ import annotations

from pytest_nsys.catalogue import Metric, parse_range, undivided
from pytest_nsys.measure.measurement import Samples, centre

CLOCK = "gpu.sm_clock"

_LOWER = 0.99
_OF_KERNELS = ("gpu.kernel_time", "gpu.busy", "kernel[", "category[", "nccl.")


def depends_on_clock(metric: Metric) -> bool:
    """Whether the metric is a time that kernels take."""
    key = undivided(metric.key)
    in_range = parse_range(key)
    return metric.unit == "ns" and (in_range[1] if in_range else key).startswith(_OF_KERNELS)


def clocks(then: Samples, now: Samples) -> tuple[float, float] | None:
    """The SM clock then and now, Hz, where both are known and now's is lower by 1 % or more."""
    if not any(then) or not any(now):
        return None
    pair = centre(then), centre(now)
    return pair if 0 < pair[1] < _LOWER * pair[0] else None


def at_clock(samples: Samples, rates: Samples, reference_hz: float) -> Samples | None:
    """A time's samples, each as it would be at the reference clock; None where not known.

    The number of cycles is kept: ``ns * clock / reference``.

    Args:
        samples: the times, ns.
        rates: the clock in the same rounds, Hz.
        reference_hz: the clock to convert to.
    """
    if [*map(len, samples)] != [*map(len, rates)]:
        return None
    return tuple(
        tuple(ns * hz / reference_hz for ns, hz in zip(process, rate, strict=True))
        for process, rate in zip(samples, rates, strict=True)
    )
