"""Comparing a measurement with its baseline: window by window, metric by metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_nsys.catalogue import (
    COUNTED_UNITS,
    PCT_PEAK_FLOPS,
    Gates,
    Metric,
    default_gates,
    lookup,
    plain_metrics,
    split_per_unit,
)
from pytest_nsys.measure.measurement import (
    Measurement,
    Samples,
    WindowMeasurement,
    centre,
    process_medians,
)
from pytest_nsys.plan.marker import Spec
from pytest_nsys.support.units import Tolerance, format_amount, format_change, format_count
from pytest_nsys.verdict.captures import comparable, other_capture
from pytest_nsys.verdict.clock import CLOCK, at_clock, clocks, depends_on_clock
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.resolution import ANOTHER_GPU, KERNEL_NS, resolution
from pytest_nsys.verdict.rule import FAMILY_LEVEL, Rule, Ruling, is_out_of_reach
from pytest_nsys.verdict.unmatched import matches_nothing, none_now
from pytest_nsys.verdict.verdict import Comparison, Resolution
from pytest_nsys.windows.record import MAIN


def compare(
    spec: Spec, measurement: Measurement, baseline: Measurement, rule: Rule
) -> tuple[Comparison, ...]:
    """Every metric of every window, in the catalogue's order."""
    return tuple(_windows(spec, measurement, baseline, rule))


def difference(measurement: Measurement, baseline: Measurement) -> str:
    """Why two measurements cannot be compared at all; "" if they can.

    Another number of rounds is no reason: medians of different numbers of rounds estimate the
    same thing.
    """
    if measurement.warmup != baseline.warmup:
        return (
            f"the baseline was recorded with {baseline.warmup} warm-up calls, "
            f"this run has {measurement.warmup}"
        )
    if measurement.cold_l2 != baseline.cold_l2:
        states = ("with a cold L2 cache", "with a warm one")
        now_cold, then_cold = measurement.cold_l2, baseline.cold_l2
        return f"the baseline was recorded {states[not then_cold]}, this run {states[not now_cold]}"
    now, then = measurement.environment.trace, baseline.environment.trace
    if set(now) != set(then):
        changed = sorted(set(now) ^ set(then))
        return f"the baseline was recorded with other capture options: {' '.join(changed)}"
    return ""


def _windows(
    spec: Spec, measurement: Measurement, baseline: Measurement, rule: Rule
) -> Iterator[Comparison]:
    compared = {
        name: [*_tolerances(spec, window, baseline.windows.get(name))]
        for name, window in measurement.windows.items()
    }
    level = FAMILY_LEVEL / max(1, sum(map(_timed_gates, compared.values())))
    elsewhere = measurement.environment.is_elsewhere(baseline.environment)
    for name, window in measurement.windows.items():
        then = baseline.windows.get(name)
        if then is not None and not _declared_alike(then, window):
            yield _incomparable(name, _processed(then, window))
            continue
        clocks_of = _clock(measurement, name), _clock(baseline, name)
        pair = _Pair(
            window,
            then,
            rule,
            level,
            *clocks_of,
            another_gpu=elsewhere,
            another_capture=other_capture(measurement, baseline),
        )
        for metric, tolerance in compared[name]:
            yield pair.compare(metric, tolerance)
    for name in baseline.windows:
        if name not in measurement.windows:
            yield _incomparable(
                name, f"the baseline has a window {name!r} that this test no longer measures"
            )


def _incomparable(window: str, note: str) -> Comparison:
    metric = lookup("gpu.kernel_time")
    return Comparison(window, metric, "incomparable", True, None, None, note=note)


def _timed_gates(compared: Iterable[tuple[Metric, Tolerance | None]]) -> int:
    """How many comparisons noise could make fail."""
    return sum(metric.kind == "timed" and tolerance is not None for metric, tolerance in compared)


def _gates(window: WindowMeasurement, then: WindowMeasurement | None) -> Gates:
    """What is gated by default: a client's values that are gone are as telling as new ones."""
    return "server" if then is not None and then.gates == "server" else window.gates


_COUNTED_ALIKE = 0.05
"""By what fraction the number of a unit may differ: answers vary a little in their lengths."""


def _declared_alike(then: WindowMeasurement, now: WindowMeasurement) -> bool:
    """Whether the rounds processed the same, as far as that was declared."""
    return then.units.keys() == now.units.keys() and all(
        count == now.units[unit] or _are_counted(unit, then, now)
        for unit, count in then.units.items()
    )


def _counted_alike(then: WindowMeasurement, now: WindowMeasurement) -> bool:
    """Whether what was counted in the rounds is about the same."""
    return all(
        abs(now.units[unit] - count) <= _COUNTED_ALIKE * count for unit, count in then.units.items()
    )


def _is_total(metric: Metric) -> bool:
    """Whether the metric grows with how much is processed."""
    return metric.combine == "sum" and metric.ratio is None and not split_per_unit(metric.key)


def _processed(then: WindowMeasurement, now: WindowMeasurement) -> str:
    return (
        f"a round processed {_units(then.units)} when the baseline was recorded, "
        f"now {_units(now.units)}"
    )


def _are_counted(unit: str, *windows: WindowMeasurement) -> bool:
    key = COUNTED_UNITS.get(unit)
    return key is not None and all(key in window.samples for window in windows)


def _units(units: Mapping[str, float]) -> str:
    return ", ".join(format_count(count, name) for name, count in units.items()) or "no units"


def _metrics(spec: Spec, window: WindowMeasurement, then: WindowMeasurement | None) -> list[Metric]:
    """Plain metrics in the catalogue's order, then those of others that are gated: by default, or
    because the marker names them.
    """
    measured = {*window.samples, *(then.samples if then else ())}
    plain = [metric for metric in plain_metrics() if metric.key in measured]
    gated = [metric.key for metric in default_gates(_gates(window, then))]
    known = {"*", *(metric.key for metric in plain_metrics())}
    others = [key for key in dict.fromkeys([*gated, *spec.tolerance]) if key not in known]
    return plain + [lookup(key) for key in others if window.values(key)]


def _tolerances(
    spec: Spec, window: WindowMeasurement, then: WindowMeasurement | None
) -> Iterator[tuple[Metric, Tolerance | None]]:
    """What of a window is compared, and how far it may move; None for what is only shown."""
    gates = _gates(window, then)
    for metric in _metrics(spec, window, then):
        yield metric, spec.tolerance_of(metric, gates)


def gated_metrics(spec: Spec, window: WindowMeasurement) -> Iterator[tuple[Metric, Tolerance]]:
    """What of a window is compared with a baseline, and how far it may move."""
    for metric, tolerance in _tolerances(spec, window, None):
        if tolerance is not None:
            yield metric, tolerance


def _clock(measurement: Measurement, window: str) -> Samples:
    """The SM clock round by round; that of a test's part is read around its body."""
    read = (measurement.windows[name] for name in (window, MAIN) if name in measurement.windows)
    return next((found for one in read if any(found := one.by_process(CLOCK))), ())


@dataclass(frozen=True)
class _Pair:
    """A window now and in the baseline, if that has it, and the clocks of both."""

    now: WindowMeasurement
    then: WindowMeasurement | None
    rule: Rule
    level: float
    clock_now: Samples
    clock_then: Samples
    another_gpu: bool = False
    another_capture: str = ""

    def compare(self, metric: Metric, tolerance: Tolerance | None) -> Comparison:
        current = self.now.by_process(metric.key)
        before = self.then.by_process(metric.key) if self.then else ()
        comparison = Comparison(
            window=self.now.name,
            metric=metric,
            status="ok",
            gated=tolerance is not None,
            baseline=centre(before) if any(before) else None,
            current=centre(current) if any(current) else None,
            tolerance=tolerance,
        )
        if tolerance is None:
            return comparison
        if not any(before) or not any(current) or self.then is None:
            missing = "the baseline" if any(current) else "this run"
            return replace(
                comparison,
                status="new" if any(current) else "incomparable",
                note=f"{metric.key} of window {self.now.name!r} is not in {missing}",
            )
        if self.another_capture and not comparable(metric.key):
            note = f"{metric.key} depends on what records: {self.another_capture}"
            return replace(comparison, status="incomparable", note=note)
        if matches_nothing(self.now, metric.key) and any(self.then.values(metric.key)):
            # Renamed, and as slow as may be, or no longer there: that is no improvement.
            return replace(
                comparison, status="incomparable", note=none_now(metric.key, self.then, self.now)
            )
        if metric.key == PCT_PEAK_FLOPS and self.then.precision != self.now.precision:
            return replace(
                comparison,
                status="incomparable",
                note=f"{metric.key} is of the peak in {self.now.precision}, in the baseline in "
                f"{self.then.precision}",
            )
        if _is_total(metric) and not _counted_alike(self.then, self.now):
            return replace(
                comparison,
                status="incomparable",
                note=f"{_processed(self.then, self.now)}: gate {metric.key}.per_token or "
                ".per_request",
            )
        least = resolution(metric, self.then, self.now, another_gpu=self.another_gpu)
        ruling = self._rule(metric, tolerance, before, current, least.amount)
        comparison = replace(
            comparison,
            status=ruling.decision,
            baseline=ruling.baseline,
            current=ruling.current,
            limit=ruling.limit,
            noise=ruling.noise,
            detectable=None if ruling.noise is None else ruling.detectable,
            resolution=least,
            beyond=ruling.beyond,
        )
        if ruling.decision == "inconclusive":
            # Where noise is the larger of the two, it is what hides the change, if there is any.
            below = abs(ruling.current - ruling.baseline) <= ruling.limit <= least.amount
            note = _too_small(metric, least) if below else _too_noisy(metric, ruling)
            return replace(comparison, note=note)
        if ruling.strays:
            return replace(comparison, note=_strays(metric, ruling, current))
        if ruling.decision != "regressed":
            return comparison
        if ruling.noise is None:
            comparison = replace(comparison, note=_in_some(metric, ruling, current))
        by_clock = self._explained_by_clock(metric, tolerance, self.then, least.amount)
        if by_clock:
            return replace(comparison, status="inconclusive", note=by_clock)
        return replace(comparison, culprits=contributions(metric, self.then, self.now))

    def _rule(
        self,
        metric: Metric,
        tolerance: Tolerance,
        before: Samples,
        current: Samples,
        least: float,
    ) -> Ruling:
        return self.rule(metric, tolerance, before, current, level=self.level, resolution=least)

    def _explained_by_clock(
        self, metric: Metric, tolerance: Tolerance, then: WindowMeasurement, least: float
    ) -> str:
        """In words, if the regression is none when both are put at the baseline's clock."""
        pair = clocks(self.clock_then, self.clock_now) if depends_on_clock(metric) else None
        if pair is None:
            return ""
        before = at_clock(then.by_process(metric.key), self.clock_then, pair[0])
        current = at_clock(self.now.by_process(metric.key), self.clock_now, pair[0])
        if before is None or current is None:
            return ""
        ruling = self._rule(metric, tolerance, before, current, least)
        if ruling.decision == "regressed":
            return ""
        was, is_now = (format_amount(hz, "Hz") for hz in pair)
        change = format_change(ruling.baseline, ruling.current, metric.unit)
        return f"the SM clock is {is_now}, in the baseline {was}: in cycles the change is {change}"


def _strays(metric: Metric, ruling: Ruling, current: Samples) -> str:
    rounds = sum(map(len, current))
    samples = [sample for process in current for sample in process]
    furthest = max(samples) if metric.worse == "up" else min(samples)
    return (
        f"{metric.key} left the baseline's range in {ruling.strays} of {rounds} rounds: up to "
        f"{format_amount(furthest, metric.unit)}"
    )


def _in_some(metric: Metric, ruling: Ruling, current: Samples) -> str:
    """In which processes an exact metric is as bad as it is said to be, where not in all."""
    medians = process_medians(current)
    at = [str(number) for number, median in enumerate(medians, 1) if median == ruling.current]
    if len(at) == len(medians):
        return ""
    name = "process" if len(at) == 1 else "processes"
    return f"{metric.key}: so in {name} {', '.join(at)} of {len(medians)}, and one is enough"


def _too_small(metric: Metric, least: Resolution) -> str:
    if least.cause == "gpu":
        return (
            f"{metric.key}: the baseline is that of another GPU of this model, and one may be "
            f"{ANOTHER_GPU:.0%} slower than another"
        )
    return (
        f"{metric.key} moved by less than {KERNEL_NS:g} ns a kernel: one process may differ from "
        "another by as much"
    )


_DOUBTS: Mapping[str, str] = {
    "process": "the median moved, but not in every process: at least one was as in the baseline",
    "ranks": "the median moved, but too few of the rounds did (rank test)",
}


def _too_noisy(metric: Metric, ruling: Ruling) -> str:
    if ruling.doubt:
        return f"{metric.key}: {_DOUBTS[ruling.doubt]}"
    if is_out_of_reach(metric, ruling.baseline, ruling.detectable):
        return f"{metric.key} is too noisy to tell: no fall would be found, however deep"
    least = format_change(ruling.baseline, ruling.baseline + ruling.detectable, metric.unit)
    return f"{metric.key} is too noisy to tell: a change would be found from {least.lstrip('+')} on"
