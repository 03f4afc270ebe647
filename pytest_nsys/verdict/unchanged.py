"""Whether a test measures what its baseline says: recording it anew would be noise in git."""

from __future__ import annotations

from dataclasses import replace

from pytest_nsys.catalogue import Breakdown
from pytest_nsys.measure.measurement import Environment, Measurement, WindowMeasurement
from pytest_nsys.plan.marker import Spec
from pytest_nsys.verdict.compare import compare
from pytest_nsys.verdict.rule import Rule
from pytest_nsys.verdict.verdict import Comparison

_ERRORS = 3.0
_OPERATIONS: tuple[Breakdown, ...] = ("kernels", "copies", "memsets", "allocations")


def is_unchanged(spec: Spec, measurement: Measurement, baseline: Measurement, rule: Rule) -> bool:
    """Whether nothing has changed but what noise explains, and no more was measured than then.

    The same versions and options, windows, operations and exact values; and times that differ by
    less than noise or the clock's resolution can, whatever their tolerance: a small change that is
    one is to be recorded.
    """
    return (
        _made_alike(measurement, baseline)
        and all(
            _consists_alike(window, baseline.windows[name])
            for name, window in measurement.windows.items()
        )
        and all(_is_same(part) for part in compare(spec, measurement, baseline, rule) if part.gated)
    )


def _made_alike(now: Measurement, then: Measurement) -> bool:
    return (
        (now.warmup, now.rounds, now.cold_l2) == (then.warmup, then.rounds, then.cold_l2)
        and now.processes <= then.processes
        and _lasting(now.environment) == _lasting(then.environment)
        and now.windows.keys() == then.windows.keys()
    )


def _lasting(environment: Environment) -> Environment:
    """What is to be the same: neither the day nor the commit."""
    return replace(environment, date="", commit="")


def _consists_alike(now: WindowMeasurement, then: WindowMeasurement) -> bool:
    if now.units != then.units or now.samples.keys() != then.samples.keys():
        return False
    return all(_counts(now, kind) == _counts(then, kind) for kind in _OPERATIONS)


def _counts(window: WindowMeasurement, kind: Breakdown) -> dict[str, float]:
    return {part.label: part.count for part in window.breakdown.get(kind, ())}


def _is_same(part: Comparison) -> bool:
    if part.baseline is None or part.current is None:
        return False
    change = abs(part.current - part.baseline)
    if part.noise is None:
        return change == 0
    return part.status == "ok" and change <= max(_ERRORS * part.noise, part.resolution.amount)
