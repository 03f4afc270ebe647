"""Processes of one test put together: what several worker processes measured as one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from pytest_nsys.measure.measurement import (
    Measurement,
    Part,
    Parts,
    WindowMeasurement,
    largest_first,
)


def join_processes(measurements: Sequence[Measurement]) -> Measurement:
    """All processes as one measurement, in their order; plan, environment, timeline of the first.

    Samples stand side by side. A breakdown's line has the median of the processes, in which a
    process without it counts as none; a line that most processes lack is kept, because the test may
    forbid it.
    """
    first = measurements[0]
    if len(measurements) == 1:
        return first
    names = dict.fromkeys(name for one in measurements for name in one.windows)
    return replace(
        first,
        windows={
            name: _join_windows([one.windows[name] for one in measurements if name in one.windows])
            for name in names
        },
        remarks=tuple(dict.fromkeys(text for one in measurements for text in one.remarks)),
        leftovers="; ".join(dict.fromkeys(one.leftovers for one in measurements if one.leftovers)),
        warnings=tuple(dict.fromkeys(text for one in measurements for text in one.warnings)),
    )


def join_captures(measurements: Sequence[Measurement]) -> Measurement:
    """One measurement of one process whose windows lie in several captures; the first one's plan
    and environment."""
    first = measurements[0]
    if len(measurements) == 1:
        return first
    return replace(
        first,
        windows={name: window for one in measurements for name, window in one.windows.items()},
        remarks=tuple(dict.fromkeys(text for one in measurements for text in one.remarks)),
        leftovers="; ".join(dict.fromkeys(one.leftovers for one in measurements if one.leftovers)),
        warnings=tuple(dict.fromkeys(text for one in measurements for text in one.warnings)),
        bottlenecks=tuple(found for one in measurements for found in one.bottlenecks),
        timeline=next((one.timeline for one in measurements if one.timeline is not None), None),
    )


def _join_windows(windows: Sequence[WindowMeasurement]) -> WindowMeasurement:
    keys = dict.fromkeys(key for window in windows for key in window.samples)
    units = dict.fromkeys(unit for window in windows for unit in window.units)
    kinds = dict.fromkeys(kind for window in windows for kind in window.breakdown)
    return WindowMeasurement(
        name=windows[0].name,
        samples={
            key: tuple(process for window in windows for process in window.samples.get(key, ()))
            for key in keys
        },
        units={
            unit: statistics.median(w.units[unit] for w in windows if unit in w.units)
            for unit in units
        },
        breakdown={
            kind: _join_parts([window.breakdown.get(kind, Parts()) for window in windows])
            for kind in kinds
        },
    )


def _join_parts(breakdowns: Sequence[Parts]) -> Parts:
    by_label: dict[str, list[Part]] = {}
    for parts in breakdowns:
        for part in parts:
            by_label.setdefault(part.label, []).append(part)
    absent = {label: [0.0] * (len(breakdowns) - len(p)) for label, p in by_label.items()}
    joined = [
        Part(
            label,
            count=statistics.median([*(part.count for part in parts), *absent[label]]),
            ns=statistics.median([*(part.ns for part in parts), *absent[label]]),
            bytes=statistics.median([*(part.bytes for part in parts), *absent[label]]),
            category=parts[0].category,
            raw=tuple(dict.fromkeys(name for part in parts for name in part.raw)),
        )
        for label, parts in by_label.items()
    ]
    return Parts(tuple(sorted(joined, key=largest_first)))
