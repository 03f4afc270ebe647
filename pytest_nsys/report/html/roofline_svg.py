"""Where work lies under the roofs of its GPU (Williams, Waterman and Patterson, CACM 52(4), 2009).

A kernel that computes ``i`` operations for each byte that it moves can do at most
``min(peak, i * bandwidth)`` of them in a second. Both axes are logarithmic. The peaks are those of
which the window's shares are, so that the drawing and the metrics say the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from pytest_nsys.catalogue import (
    BYTES_PER_S,
    FLOPS_PER_S,
    PCT_PEAK_BW,
    PCT_PEAK_FLOPS,
    WORK_BYTES,
    WORK_FLOPS,
)
from pytest_nsys.measure.measurement import WindowMeasurement
from pytest_nsys.report.html.looks import number as _n
from pytest_nsys.report.html.looks import text_of
from pytest_nsys.support.units import format_amount

WIDTH, HEIGHT = 360.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 78.0, 10.0, 26.0, 32.0
_MOST_LABELS = 6
_BELOW, _ABOVE = 10.0, 3.0
"""By what factors the axes go beyond what is drawn: below, by enough to tell a slope."""

_FAR = 50.0
"""Percent of its roof below which something else than that roof limits a kernel."""


@dataclass(frozen=True)
class Point:
    """A window: operations for each byte, and operations per second."""

    intensity: float
    flops_per_s: float


@dataclass(frozen=True)
class Roofs:
    """What a GPU can do: operations in a precision per second, and bytes per second."""

    flops_per_s: float
    bytes_per_s: float
    precision: str

    @property
    def ridge(self) -> float:
        """From so many operations for each byte on the peak is within reach."""
        return self.flops_per_s / self.bytes_per_s


def point_of(window: WindowMeasurement | None) -> Point | None:
    """Where a window is; None if its work or its rate is not known."""
    values = _above_zero(window, WORK_FLOPS, WORK_BYTES, FLOPS_PER_S)
    return Point(values[0] / values[1], values[2]) if values else None


def roofs_of(window: WindowMeasurement | None) -> Roofs | None:
    """The peaks that the window's shares are of; None where there are none."""
    values = _above_zero(window, FLOPS_PER_S, PCT_PEAK_FLOPS, BYTES_PER_S, PCT_PEAK_BW)
    if window is None or not values:
        return None
    flops, of_flops, size, of_size = values
    return Roofs(100 * flops / of_flops, 100 * size / of_size, window.precision)


def _above_zero(window: WindowMeasurement | None, *keys: str) -> list[float]:
    """The values of metrics, if all are known and there is a logarithm of each; else none."""
    values = [window.get(key) or 0.0 for key in keys] if window else []
    return values if values and min(values) > 0 else []


def roofline_words(now: Point, then: Point | None, roofs: Roofs, gpu: str) -> str:
    """What the drawing shows: which roof the window is under, and how near.

    Args:
        now: the window.
        then: the same in the baseline, if it is known there.
        roofs: of the GPU.
        gpu: its name.
    """
    memory = now.intensity < roofs.ridge
    share = 100 * _reached(now, roofs)
    bound = ("Memory" if memory else "Compute") + " bound" if share >= _FAR else "Below its roof"
    peak = (
        f"peak bandwidth of {gpu}, {format_amount(roofs.bytes_per_s, 'B/s')}"
        if memory
        else f"{roofs.precision} peak of {gpu}, {format_amount(roofs.flops_per_s, 'FLOP/s')}"
    )
    was = "" if then is None else f" (baseline: {_percent(100 * _reached(then, roofs))})"
    here, ridge = (format_amount(one, "1") for one in (now.intensity, roofs.ridge))
    side = "below" if memory else "above"
    text = (
        f"{bound}: {_percent(share)}{was} of the {peak}. Its {here} FLOP/B are {side} "
        f"the ridge at {ridge}, where both peaks meet."
    )
    if share < _FAR:
        text += " Neither peak is near: something else limits it, such as latency or occupancy."
    return text


def _reached(point: Point, roofs: Roofs) -> float:
    """The share of what is attainable at the point's intensity."""
    return point.flops_per_s / min(roofs.flops_per_s, point.intensity * roofs.bytes_per_s)


def _percent(share: float) -> str:
    return f"{share:.1f}%"


def roofline_svg(now: Point, then: Point | None, roofs: Roofs, words: str) -> Markup:
    """The drawing.

    Args:
        now: the window.
        then: the same in the baseline, if it is known there.
        roofs: of the GPU.
        words: what a reader is told who does not see it.
    """
    return Markup("".join(_Drawing(now, then, roofs).svg(words)))


class _Axis:
    """A logarithmic axis between two places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low / _BELOW, high * _ABOVE
        self._from = math.log10(self.low)
        self._start = start
        self.decade = (end - start) / (math.log10(self.high) - self._from)

    def place(self, value: float) -> float:
        return self._start + (math.log10(value) - self._from) * self.decade

    def decades(self) -> list[float]:
        first, last = math.ceil(self._from), math.floor(math.log10(self.high))
        step = max(1, math.ceil((last - first + 1) / _MOST_LABELS))
        return [10.0**power for power in range(first, last + 1, step)]


class _Drawing:
    def __init__(self, now: Point, then: Point | None, roofs: Roofs) -> None:
        self._now, self._then, self._roofs = now, then, roofs
        points = [now, *([then] if then else [])]
        across = [roofs.ridge, *(point.intensity for point in points)]
        up = [roofs.flops_per_s, *(point.flops_per_s for point in points)]
        self._x = _Axis(min(across), max(across), _LEFT, WIDTH - _RIGHT)
        self._y = _Axis(min(up), max(up), HEIGHT - _BOTTOM, _TOP)

    def svg(self, words: str) -> Iterator[str]:
        yield (
            f'<svg class="roofline" role="img" viewBox="0 0 {_n(WIDTH)} {_n(HEIGHT)}" '
            f'width="{_n(WIDTH)}" height="{_n(HEIGHT)}" font-size="11" font-family="sans-serif" '
            f'aria-label="{text_of(words)}">'
        )
        yield from self._axes()
        yield from self._lines()
        yield from self._points()
        yield "</svg>"

    def _axes(self) -> Iterator[str]:
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        columns = [(self._x.place(value), f"{value:g}") for value in self._x.decades()]
        rows = [
            (self._y.place(value), format_amount(value, "FLOP/s")) for value in self._y.decades()
        ]
        lines = "".join(f"M{_n(x)} {_n(_TOP)}V{_n(bottom)}" for x, _ in columns)
        lines += "".join(f"M{_n(_LEFT)} {_n(y)}H{_n(right)}" for y, _ in rows)
        yield f'<path class="grid" d="{lines}" fill="none" stroke="#cfd4da"/>'
        yield '<g class="axis" fill="#565e68">'
        for x, text in columns:
            yield f'<text x="{_n(x)}" y="{_n(bottom + 13)}" text-anchor="middle">{text}</text>'
        for y, text in rows:
            yield f'<text x="{_n(_LEFT - 4)}" y="{_n(y + 4)}" text-anchor="end">{text}</text>'
        middle = (_LEFT + right) / 2
        yield (
            f'<text x="{_n(middle)}" y="{_n(HEIGHT - 5)}" text-anchor="middle">'
            "FLOP for each byte</text></g>"
        )

    def _lines(self) -> Iterator[str]:
        x, y, roofs = self._x, self._y, self._roofs
        start = max(x.low, y.low / roofs.bytes_per_s)
        ridge = x.place(roofs.ridge), y.place(roofs.flops_per_s)
        foot = x.place(start), y.place(start * roofs.bytes_per_s)
        yield (
            f'<path class="roof" d="M{_n(foot[0])} {_n(foot[1])}L{_n(ridge[0])} {_n(ridge[1])}'
            f'H{_n(WIDTH - _RIGHT)}" fill="none" stroke="#1b1f24" stroke-width="2"/>'
        )
        peak = f"{roofs.precision} {format_amount(roofs.flops_per_s, 'FLOP/s')}"
        yield (
            f'<text x="{_n(WIDTH - _RIGHT)}" y="{_n(ridge[1] - 5)}" text-anchor="end">'
            f"{text_of(peak)}</text>"
        )
        angle = -math.degrees(math.atan2(-y.decade, x.decade))
        at = [(one + other) / 2 for one, other in zip(foot, ridge, strict=True)]
        turned = f"translate({_n(at[0])} {_n(at[1])}) rotate({_n(angle)})"
        yield (
            f'<text transform="{turned}" y="-5" text-anchor="middle">'
            f"{format_amount(roofs.bytes_per_s, 'B/s')}</text>"
        )

    def _points(self) -> Iterator[str]:
        x, y, roofs = self._x, self._y, self._roofs
        top = min(roofs.flops_per_s, self._now.intensity * roofs.bytes_per_s)
        at = x.place(self._now.intensity)
        yield (
            f'<path class="reach" d="M{_n(at)} {_n(y.place(top))}'
            f'V{_n(y.place(self._now.flops_per_s))}" fill="none" stroke="#0b57a4" '
            'stroke-dasharray="2 3"/>'
        )
        shown = [("now", "current", self._now)]
        if self._then is not None:
            shown.insert(0, ("then", "baseline", self._then))
        left = 0.0
        for name, word, point in shown:
            # A ring about a dot: both are seen where they are at one place.
            circle = (
                'r="4" fill="#0b57a4"'
                if name == "now"
                else 'r="7" fill="none" stroke="#565e68" stroke-width="2"'
            )
            title = f"{word}: {format_amount(point.flops_per_s, 'FLOP/s')}"
            yield (
                f'<circle class="{name}" cx="{_n(x.place(point.intensity))}" '
                f'cy="{_n(y.place(point.flops_per_s))}" {circle}><title>{title}</title></circle>'
                f'<circle class="{name}" cx="{_n(left + 8)}" cy="10" {circle}/>'
                f'<text x="{_n(left + 19)}" y="14">{title}</text>'
            )
            left += WIDTH / 2
