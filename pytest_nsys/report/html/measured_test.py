"""One test on the HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.measure.measurement import Environment
from pytest_nsys.report.html.breakdowns import NOTHING, Row
from pytest_nsys.report.html.measured_window import window_of
from pytest_nsys.report.html.model import BADGES, Drawing, Stored, Test
from pytest_nsys.report.html.sentences import glance, plan, said_of_test
from pytest_nsys.report.html.timeline_svg import timeline_notes, timeline_svg
from pytest_nsys.report.json import compared
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import accept, headline, place, reproduce
from pytest_nsys.windows.record import MAIN

_SAME = "GPU, driver, versions and capture options are those of the baseline."


def test_of(verdict: Verdict, number: int, *, full: bool, most: int, stored: Stored | None) -> Test:
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
    said = said_of_test(verdict)
    repeated = headline(verdict)
    return Test(
        anchor=f"test-{number}",
        badge=BADGES[verdict.status],
        nodeid=verdict.nodeid,
        headline=said or glance(metrics),
        brief=not full,
        plan=plan(verdict) if full else "",
        notes=tuple(note for note in verdict.notes if repeated != f"{verdict.status}: {note}"),
        unmet=tuple((BADGES[d.status], place(d.window) + d.text) for d in verdict.unmet),
        windows=tuple(
            window_of(verdict, name, parts, alone, full) for name, parts in metrics.items()
        ),
        drawing=_drawing(verdict, f"test-{number}", most),
        bottlenecks=_bottlenecks(verdict) if full else (),
        open=verdict.failed,
        same_environment=_SAME if full and verdict.baseline and not verdict.against else "",
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
    where = "" if drawn == MAIN else f" of window {drawn}"
    return Drawing(
        svg=timeline_svg(now, then, ident=ident, most=most),
        notes=tuple(timeline_notes(now, then, most=most)),
        title=f"GPU timelines{where}, baseline above current" if then else f"GPU timeline{where}",
    )


def _bottlenecks(verdict: Verdict) -> tuple[Bottleneck, ...]:
    """Those of a window are named with it."""
    found = verdict.measurement.bottlenecks
    return tuple(replace(one, name=place(one.window or MAIN) + one.name) for one in found)


def described(environment: Environment) -> dict[str, str]:
    """Where a measurement was made, by what people call it."""
    return {
        "GPU": environment.gpu,
        "Driver": environment.driver,
        "CUDA": environment.cuda,
        "nsys": environment.nsys,
        **dict(sorted(environment.versions.items())),
        "Capture options": " ".join(environment.trace),
    }


def differences_of(verdict: Verdict) -> Iterator[Row]:
    """What was different when the baseline was recorded, apart from the code under test."""
    if verdict.baseline is None:
        return
    environments = verdict.measurement.environment, verdict.baseline.environment
    now, then = map(described, environments)
    for name in {**now, **then}:
        if now.get(name) != then.get(name):
            yield Row(name, then.get(name) or NOTHING, now.get(name) or NOTHING)
    if environments[0].is_elsewhere(environments[1]):
        new, old = (", ".join(one.gpu_digests) for one in environments)
        yield Row("Which GPU (digest of its UUID)", old, new)
