"""Metrics: pure functions from a cut trace to one number per window.

What each metric means is in `pytest_nsys.catalogue`; a test holds the two to the same keys.
"""

from pytest_nsys.metrics.breakdown import Lines, breakdowns, peak_allocations
from pytest_nsys.metrics.memory import SPAN_METRICS, MemoryTimeline
from pytest_nsys.metrics.naming import Naming
from pytest_nsys.metrics.values import window_values
from pytest_nsys.metrics.window import WINDOW_METRICS

__all__ = [
    "SPAN_METRICS",
    "WINDOW_METRICS",
    "Lines",
    "MemoryTimeline",
    "Naming",
    "breakdowns",
    "peak_allocations",
    "window_values",
]
