"""The statistical rule: do two sets of samples of one metric differ, and which way?

One function behind one signature, so that a better rule takes its place without anything else
knowing.
"""

from __future__ import annotations

import statistics
from typing import Literal, Protocol

from pytest_nsys.catalogue import Metric
from pytest_nsys.measurement import Sessions
from pytest_nsys.quantities import Tolerance

Outcome = Literal["ok", "improved", "regressed", "inconclusive"]


class Rule(Protocol):
    """Compares the samples of one metric."""

    def __call__(
        self, metric: Metric, tolerance: Tolerance, baseline: Sessions, current: Sessions
    ) -> Outcome: ...


def median_rule(
    metric: Metric, tolerance: Tolerance, baseline: Sessions, current: Sessions
) -> Outcome:
    """Medians against the larger of the relative and the absolute tolerance.

    A timed metric is compared with the baseline's median; an exact one with the range of the
    baseline's samples, which for a deterministic metric is a single value: then, with no
    tolerance, it is a test for equality.
    """
    now = statistics.median(_pooled(current))
    then = _pooled(baseline)
    if metric.kind == "timed":
        low = high = statistics.median(then)
    else:
        low, high = min(then), max(then)
    if now > high + tolerance.limit(high):
        return "regressed" if metric.worse == "up" else "improved"
    if now < low - tolerance.limit(low):
        return "improved" if metric.worse == "up" else "regressed"
    return "ok"


def _pooled(sessions: Sessions) -> list[float]:
    return [sample for session in sessions for sample in session]
