"""The waterfall of a window's kernel time as rows with bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pytest_nsys.measure.measurement import Part, WindowMeasurement
from pytest_nsys.report.html.breakdowns import (
    NOTHING,
    Row,
    renamed_kernels,
    retuned,
    short_names,
    shown_amount,
    shown_share,
)
from pytest_nsys.report.html.waterfall import Step, Waterfall, waterfall
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.verdict import Comparison

KERNEL_TIME = "gpu.kernel_time"
_WIDTH = 160


@dataclass(frozen=True)
class Bar:
    """One step of a waterfall as a row; the bar goes from ``x`` on, in pixels of the drawing.

    Attributes:
        row: its name, amounts and change.
        x: where the bar begins, from the left.
        width: how long it is.
        direction: "up" where it makes the total larger, else "down".
        zero: where no change is.
        level: "category", "kernel", "rest" or "total".
    """

    row: Row
    x: str
    width: str
    direction: str
    zero: str
    level: str


@dataclass(frozen=True)
class Cascade:
    """The change of kernel time by category and kernel: the steps add up to the total."""

    metric: str
    title: str
    open: bool
    width: int
    bars: tuple[Bar, ...]


def draw_cascade(
    parts: Iterable[Comparison], now: WindowMeasurement | None, then: WindowMeasurement | None
) -> Cascade | None:
    """Where the change of the window's kernel time comes from; None where nothing changed."""
    part = next((part for part in parts if part.metric.key == KERNEL_TIME), None)
    if part is None or part.baseline is None or part.current is None or not (now and then):
        return None
    found = contributions(part.metric, then, now)
    if not found:
        return None
    taken = waterfall(part.baseline, part.current, "ns", found, renamed_kernels(now, then))
    if not taken.total and not taken.groups:
        return None
    return Cascade(
        metric=part.metric.key,
        title=f"{shown_amount(part.baseline, 'ns')} -> {shown_amount(part.current, 'ns')}: "
        f"{taken.scale.signed(taken.total)}",
        open=part.status in ("regressed", "expected", "improved", "inconclusive"),
        width=_WIDTH,
        bars=tuple(_bars(taken, part)),
    )


def _bars(taken: Waterfall, part: Comparison) -> Iterator[Bar]:
    spans = [*_spans(taken)]
    low = min(0, *(min(start, end) for _, _, start, end in spans))
    high = max(0, *(max(start, end) for _, _, start, end in spans))
    unit = _WIDTH / max(high - low, 1)
    names = short_names([step.label for group in taken.groups for step in group.steps])

    def drawn(row: Row, level: str, start: int, end: int) -> Bar:
        x, width = (min(start, end) - low) * unit, max(abs(end - start) * unit, 1.0)
        zero = f"{-low * unit:.1f}"
        direction = "up" if end >= start else "down"
        return Bar(row, f"{min(x, _WIDTH - 1):.1f}", f"{width:.1f}", direction, zero, level)

    for level, what, start, end in spans:
        change = taken.scale.signed(end - start)
        share = shown_share(end - start, taken.total)
        if isinstance(what, Step):
            row = replace(_step(what, names[what.label]), change=change, count=share)
        elif level == "total":
            then, now = (shown_amount(value, "ns") for value in (part.baseline, part.current))
            row = Row("Total", then, now, change, share)
        else:
            row = Row(what, change=change, count=share)
        yield drawn(row, level, start, end)


def _spans(taken: Waterfall) -> Iterator[tuple[str, Step | str, int, int]]:
    """Level, what it is, and from where to where the running total goes."""
    at = 0
    for group in taken.groups:
        yield "category", group.category, at, at + group.change
        inside = at
        for step in group.steps:
            yield "kernel", step, inside, inside + step.change
            inside += step.change
        at += group.change
    if taken.rest:
        why = "differences of medians" if taken.unexplained else "rounding"
        yield "rest", why, at, at + taken.rest
    yield "total", "Total", 0, taken.total


def _step(step: Step, name: str) -> Row:
    several = step.then is None and step.now is None
    return Row(
        name,
        then="" if several else _amount_of(step.then),
        now="" if several else _amount_of(step.now),
        tag="" if several else _how(step),
        full=step.label if step.label != name else "",
        before=step.before,
    )


def _how(step: Step) -> str:
    if step.then is None or step.now is None:
        return "new" if step.then is None else "gone"
    return "renamed" if step.before else retuned(step.then, step.now)


def _amount_of(part: Part | None) -> str:
    if part is None:
        return NOTHING
    return f"{shown_amount(part.ns, 'ns')} ({shown_amount(part.count, '1')}x)"
