"""One window of a test on the HTML page."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_nsys.catalogue import default_tolerance
from pytest_nsys.measure.measurement import Measurement, Samples, WindowMeasurement
from pytest_nsys.report.html.breakdowns import (
    KINDS,
    NOTHING,
    part_table,
    shown_amount,
    shown_change,
    take_apart,
)
from pytest_nsys.report.html.cascade import draw_cascade
from pytest_nsys.report.html.model import BADGES, MetricRow, Transfer, Window
from pytest_nsys.report.html.sentences import said_of_window
from pytest_nsys.report.html.strip import draw_strip
from pytest_nsys.support.units import Unit, format_count
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.verdict.wording import format_limit
from pytest_nsys.windows.record import MAIN

_STATE = ("gpu.sm_clock", "gpu.memory_clock", "gpu.temperature", "gpu.power")
_DIRECTIONS = {
    "h2d": "Host to device",
    "d2h": "Device to host",
    "d2d": "Device to device",
    "p2p": "GPU to GPU",
}


def window_of(
    verdict: Verdict, name: str, parts: list[Comparison], alone: bool, full: bool
) -> Window:
    """A window of a test.

    Args:
        verdict: that on the test.
        name: the window.
        parts: its comparisons.
        alone: whether the test has no other.
        full: whether everything is shown, or what is gated alone.
    """
    now = verdict.measurement.windows.get(name)
    then = verdict.baseline.windows.get(name) if verdict.baseline else None
    troubled = {part.window for part in verdict.worse}
    troubled |= {one.window for one in verdict.unmet}
    troubled |= {part.window for part in verdict.comparisons if part.note}
    bodies = verdict.measurement.bodies
    unfolded = name in troubled or (not troubled and name in bodies[:1])
    units = now.units if now else {}
    gated = [part for part in parts if _judged(part, now, then)]
    same = [part for part in gated if _is_same(verdict, part)]
    rest = [part for part in parts if part not in gated] if full else []
    state = [part for part in rest if part.metric.key in _STATE]
    cascade = draw_cascade(parts, now, then) if full else None
    explained = {cascade.metric} if cascade else set()
    opened = [part.metric.breakdown for part in parts if part.culprits and part.metric.breakdown]
    opened += ["kernels"] if cascade and cascade.open else []
    worst = max((part.status for part in gated), key=SEVERITY.__getitem__, default="ok")
    return Window(
        title="" if alone else _window_title(name, is_body=name in bodies),
        units=", ".join(format_count(count, unit) for unit, count in units.items()),
        open=unfolded,
        said=said_of_window(gated, then),
        badge=BADGES[worst],
        gated=tuple(_metric(verdict, part, drawn=full) for part in gated if part not in same),
        unchanged=_unchanged(same),
        shown=tuple(_metric(verdict, part, drawn=unfolded) for part in rest if part not in state),
        state=tuple(_metric(verdict, part, drawn=True) for part in state),
        cascade=cascade,
        origins=tuple(
            take_apart(part)
            for part in parts
            if part.culprits and part.metric.key not in explained and full
        ),
        transfers=_transfers(now, then) if full else (),
        tables=tuple(table for kind in KINDS for table in part_table(kind, now, then, set(opened)))
        if full
        else (),
    )


def _window_title(name: str, *, is_body: bool) -> str:
    if name == MAIN:
        return "Test body"
    return f"Window: {name}" if is_body else f"Range: {name}"


def _is_same(verdict: Verdict, part: Comparison) -> bool:
    """Whether a gated metric is as it was in every round, so that there is nothing to show."""
    samples = {
        value
        for side in (verdict.baseline, verdict.measurement)
        for process in _processes(side, part)
        for value in process
    }
    return part.status == "ok" and part.baseline is not None and len(samples) == 1


def _unchanged(parts: Iterable[Comparison]) -> str:
    """Metrics that are as they were, with their values."""
    values = [f"{part.metric.key} {shown_amount(part.current, part.metric.unit)}" for part in parts]
    return f"The same in every round, then and now: {', '.join(values)}." if values else ""


def _transfers(
    now: WindowMeasurement | None, then: WindowMeasurement | None
) -> tuple[Transfer, ...]:
    """The copies by direction, of directions that have any."""
    found = []
    for key, name in _DIRECTIONS.items():
        counts, sizes, times = (
            tuple(_value(window, f"memcpy.{key}.{what}") for window in (then, now))
            for what in ("count", "bytes", "time")
        )
        if any(counts):
            found.append(
                Transfer(
                    name=f"{name} ({key})",
                    count=_moved(counts, "1"),
                    bytes=_moved(sizes, "B"),
                    time=_moved(times, "ns"),
                    changed=None not in (*counts, *sizes)
                    and (counts[0] != counts[1] or sizes[0] != sizes[1]),
                )
            )
    return tuple(found)


def _moved(sides: tuple[float | None, ...], unit: Unit) -> str:
    then, now = sides
    before, after = shown_amount(then, unit), shown_amount(now, unit)
    if then is None or now is None:
        return after if then is None else before
    return after if before == after else f"{before} -> {after}"


def _value(window: WindowMeasurement | None, key: str) -> float | None:
    return window[key] if window is not None and window.values(key) else None


def _judged(
    part: Comparison, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> bool:
    """Whether a metric is gated, or would be if there were something to compare it with."""
    gates = now.gates if now else "test"
    return part.gated or (then is None and default_tolerance(part.metric, gates) is not None)


def _metric(verdict: Verdict, part: Comparison, *, drawn: bool) -> MetricRow:
    unit = part.metric.unit
    sides = (verdict.baseline if part.baseline is not None else None, verdict.measurement)
    then, now = (_processes(side, part) for side in sides)
    return MetricRow(
        key=part.metric.key,
        badge=BADGES[part.status],
        then=shown_amount(part.baseline, unit),
        then_range=_range(verdict.baseline, part) if part.baseline is not None else "",
        now=shown_amount(part.current, unit),
        now_range=_range(verdict.measurement, part),
        change=shown_change(part.baseline, part.current, unit),
        limit=format_limit(part) or NOTHING,
        note="" if part.note in verdict.notes else part.note or part.reason,
        strip=draw_strip(part, then, now) if drawn else None,
    )


def _processes(measurement: Measurement | None, part: Comparison) -> Samples:
    window = measurement.windows.get(part.window) if measurement else None
    return window.by_process(part.metric.key) if window else ()


def _range(measurement: Measurement | None, part: Comparison) -> str:
    window = measurement.windows.get(part.window) if measurement else None
    values = window.values(part.metric.key) if window else ()
    ends = [shown_amount(end(values), part.metric.unit) for end in (min, max) if values]
    return " to ".join(ends) if len(set(ends)) > 1 else ""
