"""Trends as lines of text that fit an 80-column terminal."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_nsys.storage.history.changes import Drift, Shift
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.trend import TestTrends, Trend
from pytest_nsys.support.text import WIDTH, printable, wrapped
from pytest_nsys.support.units import format_amount, format_change, format_count, format_tolerance
from pytest_nsys.verdict.wording import place

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
_SHIFTS = 5
MISSING = "changes of level are not looked for where metrics are noisy"
REMEDY = "pip install 'pytest-nsys[history]'"


def history_lines(tests: Iterable[TestTrends], levels: str = BLOCKS) -> list[str]:
    """All tests, one after another.

    Args:
        tests: what to show.
        levels: the characters of the lines' diagrams, from low to high.
    """
    shown = list(tests)
    lines = [line for test in shown for line in (*_test_lines(test, levels), "")]
    if not all(trend.searched for test in shown for trend in test.trends):
        lines += [f"{MISSING}:", f"  {REMEDY}"]
    return lines


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
    earlier = len(trend.shifts) - _SHIFTS
    if earlier > 0:
        yield f"    {earlier} earlier changes"
    for shift in trend.shifts[-_SHIFTS:]:
        yield from wrapped(_shift_words(trend, shift), "    ", "      ")
    if trend.drift is not None:
        yield from wrapped(_drift_words(trend, trend.drift), "    ", "      ")


def _shift_words(trend: Trend, shift: Shift) -> str:
    then, now = trend.entries[shift.index - 1], trend.entries[shift.index]
    commit = f" ({now.short_commit})" if now.commit else ""
    change = format_change(shift.before, shift.after, trend.metric.unit)
    words = f"since {now.day}{commit}: {change}{_against(trend, shift.before, shift.after)}"
    other = ", ".join(_differences(then, now))
    return f"{words}; with it {other}" if other else words


def _drift_words(trend: Trend, slow: Drift) -> str:
    unit = trend.metric.unit
    step = format_change(slow.before, slow.before + slow.step, unit).lstrip("+")
    return (
        f"drifted {format_change(slow.before, slow.after, unit)} over {len(trend.values)} runs"
        f"{_against(trend, slow.before, slow.after)}; no single run moved by more than {step}"
    )


def _against(trend: Trend, before: float, after: float) -> str:
    tolerance = trend.tolerance
    if tolerance is None or not tolerance.limit(before):
        return ""
    side = "over" if trend.is_over(before, after) else "under"
    return f", {side} the tolerance of {format_tolerance(tolerance, trend.metric.unit)}"


def _differences(then: Entry, now: Entry) -> Iterator[str]:
    """What else changed from one run to the next."""
    both = [("nsys", then.nsys, now.nsys), ("driver", then.driver, now.driver)]
    both += [
        (name, then.versions.get(name, "none"), now.versions.get(name, "none"))
        for name in sorted({*then.versions, *now.versions})
    ]
    for name, before, after in both:
        if before != after:
            yield f"{printable(name)} {printable(before)} -> {printable(after)}"


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
