"""Stacked bars as SVG: how long each of several sides takes, by the categories of its kernels.

As the drawing of timelines, it has no scripts, no styles of its own and nothing that is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_nsys.kernels.category import CATEGORIES
from pytest_nsys.report.html.looks import NAMES, WIDTH, axis, fill, legend, patterns
from pytest_nsys.report.html.looks import number as _n
from pytest_nsys.report.html.looks import text_of as _text
from pytest_nsys.report.html.timeline_svg import tick_texts, ticks
from pytest_nsys.support.units import format_amount

_LEFT, _RIGHT = 164.0, 14.0
_PLOT = WIDTH - _LEFT - _RIGHT
_ROW, _BAR = 34.0, 16.0
_NAME_CHARACTERS = 26


@dataclass(frozen=True)
class Stack:
    """One bar.

    Attributes:
        name: what it is of.
        parts: kernel time by category, ns.
        total: how long all of it took, ns; what no kernel accounts for is drawn hollow. None where
            that is not known.
    """

    name: str
    parts: Mapping[str, float]
    total: float | None = None

    @property
    def kernels(self) -> float:
        """The time of all kernels, ns."""
        return sum(self.parts.values())

    @property
    def extent(self) -> float:
        """Where the bar ends, ns."""
        return max(self.kernels, self.total or 0.0)


def bars_svg(stacks: Sequence[Stack], *, ident: str = "bars") -> Markup:
    """One ``<svg>`` with the bars below each other at one scale, in the order they have.

    Args:
        stacks: the bars.
        ident: what ids within it begin with; another one for every drawing of a page.
    """
    return Markup("".join(_svg(stacks, re.sub(r"[^\w-]", "-", ident))))


def _svg(stacks: Sequence[Stack], ident: str) -> Iterator[str]:
    extent = max(1, round(max((stack.extent for stack in stacks), default=1)))
    found = [_by_class(stack) for stack in stacks]
    used = [name for name in CATEGORIES if any(parts.get(name) for parts in found)]
    scale = _PLOT / extent
    drawn, top = legend(used, ident)
    bottom = top + _ROW * len(stacks)
    said = "; ".join(f"{stack.name}, {_said(stack)}" for stack in stacks)
    yield (
        f'<svg class="timeline bars" role="img" viewBox="0 0 {_n(WIDTH)} {_n(bottom + 18)}" '
        f'font-size="11" font-family="sans-serif" aria-label="{_text(said)}">'
    )
    yield f"{patterns(used, ident)}{drawn}"
    times = ticks(extent)
    lines = "".join(f"M{_n(_LEFT + tick * scale)} {_n(top)}V{_n(bottom)}" for tick in times)
    yield f'<path class="grid" d="{lines}" fill="none" stroke="#9aa2ab"/>'
    places = [_LEFT + tick * scale for tick in times]
    yield axis([*zip(places, tick_texts(times), strict=True)], bottom + 13)
    for number, (stack, parts) in enumerate(zip(stacks, found, strict=True)):
        yield from _bar(stack, parts, top + _ROW * number, scale, ident)
    yield "</svg>"


def _by_class(stack: Stack) -> dict[str, float]:
    """The parts in the order of the legend; a project's own categories are among the others."""
    found = dict.fromkeys(CATEGORIES, 0.0)
    for category, ns in stack.parts.items():
        found[category if category in found else "other"] += ns
    return {category: ns for category, ns in found.items() if ns}


def _bar(
    stack: Stack, parts: Mapping[str, float], y: float, scale: float, ident: str
) -> Iterator[str]:
    name = stack.name
    shown = name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "\u2026"
    yield f'<text x="0" y="{_n(y + 26)}">{_text(shown)}</text>'
    yield f'<g class="op"><text x="{_n(_LEFT)}" y="{_n(y + 11)}">{_text(_said(stack))}</text>'
    at = _LEFT
    for category, ns in parts.items():
        title = f"{NAMES[category]}: {format_amount(ns, 'ns')}"
        yield (
            f'<g class="{category}"{fill(category, ident)}><rect x="{_n(at)}" '
            f'y="{_n(y + 15)}" width="{_n(ns * scale)}" height="{_n(_BAR)}">'
            f"<title>{_text(title)}</title></rect></g>"
        )
        at += ns * scale
    rest = _LEFT + stack.extent * scale - at
    if stack.total is not None and rest > 0.01:
        title = f"no kernel: {format_amount(stack.total - stack.kernels, 'ns')}"
        yield (
            f'<rect class="rest" x="{_n(at)}" y="{_n(y + 15.5)}" width="{_n(rest)}" '
            f'height="{_n(_BAR - 1)}" fill="none" stroke="#6b7683">'
            f"<title>{title}</title></rect>"
        )
    yield "</g>"


def _said(stack: Stack) -> str:
    kernels = f"{format_amount(stack.kernels, 'ns')} of kernels"
    if not stack.total:
        return kernels
    share = 100 * stack.kernels / stack.total
    return f"{kernels}, {share:.3g}% of {format_amount(stack.total, 'ns')}"
