"""The windows of a test in which clients loaded a server: what people look for, and how it was
judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_nsys.catalogue import lookup
from pytest_nsys.report.figures import COLUMNS, STEP_COLUMNS
from pytest_nsys.report.html.model import BADGES, Served, ServedWindow
from pytest_nsys.report.html.shown import clients_first, shown_amount, shown_change
from pytest_nsys.report.run import compared, sides_of
from pytest_nsys.support.units import format_change
from pytest_nsys.verdict.rule import is_out_of_reach
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.verdict.wording import format_limit

_LEFT_OUT = ("steps", "step", "in flight")
"""Columns of steps that have no room on paper beside the changes of the others."""


def served_windows(verdict: Verdict) -> tuple[ServedWindow, ...]:
    """The windows in which clients loaded a server, with the metrics that people look for first,
    and further ones that are gated and in one of them not as they should be.
    """
    found = _served_windows(verdict)
    heads = {column.keys[0]: column.head for column in clients_first(COLUMNS["server"])}
    for part in (part for several in found.values() for part in several if part.gated):
        if SEVERITY[part.status] >= SEVERITY["inconclusive"]:
            heads.setdefault(part.metric.key, part.metric.key)
    return tuple(_window(verdict, name, several, heads) for name, several in found.items())


def stepped_windows(verdict: Verdict) -> tuple[ServedWindow, ...]:
    """Those of them in which steps of the engine were found, with what is known of these."""
    found = _served_windows(verdict)
    sides = {name: [side for side in sides_of(verdict, name) if side] for name in found}
    known = {name: {key for side in sides[name] for key in side.samples} for name in found}
    heads = {column.keys[0]: column.head for column in STEP_COLUMNS if column.head not in _LEFT_OUT}
    return tuple(
        _window(verdict, name, several, heads)
        for name, several in found.items()
        if STEP_COLUMNS[0].keys[0] in known[name]
    )


def _served_windows(verdict: Verdict) -> Mapping[str, Sequence[Comparison]]:
    windows = verdict.measurement.windows.items()
    parts = compared(verdict)
    return {name: parts[name] for name, window in windows if window.gates == "server"}


def _window(
    verdict: Verdict, name: str, parts: Sequence[Comparison], heads: Mapping[str, str]
) -> ServedWindow:
    by_key = {part.metric.key: part for part in parts}
    gated = [part.status for part in parts if part.gated]
    worst = max(gated, key=SEVERITY.__getitem__, default=verdict.status)
    return ServedWindow(
        name=name,
        badge=BADGES[worst],
        metrics=tuple(
            _served(head, by_key[key] if key in by_key else _ungated(verdict, name, key))
            for key, head in heads.items()
        ),
    )


def _ungated(verdict: Verdict, name: str, key: str) -> Comparison:
    """A metric that nothing was compared of: what is derived, where there is no baseline."""
    now, then = (side.get(key) if side else None for side in sides_of(verdict, name))
    return Comparison(name, lookup(key), "ok", False, then, now)


def _served(head: str, part: Comparison) -> Served:
    unit = part.metric.unit
    return Served(
        head=head,
        now=shown_amount(part.current, unit),
        then="" if part.baseline is None else shown_amount(part.baseline, unit),
        change="" if part.baseline is None else shown_change(part.baseline, part.current, unit),
        badge=BADGES[part.status] if part.gated else None,
        judged=tuple(_judged(part)),
    )


def _judged(part: Comparison) -> Iterator[str]:
    limit = format_limit(part)
    if limit:
        yield f"limit {limit}"
    if part.noise is not None and part.baseline is not None and limit:
        yield f"noise {_distance(part, part.noise)}"
    if part.status == "inconclusive" and part.detectable is not None:
        unseen = is_out_of_reach(part.metric, part.baseline or 0.0, part.detectable)
        yield "no fall is seen" if unseen else f"seen from {_distance(part, part.detectable)} on"


def _distance(part: Comparison, distance: float) -> str:
    then = part.baseline or 0.0
    return format_change(then, then + distance, part.metric.unit).lstrip("+")
