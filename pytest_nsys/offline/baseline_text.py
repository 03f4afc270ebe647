"""A baseline as a page of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_nsys.catalogue import Breakdown, default_gates, lookup, plain_metrics
from pytest_nsys.measure.measurement import (
    Measurement,
    Part,
    WindowMeasurement,
    process_medians,
)
from pytest_nsys.support.text import table, visible, wrapped
from pytest_nsys.support.units import format_amount, format_count
from pytest_nsys.verdict.wording import shorten
from pytest_nsys.windows.record import MAIN

_PARTS = 10
_KINDS: tuple[Breakdown, ...] = ("kernels", "copies", "memsets", "calls")


def baseline_lines(measurement: Measurement, path: Path | None = None) -> Iterator[str]:
    """What a baseline holds: what it was measured with, its metrics, and what a round is made of.

    Metrics that are gated where nobody names them come first, in every window.
    """
    environment = measurement.environment
    yield str(visible(measurement.nodeid))
    if path is not None:
        yield f"  {path}"
    made = [environment.gpu or "no GPU", f"nsys {environment.nsys}", f"driver {environment.driver}"]
    made += [f"{name} {version}" for name, version in environment.versions.items()]
    made += [f"commit {environment.commit}"]
    made = [environment.date, *(one for one in made if one.split()[1:])]
    yield from wrapped(", ".join(map(visible, filter(None, made))), "  ", "  ")
    plan = f"{_several(measurement.processes, 'process', 'processes')} of "
    plan += (
        f"{_several(measurement.rounds, 'round', 'rounds')}, after {measurement.warmup} to warm up"
    )
    yield from wrapped(f"{plan}; {' '.join(map(visible, environment.trace))}", "  ", "    ")
    windows = sorted(measurement.windows.values(), key=lambda window: window.name != MAIN)
    for window in windows:
        yield ""
        units = ", ".join(format_count(count, name) for name, count in window.units.items())
        title = "the test's body" if window.name == MAIN else f"window {window.name!r}"
        yield f"{visible(title)}{f' ({units} a round)' if units else ''}:"
        yield from _metrics(window)
        for kind in _KINDS:
            yield from _parts(window, kind)


def _several(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _metrics(window: WindowMeasurement) -> Iterator[str]:
    gated = [metric.key for metric in default_gates(window.gates)]
    known = [*gated, *(metric.key for metric in plain_metrics()), *window.samples]
    keys = [key for key in dict.fromkeys(known) if any(window.values(key))]
    rows = [("metric", "median", "by process")]
    for key in keys:
        unit = lookup(key).unit
        medians = process_medians(window.by_process(key))
        shown = dict.fromkeys(format_amount(median, unit) for median in medians)
        rows.append((key, format_amount(window[key], unit), ", ".join(shown)))
    yield from table(rows)


def _parts(window: WindowMeasurement, kind: Breakdown) -> Iterator[str]:
    parts = window.breakdown.get(kind)
    if not parts:
        return
    yield f"  {kind}:"
    for part in parts.parts[:_PARTS]:
        yield f"    {_part(part)}"
    if len(parts) > _PARTS:
        yield f"    and {len(parts) - _PARTS} more"


def _part(part: Part) -> str:
    size = f", {format_amount(part.bytes, 'B')}" if part.bytes else ""
    return f"{part.count:g}x {visible(shorten(part.label))}, {format_amount(part.ns, 'ns')}{size}"
