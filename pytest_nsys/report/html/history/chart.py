"""A metric over the runs as a drawing: few paths, so that a page may have thousands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from pytest_nsys.report.html.history.model import Chart, Mark
from pytest_nsys.storage.history.overview import run_key
from pytest_nsys.storage.history.text import against, between, differences_words, drift_words
from pytest_nsys.storage.history.trend import Trend
from pytest_nsys.support.units import Scale, format_amount, format_change, format_count
from pytest_nsys.verdict.wording import place

HEIGHT = 1000
_PAD = 50
"""Free above and below, unless a value is beyond."""

_REACH = 4.0
_BAND = 2.0
"""Standard deviations: what a chart has room for about its levels, and what noise explains."""

Slots = Mapping[tuple[datetime, str], int]
"""The number of each run of the page."""


def draw_chart(trend: Trend, slots: Slots, ends: tuple[str, ...], most: int | None) -> Chart | None:
    """The chart; None where nothing can be drawn.

    It is at least as high as the tolerance, so that noise below it looks as small as it is.

    Args:
        trend: the metric.
        slots: the number of each run on the page; runs that are not in it are not drawn.
        ends: days of the first and the last.
        most: how many of the values to draw, those that stick out first; None for all.
    """
    low, high = _edges(trend)
    span = high - low
    drawn = [slots.get(run_key(entry), -1) for entry in trend.entries]
    if not span or not math.isfinite(span) or max(drawn) < 0:
        return None

    def down(value: float) -> int:
        share = (high - value) / span
        return round(min(max(_PAD + share * (HEIGHT - 2 * _PAD), 0), HEIGHT))

    shown = _standing_out(trend.values, drawn, most)
    places = [(drawn[index], down(trend.values[index])) for index in shown]
    unit, margin = trend.metric.unit, span * _PAD / (HEIGHT - 2 * _PAD)
    scale = Scale.of(trend.values[-1], unit, ())
    return Chart(
        name=name_of(trend),
        words=_from_to(trend),
        text=_in_words(trend),
        width=max(max(slots.values()), 1),
        line=_steps(places),
        band="".join(_bands(trend, drawn, down)),
        levels="".join(
            f"M{max(drawn[level.start], 0)} {down(level.median)}H{drawn[level.end - 1]}"
            for level in trend.levels
            if drawn[level.end - 1] >= 0
        ),
        slope=_slope(trend, drawn, down),
        far="".join(f"M{x} {y}v{_PAD if y == 0 else -_PAD}" for x, y in places if y in (0, HEIGHT)),
        marks=tuple(
            Mark(
                drawn[shift.index],
                "worse" if trend.is_worse(shift.before, shift.after) else "better",
                change_words(trend, number),
            )
            for number, shift in enumerate(trend.shifts)
            if drawn[shift.index] >= 0
        ),
        high=format_amount(high, unit),
        low=format_amount(low, unit),
        high_value=f"{high + margin:.8g}",
        low_value=f"{low - margin:.8g}",
        factor=f"{scale.factor:g}",
        unit=scale.unit,
        ends=ends,
    )


def _from_to(trend: Trend) -> str:
    """From which level to which it went; of a steady one where it is, and two deviations."""
    unit, levels = trend.metric.unit, trend.levels
    before, after = levels[0].median, levels[-1].median
    if trend.drift is not None:
        before, after = trend.drift.before, trend.drift.after
    if before == after:
        scatter = format_change(before, before + _BAND * trend.noise, unit).lstrip("+=")
        return format_amount(before, unit) + (f" \N{PLUS-MINUS SIGN} {scatter}" if scatter else "")
    amounts = [format_amount(value, unit) for value in (before, after)]
    return f"{amounts[0]} \N{RIGHTWARDS ARROW} {amounts[1]} ({format_change(before, after, unit)})"


def name_of(trend: Trend) -> str:
    """Window and metric."""
    return place(trend.window) + trend.metric.key


def change_words(trend: Trend, number: int) -> str:
    """A change of level in a sentence: how far, between which runs, and what came with it."""
    shift = trend.shifts[number]
    change = format_change(shift.before, shift.after, trend.metric.unit)
    then, now = trend.entries[shift.index - 1], trend.entries[shift.index]
    words = f"{change}{against(trend, shift.before, shift.after)}, {between(then, now)}"
    other = trend.changed_with(shift)
    return f"{words}, with {differences_words(other)}" if other else words


def _edges(trend: Trend) -> tuple[float, float]:
    """The lowest and the highest value that the chart has room for."""
    medians = [level.median for level in trend.levels]
    if trend.drift is not None:
        medians += [trend.drift.before, trend.drift.after]
    low, high = min(medians), max(medians)
    smallest, largest = min(trend.values), max(trend.values)
    limit = trend.tolerance.limit(high) if trend.tolerance else 0.0
    reach = max(_REACH * trend.noise, limit)
    low, high = low - reach, high + reach
    if smallest >= 0:
        low = max(low, 0.0)
    span = high - low  # outliers may take as much again on either side
    low, high = min(low, max(smallest, low - span)), max(high, min(largest, high + span))
    return (low, high) if low < high else (smallest, largest)


def _standing_out(values: Sequence[float], drawn: Sequence[int], most: int | None) -> list[int]:
    """The indices of the values to draw, in order; of neighbours the smallest and the largest."""
    there = [index for index, slot in enumerate(drawn) if slot >= 0]
    if most is None or len(there) <= most:
        return there
    parts = max(1, most // 2)
    edges = [len(there) * part // parts for part in range(parts + 1)]
    found = set()
    for start, end in itertools.pairwise(edges):
        part = there[start:end]
        found |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return sorted({there[0], *found, there[-1]})


def _steps(places: Sequence[tuple[int, int]]) -> str:
    """The path from place to place, as short as it can be written."""
    if len(places) == 1:
        return "m{} {}h0".format(*places[0])
    steps = [
        f"{to_x - x}{'' if to_y < y else ' '}{to_y - y}"
        for (x, y), (to_x, to_y) in itertools.pairwise(places)
    ]
    return f"m{places[0][0]} {places[0][1]} " + " ".join(steps)


def _bands(trend: Trend, drawn: Sequence[int], down: Callable[[float], int]) -> Iterator[str]:
    reach = _BAND * trend.noise
    slow = trend.drift
    if not reach:
        return
    pieces = [(one.start, one.end - 1, one.median, one.median) for one in trend.levels]
    if slow is not None and not trend.shifts:
        pieces = [(0, len(trend.values) - 1, slow.before, slow.after)]
    for start, end, before, after in pieces:
        left, right = max(drawn[start], 0), drawn[end]
        if right > left:
            yield (
                f"M{left} {down(before + reach)}L{right} {down(after + reach)}"
                f"V{down(after - reach)}L{left} {down(before - reach)}z"
            )


def _slope(trend: Trend, drawn: Sequence[int], down: Callable[[float], int]) -> str:
    slow = trend.drift
    if slow is None or drawn[-1] < 0:
        return ""
    return f"M{max(drawn[0], 0)} {down(slow.before)}L{drawn[-1]} {down(slow.after)}"


def _in_words(trend: Trend) -> str:
    unit, values = trend.metric.unit, trend.values
    ends = [format_amount(end(values), unit) for end in (min, max)]
    said = [f"{name_of(trend)}: {format_count(len(values), 'run')}, {ends[0]} to {ends[1]}"]
    if trend.drift is not None:
        said.append(drift_words(trend, trend.drift))
    said += [change_words(trend, number) for number in range(len(trend.shifts))][-3:]
    if not trend.drift and not trend.shifts:
        said.append("no change of level")
    return "; ".join(said)
