"""What can be compared where nsys recorded one side, and CUPTI within the process the other.

Twelve programs were recorded in both ways on an H200 (``benchmarks/cupti_spike``): these metrics
were equal, and times of the device differed by as much as between two runs. Metrics of the host's
time differ by up to half, ``mem.peak_total`` by 5 %, and ``api.count`` by what either records.
"""

from __future__ import annotations

from pytest_nsys.catalogue import undivided
from pytest_nsys.measure.measurement import Measurement

_COPIES = ("h2d", "d2h", "d2d", "p2p")

COMPARABLE = frozenset(
    {
        *("gpu.kernel_count", "gpu.kernel_time", "gpu.busy", "graph.launches", "sync.count"),
        *("mem.peak", "mem.live_end", "mem.alloc_count", "mem.pool_peak", "memcpy.pageable"),
        *(f"memcpy.{way}.{what}" for way in _COPIES for what in ("count", "bytes", "time")),
        *(f"memset.{what}" for what in ("count", "bytes", "time")),
    }
)
"""Keys of the metrics that both record alike."""


def comparable(key: str) -> bool:
    """Whether a metric is the same whoever records."""
    return undivided(key) in COMPARABLE


def other_capture(measurement: Measurement, baseline: Measurement) -> str:
    """What recorded which side, in words, where that was not the same; else ""."""
    now, then = measurement.environment, baseline.environment
    if now.is_captured_as(then):
        return ""
    return f"the baseline was recorded by {then.capture}, this run by {now.capture}"
