"""One test on the HTML page, with its windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_nsys.catalogue import default_tolerance
from pytest_nsys.measure.measurement import Samples, WindowMeasurement
from pytest_nsys.report.html.breakdowns import breakdown_tables, kernel_marks, renamed_in
from pytest_nsys.report.html.counted import counted_kernels
from pytest_nsys.report.html.model import (
    BADGES,
    Drawing,
    MeasuredTest,
    MeasuredWindow,
    MetricRow,
    Roofline,
    Stored,
    Transfer,
)
from pytest_nsys.report.html.roofline_svg import (
    point_of,
    roofline_svg,
    roofline_words,
    roofs_of,
)
from pytest_nsys.report.html.sentences import glance, plan, said_of_test, said_of_window
from pytest_nsys.report.html.served import served_windows, stepped_windows
from pytest_nsys.report.html.shown import KERNEL_TIME, NOTHING, shown_amount, shown_change
from pytest_nsys.report.html.sides import differences_of
from pytest_nsys.report.html.strip import draw_strip
from pytest_nsys.report.html.timeline_svg import timeline_notes, timeline_svg
from pytest_nsys.report.html.waterfall import waterfalls
from pytest_nsys.report.run import Sides, compared, sides_of
from pytest_nsys.support.units import Unit, format_count
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.verdict.wording import accept, format_limit, headline, place, reproduce
from pytest_nsys.windows.record import MAIN

if TYPE_CHECKING:
    from pytest_nsys.insights.bottlenecks import Bottleneck

_STATE = ("gpu.sm_clock", "gpu.memory_clock", "gpu.temperature", "gpu.power")
_DIRECTIONS = {
    "h2d": "Host to device",
    "d2h": "Device to host",
    "d2d": "Device to device",
    "p2p": "GPU to GPU",
}
_OPEN = ("improved", "inconclusive", "incomparable")
"""Tests that did not fail and have something to be looked at."""


def test_of(
    verdict: Verdict, number: int, *, full: bool, most: int, stored: Stored | None
) -> MeasuredTest:
    """A test of a run or of two stored captures.

    Args:
        verdict: what was found.
        number: its place in the run, from 1; what its anchor is made of.
        full: whether everything is shown, or what is gated alone.
        most: elements that its timelines may have; 0 for no timelines.
        stored: what was compared, where that are stored captures.
    """
    metrics = compared(verdict)
    alone = [*metrics] == [MAIN]
    said = said_of_test(verdict) or glance(metrics)
    repeated = headline(verdict)
    served = served_windows(verdict) if full else ()
    return MeasuredTest(
        anchor=f"test-{number}",
        badge=BADGES[verdict.status],
        nodeid=verdict.nodeid,
        headline=said,
        brief=not full,
        plan=plan(verdict) if full else "",
        notes=tuple(
            note
            for note in (*verdict.notes, *verdict.warnings)
            if repeated != f"{verdict.status}: {note}"
        ),
        unmet=tuple((BADGES[d.status], place(d.window) + d.text) for d in verdict.unmet),
        served=served,
        stepped=stepped_windows(verdict) if full else (),
        windows=tuple(
            _window(verdict, name, parts, alone, full, said) for name, parts in metrics.items()
        ),
        drawing=_drawing(verdict, f"test-{number}", most),
        bottlenecks=_bottlenecks(verdict) if full else (),
        counted=counted_kernels(verdict) if full else (),
        open=verdict.failed or bool(served) or (full and verdict.status in _OPEN),
        differences=tuple(differences_of(verdict)) if full else (),
        reproduce=stored.command if stored else reproduce(verdict),
        accept="" if stored or not full else accept(verdict),
    )


def _drawing(verdict: Verdict, ident: str, most: int) -> Drawing | None:
    now = verdict.measurement.timeline
    then = verdict.baseline.timeline if verdict.baseline else None
    if now is None or not most:
        return None
    drawn = verdict.measurement.bodies[0]
    sides = sides_of(verdict, drawn)
    where = "" if drawn == MAIN else f" of window {drawn}"
    return Drawing(
        svg=timeline_svg(
            now,
            then,
            ident=ident,
            most=most,
            marks=kernel_marks(sides, renamed_in(sides)) if then else {},
            what="the body" if drawn == MAIN else "the window",
        ),
        notes=tuple(timeline_notes(now, then, most=most)),
        title=f"GPU timelines{where}, baseline above current" if then else f"GPU timeline{where}",
    )


def _bottlenecks(verdict: Verdict) -> tuple[Bottleneck, ...]:
    """Those of a window are named with it."""
    found = verdict.measurement.bottlenecks
    return tuple(replace(one, name=place(one.window or MAIN) + one.name) for one in found)


def _window(
    verdict: Verdict, name: str, parts: list[Comparison], alone: bool, full: bool, headline: str
) -> MeasuredWindow:
    """A window of a test.

    Args:
        verdict: that on the test.
        name: the window.
        parts: its comparisons.
        alone: whether the test has no other.
        full: whether everything is shown, or what is gated alone.
        headline: what has been said of the test.
    """
    now, then = sides = sides_of(verdict, name)
    troubled = {part.window for part in verdict.worse}
    troubled |= {one.window for one in verdict.unmet}
    troubled |= {part.window for part in verdict.comparisons if part.note}
    bodies = verdict.measurement.bodies
    serves = now is not None and now.gates == "server"
    unfolded = name in troubled or (not troubled and not serves and name in bodies[:1])
    units = now.units if now else {}
    gated = [part for part in parts if _judged(part, now, then)]
    said = said_of_window(gated, then)
    same = [part for part in gated if _is_same(part, sides)]
    rest = [part for part in parts if part not in gated] if full else []
    state = [part for part in rest if part.metric.key in _STATE]
    renamed = renamed_in(sides) if full else {}
    drawn = tuple(waterfalls(parts, sides)) if full else ()
    explained = [part.metric.breakdown for part in parts if part.culprits and part.metric.breakdown]
    explained += ["kernels" for one in drawn if one.metric == KERNEL_TIME and one.open]
    worst = max((part.status for part in gated), key=SEVERITY.__getitem__, default="ok")
    return MeasuredWindow(
        title="" if alone else _window_title(name, is_body=name in bodies),
        units=", ".join(format_count(count, unit) for unit, count in units.items()),
        open=unfolded,
        said="" if said in headline else said,
        badge=BADGES[worst],
        gated=tuple(
            _metric(verdict, part, sides, drawn=full) for part in gated if part not in same
        ),
        unchanged=_unchanged(same),
        shown=tuple(
            _metric(verdict, part, sides, drawn=unfolded) for part in rest if part not in state
        ),
        state=tuple(_metric(verdict, part, sides, drawn=True) for part in state),
        waterfalls=drawn,
        transfers=_transfers(sides) if full else (),
        tables=tuple(breakdown_tables(sides, renamed, explained)) if full else (),
        roofline=_roofline(sides, verdict.measurement.environment.gpu) if full else None,
    )


def _roofline(sides: Sides, gpu: str) -> Roofline | None:
    """Of a window whose test says operations and bytes, on a GPU whose peaks are known."""
    point, roofs = point_of(sides[0]), roofs_of(sides[0])
    if point is None or roofs is None:
        return None
    then = point_of(sides[1])
    words = roofline_words(point, then, roofs, gpu)
    return Roofline(roofline_svg(point, then, roofs, words), words)


def _window_title(name: str, *, is_body: bool) -> str:
    if name == MAIN:
        return "Test body"
    return f"Window: {name}" if is_body else f"Range: {name}"


def _is_same(part: Comparison, sides: Sides) -> bool:
    """Whether a gated metric is as it was in every round, so that there is nothing to show."""
    samples = {value for side in sides if side for value in side.values(part.metric.key)}
    return part.status == "ok" and part.baseline is not None and len(samples) == 1


def _unchanged(parts: Iterable[Comparison]) -> str:
    """Metrics that are as they were, with their values."""
    values = [f"{part.metric.key} {shown_amount(part.current, part.metric.unit)}" for part in parts]
    return f"The same in every round, then and now: {', '.join(values)}." if values else ""


def _transfers(sides: Sides) -> tuple[Transfer, ...]:
    """The copies by direction, of directions that have any."""
    found = []
    for key, name in _DIRECTIONS.items():
        counts, sizes, times = (
            tuple(side.get(f"memcpy.{key}.{what}") if side else None for side in reversed(sides))
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


def _judged(
    part: Comparison, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> bool:
    """Whether a metric is gated, or would be if there were something to compare it with."""
    gates = now.gates if now else "test"
    return part.gated or (then is None and default_tolerance(part.metric, gates) is not None)


def _metric(verdict: Verdict, part: Comparison, sides: Sides, *, drawn: bool) -> MetricRow:
    key, unit = part.metric.key, part.metric.unit
    now, then = (side.by_process(key) if side else () for side in sides)
    then = then if part.baseline is not None else ()
    return MetricRow(
        key=key,
        badge=BADGES[part.status],
        then=shown_amount(part.baseline, unit),
        then_range=_range(then, unit),
        now=shown_amount(part.current, unit),
        now_range=_range(now, unit),
        change=shown_change(part.baseline, part.current, unit),
        limit=format_limit(part) or NOTHING,
        note="" if part.note in verdict.notes else part.note or part.reason,
        strip=draw_strip(part, then, now) if drawn else None,
    )


def _range(samples: Samples, unit: Unit) -> str:
    values = [value for process in samples for value in process]
    ends = [shown_amount(end(values), unit) for end in (min, max) if values]
    return " to ".join(ends) if len(set(ends)) > 1 else ""
