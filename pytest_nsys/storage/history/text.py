"""Trends as lines of text that fit an 80-column terminal."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_nsys.storage.history.changes import Drift, Shift
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.overview import Changed, Event, Overview, overview, run_key
from pytest_nsys.storage.history.trend import QUIET, STATES, Difference, State, TestTrends, Trend
from pytest_nsys.support.text import WIDTH, printable, wrapped
from pytest_nsys.support.units import format_amount, format_change, format_count, format_tolerance
from pytest_nsys.verdict.wording import place

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
_SHIFTS = 5
_NAMED = 5
_FULL = 20
"""Of a history of more tests those that are quiet have a line each."""

_BRIEF: Mapping[State, str] = {
    "new": "New, with too few runs to tell a change from noise",
    "steady": "Steady",
}
_SMALL = 16
MISSING = "changes of level are not looked for where metrics are noisy"
REMEDY = "pip install 'pytest-nsys[history]'"


def history_lines(tests: Iterable[TestTrends], levels: str = BLOCKS) -> list[str]:
    """What drifted and what changed in all tests; then the tests, the gravest first.

    Args:
        tests: what to show.
        levels: the characters of the lines' diagrams, from low to high.
    """
    whole = overview(tests)
    shown = whole.tests
    lines = [*_overview_lines(whole)] if len(shown) > 1 else []
    brief = [test for test in shown if test.state in QUIET] if len(shown) > _FULL else []
    for test in shown[: len(shown) - len(brief)]:
        lines += [*_test_lines(test, levels), ""]
    for state, title in _BRIEF.items():
        alike = [test for test in brief if test.state == state]
        if alike:
            lines += [*_brief_lines(title, alike, levels), ""]
    if not all(trend.searched for test in shown for trend in test.trends):
        return [*lines, f"{MISSING}:", f"  {REMEDY}"]
    return lines[:-1]  # the last test's empty line


def _overview_lines(whole: Overview) -> Iterator[str]:
    entries = [entry for test in whole.tests for entry in test.entries]
    days = sorted({entry.day for entry in entries})
    runs = len({run_key(entry) for entry in entries})
    tests = len({test.nodeid for test in whole.tests})
    devices = len({test.device for test in whole.tests})
    on = f" on {devices} devices" if devices > 1 else ""
    yield from wrapped(
        f"{format_count(tests, 'test')}{on}, {format_count(runs, 'run')}, "
        f"{' to '.join(dict.fromkeys((days[0], days[-1])))}: "
        + ", ".join(f"{whole.counts[state]} {state}" for state in STATES if whole.counts[state]),
        "",
        "  ",
    )
    gone = list(dict.fromkeys(printable(nodeid) for nodeid, _ in whole.gone))
    if gone:
        more = ", ..." if len(gone) > _NAMED else ""
        names = ", ".join(gone[:_NAMED])
        yield from wrapped(f"Not measured any more ({len(gone)}): {names}{more}", "", "  ")
    yield ""
    if whole.drifts:
        yield "Drifted for the worse, the largest part of a tolerance first:"
        for one in whole.drifts:
            if one.trend.drift is not None:
                yield from wrapped(_whose(one.test, devices > 1), "  ", "    ")
                words = drift_words(one.trend, one.trend.drift)
                yield from wrapped(f"{_name(one.trend)} {words}", "    ", "      ")
        yield ""
    large = [event for event in whole.events if not event.is_small]
    if large:
        yield "Changes of level over a tolerance, the newest first:"
        for event in large:
            yield from _event_lines(event, devices > 1)
        yield ""


def _event_lines(event: Event, named: bool) -> Iterator[str]:
    other = f": {differences_words(event.differences)}" if event.differences else ""
    yield from wrapped(f"{between(event.then, event.now)}{other}", "  ", "    ")
    for change in event.changes[:_NAMED]:
        yield from wrapped(
            f"{_changed_words(change)} {_whose(change.test, named)}", "    ", "      "
        )
    more = event.changes[_NAMED:]
    if more:
        worse = sum(change.is_worse for change in more)
        yield f"    and {len(more)} more, {worse} of them for the worse"


def _changed_words(change: Changed) -> str:
    trend, shift = change.trend, change.shift
    way = "worse" if change.is_worse else "better"
    return f"{way}: {_name(trend)} {format_change(shift.before, shift.after, trend.metric.unit)}"


def _whose(test: TestTrends, named: bool) -> str:
    """The test, and where there are several its device."""
    return printable(f"{test.nodeid} ({test.device})" if named else test.nodeid)


def between(then: Entry, now: Entry) -> str:
    """The two runs between which something changed: their days and commits."""
    if then.commit or now.commit:
        ends = [f"{one.short_commit or 'no commit'} ({one.day})" for one in (then, now)]
    else:
        ends = [one.date.strftime("%Y-%m-%d %H:%M") for one in (then, now)]
    return f"between {ends[0]} and {ends[1]}"


def differences_words(found: Sequence[Difference]) -> str:
    """The versions that changed: ``driver 570.1 -> 580.2``."""
    return ", ".join(printable(f"{one.name} {one.before} -> {one.after}") for one in found)


def _brief_lines(title: str, tests: Sequence[TestTrends], levels: str) -> Iterator[str]:
    named = len({test.device for test in tests}) > 1
    yield f"{title} (name one to see all of it):"
    for test in tests:
        trend = next((one for one in test.trends if not one.is_constant), None)
        drawn = sparkline(trend.values, _SMALL, levels) if trend else ""
        yield from wrapped(f"{drawn:{_SMALL}} {_whose(test, named)}", "  ", " " * (_SMALL + 3))


def _test_lines(test: TestTrends, levels: str) -> Iterator[str]:
    yield printable(test.nodeid)
    statuses = Counter(entry.status for entry in test.entries)
    counted = ", ".join(f"{count} {printable(name)}" for name, count in statuses.most_common())
    days = dict.fromkeys((test.entries[0].day, test.entries[-1].day))
    runs = format_count(len(test.entries), "run")
    yield from wrapped(
        f"{printable(test.device)}, {runs}, {' to '.join(days)}: {counted}", "  ", "    "
    )
    for trend in test.trends:
        if not trend.is_constant:
            yield from _trend_lines(trend, levels)
    constant = [trend for trend in test.trends if trend.is_constant and trend.values[0]]
    if constant:
        names = [f"{_name(one)} {_amount(one, one.values[0])}" for one in constant]
        yield from wrapped("the same in every run: " + ", ".join(names), "  ", "    ")


def _trend_lines(trend: Trend, levels: str) -> Iterator[str]:
    values = trend.values
    first, last = values[0], values[-1]
    low, high = min(values), max(values)
    yield from wrapped(
        f"{_name(trend)} {_amount(trend, first)} -> {_amount(trend, last)} "
        f"({format_change(first, last, trend.metric.unit)}), "
        f"min {_amount(trend, low)}, max {_amount(trend, high)}",
        "  ",
        "    ",
    )
    yield "    " + sparkline(values, WIDTH - 4, levels)
    if trend.drift is not None:
        yield from wrapped(drift_words(trend, trend.drift), "    ", "      ")
    earlier = len(trend.shifts) - _SHIFTS
    if earlier > 0:
        yield f"    {earlier} earlier changes"
    for shift in trend.shifts[-_SHIFTS:]:
        yield from wrapped(_shift_words(trend, shift), "    ", "      ")


def _shift_words(trend: Trend, shift: Shift) -> str:
    now = trend.entries[shift.index]
    commit = f" ({now.short_commit})" if now.commit else ""
    change = format_change(shift.before, shift.after, trend.metric.unit)
    words = f"since {now.day}{commit}: {change}{against(trend, shift.before, shift.after)}"
    other = trend.changed_with(shift)
    if other:
        return f"{words}; with it {differences_words(other)}"
    if shift.earliest < shift.latest:
        then, last = trend.entries[shift.earliest - 1], trend.entries[shift.latest]
        return f"{words}; {between(then, last)}, by the noise"
    return words


def drift_words(trend: Trend, slow: Drift) -> str:
    """How far a metric drifted, against its tolerance, and why no single run showed it."""
    unit = trend.metric.unit
    moved, before = abs(slow.after - slow.before), slow.before
    words = (
        f"drifted {format_change(before, slow.after, unit)} over {len(trend.values)} runs"
        f"{against(trend, before, slow.after)}"
    )
    if slow.step < moved / 2:
        step = format_change(before, before + slow.step, unit).lstrip("+")
        return f"{words}; no single run moved by more than {step}"
    scatter = format_change(before, before + trend.noise, unit).lstrip("+")
    return f"{words}; runs scatter by {scatter}"


def against(trend: Trend, before: float, after: float) -> str:
    """A change beside the tolerance, as the end of a sentence; "" where there is none."""
    tolerance = trend.tolerance
    if tolerance is None or not tolerance.limit(before):
        return ""
    side = "over" if trend.is_over(before, after) else "under"
    return f", {side} the tolerance of {format_tolerance(tolerance, trend.metric.unit)}"


def _name(trend: Trend) -> str:
    return printable(f"{place(trend.window)}{trend.metric.key}")


def _amount(trend: Trend, value: float) -> str:
    return format_amount(value, trend.metric.unit)


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """One character per value, from the smallest to the largest; of more than ``width`` values
    the median of neighbours.

    Args:
        values: any finite numbers, at least one.
        width: the most characters.
        levels: the characters, from low to high.
    """
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    shown = [statistics.median(values[start:end]) for start, end in itertools.pairwise(edges)]
    low, high = min(shown), max(shown)
    if low == high:
        return levels[0] * count
    top = len(levels) - 1
    return "".join(levels[round((value - low) / (high - low) * top)] for value in shown)


def levels_for(encoding: str | None) -> str:
    """The characters that a terminal of this encoding has."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return BLOCKS
