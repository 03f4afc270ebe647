"""Trends: the runs of a test, metric by metric, and what is to be said of them."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_nsys.catalogue import Metric, is_gated, lookup
from pytest_nsys.errors import HistoryError, UnknownMetric
from pytest_nsys.storage.history.changes import (
    Drift,
    Shift,
    drift,
    finds_shifts,
    needs_library,
    noise,
    shifts,
    too_few,
)
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.store import Series
from pytest_nsys.support.patterns import matches
from pytest_nsys.support.text import suggest
from pytest_nsys.support.units import Tolerance

_LEAST = 0.1
"""Changes smaller than this part of the tolerance are not worth a line."""

State = Literal["drifted", "worse", "better", "new", "steady"]
"""What is to be said of a metric or a test first: that it drifted for the worse, or which way its
newest change of level, or else its drift, went; that it has too few runs to tell; or that it is
steady."""

STATES: tuple[State, ...] = ("drifted", "worse", "better", "new", "steady")
"""The gravest first."""

QUIET: tuple[State, ...] = ("new", "steady")
"""Those that nothing happened in, so far as can be told."""


@dataclass(frozen=True)
class Difference:
    """A version that is another one than before; "none" where there is none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Level:
    """Runs between two changes of level.

    Attributes:
        start: the first run.
        end: the run after the last one.
        median: of the runs.
    """

    start: int
    end: int
    median: float


@dataclass(frozen=True)
class Trend:
    """One metric of one window of one test over its runs, the oldest first.

    Attributes:
        window: name of the window.
        metric: what was measured.
        tolerance: what the gate allows; None where it allows anything.
        entries: the runs that have the metric; at least one.
        values: the medians of these runs.
        shifts: changes of level.
        drift: a change in many small steps.
        noise: standard deviation of the runs around their level, in the metric's unit.
        searched: whether changes of level were looked for: that takes a library where a series is
            noisy.
    """

    window: str
    metric: Metric
    tolerance: Tolerance | None
    entries: tuple[Entry, ...]
    values: tuple[float, ...]
    shifts: tuple[Shift, ...] = ()
    drift: Drift | None = None
    noise: float = 0.0
    searched: bool = True

    @property
    def state(self) -> State:
        """What is to be said of it first."""
        newest: Shift | Drift | None = self.drift
        if newest is not None and self.is_worse(newest.before, newest.after):
            return "drifted"
        if self.shifts:
            newest = self.shifts[-1]
        if newest is None:
            return "new" if too_few(self.values) else "steady"
        return "worse" if self.is_worse(newest.before, newest.after) else "better"

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that the changes part, the oldest first; at least one."""
        edges = [0, *(shift.index for shift in self.shifts), len(self.values)]
        return tuple(
            Level(start, end, statistics.median(self.values[start:end]))
            for start, end in itertools.pairwise(edges)
        )

    def changed_with(self, shift: Shift) -> tuple[Difference, ...]:
        """The versions that changed with a level."""
        return differences(self.entries[shift.index - 1], self.entries[shift.index])

    @property
    def is_constant(self) -> bool:
        """Whether every run found the same."""
        return min(self.values) == max(self.values)

    def is_over(self, before: float, after: float) -> bool:
        """Whether a change is larger than the tolerance."""
        return self.tolerance is not None and abs(after - before) > self.tolerance.limit(before)

    def is_worse(self, before: float, after: float) -> bool:
        """Whether a change is one for the worse."""
        return after > before if self.metric.worse == "up" else after < before

    @property
    def got_worse(self) -> bool:
        """Whether a change of level is for the worse, or a drift for the worse over the
        tolerance."""
        slow = self.drift
        return any(self.is_worse(shift.before, shift.after) for shift in self.shifts) or (
            slow is not None
            and self.is_worse(slow.before, slow.after)
            and self.is_over(slow.before, slow.after)
        )


@dataclass(frozen=True)
class TestTrends:
    """The trends of one test on one device."""

    __test__ = False  # no test, whatever pytest thinks of the name

    nodeid: str
    device: str
    entries: tuple[Entry, ...]
    trends: tuple[Trend, ...]

    @property
    def state(self) -> State:
        """The gravest of its metrics."""
        return min((trend.state for trend in self.trends), key=STATES.index, default="steady")


def differences(then: Entry, now: Entry) -> tuple[Difference, ...]:
    """The versions that are other ones in the second of two runs."""
    both = [("nsys", then.nsys, now.nsys), ("driver", then.driver, now.driver)]
    both += [
        (name, then.versions.get(name, ""), now.versions.get(name, ""))
        for name in sorted({*then.versions, *now.versions})
    ]
    return tuple(
        Difference(name, before or "none", after or "none")
        for name, before, after in both
        if before != after
    )


def select(series: Iterable[Series], pattern: str = "*") -> tuple[Series, ...]:
    """The tests whose node id contains what the pattern describes.

    Raises:
        HistoryError: there is none; the nearest is suggested.
    """
    every = list(series)
    found = tuple(one for one in every if matches(f"*{pattern}*", one.nodeid))
    if not found:
        raise HistoryError(
            f"no test of this history matches {pattern!r:.200}",
            remedy=suggest(pattern, sorted({one.nodeid for one in every})[:20]),
        )
    return found


def trends_of(
    series: Iterable[Series],
    *,
    metrics: Sequence[str] = (),
    last: int | None = None,
    tolerance: Mapping[str, Tolerance] | None = None,
) -> tuple[TestTrends, ...]:
    """The trends of every test.

    Args:
        series: at least one.
        metrics: patterns of the metrics; without any, those that are gated by default.
        last: how many of the newest runs count; all where it is None.
        tolerance: by metric key, in the place of the default; ``*`` is that of every timed metric.

    Raises:
        HistoryError: no test has such a metric.
    """
    wanted = list(series)
    keys = {key for one in wanted for entry in one.entries for key in _keys(entry)}
    for pattern in metrics:
        if not any(matches(pattern, key) for key in keys):
            raise HistoryError(
                f"no run of this history measured {pattern!r:.200}",
                remedy=suggest(pattern, sorted(keys)),
            )
    found = []
    for one in wanted:
        entries = one.entries[-last:] if last else one.entries
        places = dict.fromkeys(place for entry in entries for place in _places(entry))
        trends = [
            _trend(window, metric, entries, tolerance or {})
            for window, key in places
            for metric in [_metric_of(key)]
            if (any(matches(p, key) for p in metrics) if metrics else is_gated(metric))
        ]
        found.append(TestTrends(one.nodeid, one.device, entries, tuple(trends)))
    return tuple(found)


def _keys(entry: Entry) -> Iterable[str]:
    return (key for metrics in entry.windows.values() for key in metrics)


def _places(entry: Entry) -> Iterable[tuple[str, str]]:
    return ((name, key) for name, metrics in entry.windows.items() for key in metrics)


def _metric_of(key: str) -> Metric:
    """The metric; of one that a project added itself, only the key is known here."""
    try:
        return lookup(key)
    except UnknownMetric:
        return Metric(key, "1", "timed", "a metric of the project's own")


def _trend(
    window: str, metric: Metric, entries: Sequence[Entry], tolerances: Mapping[str, Tolerance]
) -> Trend:
    having = [entry for entry in entries if metric.key in entry.windows.get(window, {})]
    values = tuple(entry.windows[window][metric.key][0] for entry in having)
    tolerance = tolerances.get(metric.key, metric.tolerance)
    if metric.kind == "timed" and metric.key not in tolerances:
        tolerance = tolerances.get("*", tolerance)
    found = shifts(values)
    slow = drift(values, found)
    return Trend(
        window,
        metric,
        tolerance,
        tuple(having),
        values,
        tuple(_likeliest(one, having) for one in found if _is_notable(one, tolerance)),
        slow if slow is not None and _is_notable(slow, tolerance) else None,
        noise(values),
        searched=finds_shifts() or not needs_library(values),
    )


def _likeliest(shift: Shift, entries: Sequence[Entry]) -> Shift:
    """The change at the run whose versions changed, if noise lets it be that one: the nearest."""
    changed = [
        index
        for index in range(shift.earliest, shift.latest + 1)
        if differences(entries[index - 1], entries[index])
    ]
    return replace(
        shift, index=min(changed, key=lambda at: abs(at - shift.index), default=shift.index)
    )


def _is_notable(change: Shift | Drift, tolerance: Tolerance | None) -> bool:
    least = _LEAST * tolerance.limit(change.before) if tolerance else 0.0
    return abs(change.after - change.before) > least
