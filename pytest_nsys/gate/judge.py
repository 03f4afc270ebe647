"""Judging one test: every window and metric against the baseline, and the demands."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pytest_nsys.catalogue import Metric, lookup, plain_metrics
from pytest_nsys.config.marker import Spec
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.culprit import contributions
from pytest_nsys.gate.demands import broken_demands
from pytest_nsys.gate.rule import Rule, median_rule
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Demand, Status, Verdict
from pytest_nsys.measurement import Measurement, WindowMeasurement

_ALWAYS_FAILS: frozenset[Status] = frozenset({"regressed", "over budget", "violated"})
_FAILS_GATE: frozenset[Status] = _ALWAYS_FAILS | {"new", "incomparable"}


def failing(mode: Mode) -> frozenset[Status]:
    """The statuses that fail a test in this mode."""
    return _FAILS_GATE if mode == "gate" else _ALWAYS_FAILS


def judge(
    spec: Spec,
    measurement: Measurement,
    baseline: Measurement | None,
    mode: Mode,
    *,
    other_devices: tuple[str, ...] = (),
    rule: Rule = median_rule,
) -> Verdict:
    """The verdict on one test.

    Args:
        spec: tolerances and demands of the test.
        measurement: what was measured.
        baseline: what it is compared with; None if there is none for this device. Where
            baselines are being recorded nothing is compared, only demands are.
        mode: decides what fails the test.
        other_devices: devices that there are baselines for, when there is none for this one.
        rule: how samples are compared.
    """
    demands = [
        demand for window in measurement.windows.values() for demand in broken_demands(spec, window)
    ]
    demands += _emptiness(spec, measurement, baseline)
    notes: tuple[str, ...] = ()
    if mode == "update" or (mode == "update-new" and baseline is None):
        comparisons: tuple[Comparison, ...] = ()
    elif baseline is None:
        comparisons = ()
        notes = (_no_baseline(measurement.device, other_devices),)
    else:
        difference = _difference(measurement, baseline)
        compared = _compare(spec, measurement, baseline, rule)
        comparisons = tuple(
            replace(part, status="incomparable" if part.gated else "ok", note=difference)
            if difference
            else part
            for part in compared
        )
        notes = (difference,) if difference else ()
    recording = mode == "update" or (mode == "update-new" and baseline is None)
    statuses: list[Status] = [part.status for part in comparisons]
    statuses += [demand.status for demand in demands]
    if baseline is None and not recording:
        statuses.append("incomparable" if other_devices else "new")
    status = max(statuses, key=SEVERITY.__getitem__, default="new" if recording else "ok")
    return Verdict(
        nodeid=measurement.nodeid,
        status=status,
        failed=bool(failing(mode).intersection(statuses)),
        measurement=measurement,
        baseline=baseline,
        comparisons=comparisons,
        demands=tuple(demands),
        notes=notes,
    )


def _emptiness(
    spec: Spec, measurement: Measurement, baseline: Measurement | None
) -> Iterator[Demand]:
    """A test that was to use the GPU and did not has measured nothing, not something fast."""
    for name, window in measurement.windows.items():
        then = baseline.windows.get(name) if baseline else None
        had_kernels = then is not None and any(then.values("gpu.kernel_count"))
        if had_kernels and not any(window.values("gpu.kernel_count")):
            yield Demand(name, "violated", "no kernel was recorded, and the baseline has some")
        elif window.is_empty and not spec.allow_empty and name == next(iter(measurement.windows)):
            yield Demand(
                name,
                "violated",
                "no CUDA activity was recorded; if this test is to use no GPU, "
                "say allow_empty=True in its marker",
            )


def _no_baseline(device: str, other_devices: tuple[str, ...]) -> str:
    if other_devices:
        return f"no baseline for {device}; there is one for {', '.join(other_devices)}"
    return "no baseline yet: record one with --nsys-update-new"


def _difference(measurement: Measurement, baseline: Measurement) -> str:
    """Why two measurements cannot be compared at all; "" if they can.

    Another number of rounds is no reason: medians of different numbers of rounds estimate the
    same thing.
    """
    if measurement.warmup != baseline.warmup:
        return (
            f"the baseline was recorded with {baseline.warmup} warm-up calls, "
            f"this run has {measurement.warmup}"
        )
    now, then = measurement.environment.trace, baseline.environment.trace
    if set(now) != set(then):
        changed = sorted(set(now) ^ set(then))
        return f"the baseline was recorded with other capture options: {' '.join(changed)}"
    return ""


def _compare(
    spec: Spec, measurement: Measurement, baseline: Measurement, rule: Rule
) -> Iterator[Comparison]:
    for name, window in measurement.windows.items():
        then = baseline.windows.get(name)
        if then is not None and dict(then.units) != dict(window.units):
            yield Comparison(
                name,
                lookup("gpu.kernel_time"),
                "incomparable",
                True,
                None,
                None,
                note=f"a round processed {_units(then.units)} when the baseline was recorded, "
                f"now {_units(window.units)}",
            )
            continue
        for metric in _metrics(spec, window, then):
            yield _compare_metric(spec, metric, window, then, rule)
    for name in baseline.windows:
        if name not in measurement.windows:
            yield Comparison(
                name,
                lookup("gpu.kernel_time"),
                "incomparable",
                True,
                None,
                None,
                note=f"the baseline has a window {name!r} that this test no longer measures",
            )


def _units(units: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} {name}(s)" for name, count in units.items()) or "no units"


def _metrics(spec: Spec, window: WindowMeasurement, then: WindowMeasurement | None) -> list[Metric]:
    """Plain metrics in the catalogue's order, then those that only the marker names."""
    measured = {*window.samples, *(then.samples if then else ())}
    plain = [metric for metric in plain_metrics() if metric.key in measured]
    named = [key for key in spec.tolerance if key not in {m.key for m in plain} and key != "*"]
    return plain + [lookup(key) for key in named if window.values(key)]


def _compare_metric(
    spec: Spec,
    metric: Metric,
    window: WindowMeasurement,
    then: WindowMeasurement | None,
    rule: Rule,
) -> Comparison:
    tolerance = spec.tolerance_of(metric)
    current = window.values(metric.key)
    before = then.values(metric.key) if then else ()
    comparison = Comparison(
        window=window.name,
        metric=metric,
        status="ok",
        gated=tolerance is not None,
        baseline=statistics.median(before) if before else None,
        current=statistics.median(current) if current else None,
        tolerance=tolerance,
    )
    if tolerance is None:
        return comparison
    if not before or not current or then is None:
        missing = "the baseline" if current else "this run"
        return replace(
            comparison,
            status="new" if current else "incomparable",
            note=f"{metric.key} of window {window.name!r} is not in {missing}",
        )
    outcome = rule(metric, tolerance, then.sessions(metric.key), window.sessions(metric.key))
    culprits = contributions(metric, then, window) if outcome == "regressed" else ()
    return replace(comparison, status=outcome, culprits=culprits)
