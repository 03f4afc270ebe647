"""How far the processes and rounds of a measurement disagree, which is to become a baseline.

Whatever lies between them is no change any more: the gate is blind for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_nsys.catalogue import Metric
from pytest_nsys.measure.measurement import Measurement, Samples, centre, process_medians
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance, format_amount, format_change, format_tolerance
from pytest_nsys.verdict.compare import gated_metrics
from pytest_nsys.verdict.resolution import resolution
from pytest_nsys.verdict.wording import place

_SHOWN = 5


def disagreements(spec: Spec, measurement: Measurement) -> Iterator[str]:
    """One sentence for each gated metric whose samples are further apart than it may move."""
    for name, window in measurement.windows.items():
        for metric, tolerance in gated_metrics(spec, window):
            samples = window.by_process(metric.key)
            if not any(samples):
                continue
            if metric.kind == "exact":
                text = _exact(metric, tolerance, samples)
            else:
                least = resolution(metric, window, window, another_gpu=False).amount
                text = _timed(metric, tolerance, samples, least)
            if text:
                yield place(name) + text


def _exact(metric: Metric, tolerance: Tolerance, samples: Samples) -> str:
    every = [sample for process in samples for sample in process]
    low, high = min(every), max(every)
    if high - low <= tolerance.limit(low):
        return ""
    medians = process_medians(samples)
    between = "processes" if min(medians) != max(medians) else "rounds"
    ends = " to ".join(format_amount(end, metric.unit) for end in (low, high))
    return f"{metric.key} differs between {between}, {ends}: no change in this range will be seen"


def _timed(metric: Metric, tolerance: Tolerance, samples: Samples, least: float) -> str:
    medians = process_medians(samples)
    low, high = min(medians), max(medians)
    if high - low <= max(tolerance.limit(centre(samples)), least):
        return ""
    shown = ", ".join(format_amount(median, metric.unit) for median in medians[:_SHOWN])
    more = f" and {len(medians) - _SHOWN} more" if len(medians) > _SHOWN else ""
    return (
        f"{metric.key} differs between processes by {format_change(low, high, metric.unit)} "
        f"({shown}{more}), more than its tolerance of {format_tolerance(tolerance, metric.unit)}"
    )
