"""The samples of a metric as a drawing: a mark per round, the baseline's above the current ones.

Processes are rows, rounds are marks: ticks for the baseline, dots for the current run. The band is
what may change without failing, about the baseline's median; the inner one is the standard error
of the change. Below is the axis, in the metric's unit. Rounds that fall on the same pixel are drawn
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise, starmap

from pytest_nsys.measure.measurement import Samples
from pytest_nsys.report.html.model import Band, Strip, Tick
from pytest_nsys.support.units import Scale, Unit, format_amount, format_count
from pytest_nsys.verdict.verdict import Comparison

WIDTH = 190
_MARGIN = 5.0
_PITCH = 11.0
_MOST_HEIGHT = 100.0
_AXIS = 15
_MOST_TICKS = (4, 3, 2, 1)
_CHARACTER = 6.0
_SIDE = 24.0
_RIGHT_OF = {"start": 1.0, "middle": 0.5, "end": 0.0}


def draw_strip(part: Comparison, then: Samples, now: Samples) -> Strip | None:
    """The samples of a comparison; None where all of them are the same, or there are none.

    Args:
        part: the comparison: its medians, limit and noise.
        then: the baseline's samples by process, in the metric's unit; empty without a baseline.
        now: the current ones.
    """
    then, now = _finite(then), _finite(now)
    values = [value for process in (*then, *now) for value in process]
    if len(set(values)) < 2:
        return None
    ends = [*values, *_bounds(part, part.limit), *_bounds(part, part.noise)]
    ends += [value for value in (part.baseline, part.current) if value is not None]
    low, high = min(ends), max(ends)
    span = high - low
    if not math.isfinite(span) or not span:
        return None

    def place(value: float) -> float:
        return _MARGIN + (value - low) / span * (WIDTH - 2 * _MARGIN)

    def median(value: float | None) -> str:
        return "" if value is None else _number(place(value))

    def bar(distance: float | None) -> Band | None:
        bounds = _bounds(part, distance)
        if not bounds:
            return None
        start, end = map(place, bounds)
        return Band(_number(start), _number(max(end - start, 1.0)))

    rows = len(then) + len(now)
    pitch = min(_PITCH, (_MOST_HEIGHT - 4) / rows)
    middle = 2 + pitch * len(then) + 1 if then else 0.0
    first_now = middle + 1 if then else 2.0
    bottom = math.ceil(first_now + pitch * len(now) + 2)
    return Strip(
        width=WIDTH,
        height=bottom + _AXIS,
        middle=round(middle),
        limit=bar(part.limit),
        noise=bar(part.noise),
        then="".join(
            f"M{x} {_number(2 + pitch * row + 1)}v{_number(max(pitch - 2, 1))}"
            for row, process in enumerate(then)
            for x in _places(process, place)
        ),
        now="".join(
            f"M{x} {_number(first_now + pitch * (row + 0.5))}h0"
            for row, process in enumerate(now)
            for x in _places(process, place)
        ),
        then_median=median(part.baseline) if then else "",
        now_median=median(part.current) if now else "",
        text=_in_words(part, then, now),
        bottom=bottom,
        ticks=(*_ticks(low, high, part.metric.unit, place),),
    )


def _ticks(low: float, high: float, unit: Unit, place: Callable[[float], float]) -> list[Tick]:
    """Round numbers that have room beside each other; where none do, both ends."""
    scale = Scale.of(max(abs(low), abs(high)), unit, ())
    name = {"%": "%", "1/s": "/s"}.get(unit, f" {scale.unit}" if scale.unit else "")
    factor = scale.factor
    for most in _MOST_TICKS:
        found = [*_round(low / factor, high / factor, most)]
        texts = [text for _, text in found[:-1]] + [text + name for _, text in found[-1:]]
        places = [place(number * factor) for number, _ in found]
        if len(found) > 1 and all(starmap(_apart, pairwise(zip(places, texts, strict=True)))):
            return [*map(_tick, places, texts)]
    ends = f"{low / factor:.5g}", f"{high / factor:.5g}{name}"
    return [*map(_tick, map(place, (low, high)), ends)]


def _round(low: float, high: float, most: int) -> Iterator[tuple[float, str]]:
    """About so many round numbers between two, with their texts."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * n for n in (1, 2, 5, 10, 20) if span / (power * n) <= most)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield number * step, f"{number * step:.{decimals}f}"


def _tick(x: float, text: str) -> Tick:
    return Tick(_number(x), text, _anchor(x))


def _anchor(x: float) -> str:
    return "start" if x < _SIDE else "end" if x > WIDTH - _SIDE else "middle"


def _apart(one: tuple[float, str], other: tuple[float, str]) -> bool:
    """Whether the texts at two places, from the left to the right, have some room between them."""
    (x, text), (y, following) = one, other
    end = x + _RIGHT_OF[_anchor(x)] * len(text) * _CHARACTER
    start = y - (1 - _RIGHT_OF[_anchor(y)]) * len(following) * _CHARACTER
    return end + _CHARACTER <= start


def _places(process: tuple[float, ...], place: Callable[[float], float]) -> Iterator[str]:
    yield from dict.fromkeys(_number(round(2 * place(value)) / 2) for value in process)


def _bounds(part: Comparison, distance: float | None) -> tuple[float, ...]:
    if distance is None or part.baseline is None or not math.isfinite(distance):
        return ()
    return (part.baseline - distance, part.baseline + distance)


def _finite(processes: Samples) -> Samples:
    kept = (tuple(filter(math.isfinite, process)) for process in processes)
    return tuple(process for process in kept if process)


def _in_words(part: Comparison, then: Samples, now: Samples) -> str:
    said = [
        f"{name}: {_described(processes, part.metric.unit)}"
        for name, processes in (("Baseline", then), ("Current", now))
        if processes
    ]
    return "; ".join(said)


def _described(processes: Samples, unit: Unit) -> str:
    values = [value for process in processes for value in process]
    ends = [format_amount(end(values), unit) for end in (min, max)]
    several = f" of {len(processes)} processes" if len(processes) > 1 else ""
    spread = f"from {ends[0]} to {ends[1]}" if ends[0] != ends[1] else ends[0]
    rounds = format_count(len(values), "round")
    return f"{rounds}{several}, {spread}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
