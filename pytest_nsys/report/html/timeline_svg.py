"""Timelines as SVG, one below the other at one scale: a baseline's and the current one, or several.

No scripts, no styles of its own and nothing that is fetched: ``templates/timeline.css`` gives
colours by class. What something is shows in its pattern, height and label as well as its colour.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from markupsafe import Markup

from pytest_nsys.insights.timeline import Element, Label, Lane, Timeline
from pytest_nsys.insights.timeline.model import in_timeline
from pytest_nsys.insights.timeline.reduce import reduced_to
from pytest_nsys.kernels.category import CATEGORIES
from pytest_nsys.report.html.looks import (
    COPIES,
    LOOKS,
    NAMES,
    RANGE,
    WIDTH,
    axis,
    fill,
    legend,
    patterns,
)
from pytest_nsys.report.html.looks import number as _n
from pytest_nsys.report.html.looks import text_of as _text
from pytest_nsys.support.text import telling_parts
from pytest_nsys.support.units import format_amount

Mark = Literal["new", "gone", "slower"]
"""What has become of a kernel."""

_MARKED: Mapping[Mark, str] = {
    "new": "new: the baseline has none",
    "slower": "slower: each takes longer",
    "gone": "gone: the current run has none",
}
_LOOK: Mapping[Mark, str] = {
    "new": ' fill="none" stroke="#a8231b" stroke-width="3"',
    "slower": ' fill="none" stroke="#a8231b" stroke-width="3" stroke-dasharray="5 2"',
    "gone": ' fill="none" stroke="#565e68" stroke-width="3" stroke-dasharray="1.5 1.5"',
}
_NO_MARKS: Mapping[str, Mark] = {}

MOST = 1200
"""How many elements of a timeline are drawn where nobody says otherwise."""

_LINE = ' fill="none" stroke="#9aa2ab"'
_LINES = {
    "then": ' fill="none" stroke="#565e68" stroke-dasharray="5 3"',
    "now": ' fill="none" stroke="#0b57a4"',
    "third": ' fill="none" stroke="#a8231b" stroke-dasharray="8 3 2 3"',
    "fourth": ' fill="none" stroke="#1c6633" stroke-dasharray="2 2"',
    "fifth": ' fill="none" stroke="#7a4d00" stroke-dasharray="10 2"',
    "sixth": ' fill="none" stroke="#5d4a9c" stroke-dasharray="4 2 1 2"',
}
"""Of live memory, by the class of its timeline; these are all there are."""

SIDES = len(_LINES)
"""How many timelines a drawing has at most."""

_ON_COLOUR = ' fill="#fff" stroke="#000" stroke-opacity=".3" stroke-width="2" paint-order="stroke"'
_INNER = {"range": "", "gpu": _ON_COLOUR, "host": _ON_COLOUR}
_LEFT, _RIGHT = 164.0, 14.0
_PLOT = WIDTH - _LEFT - _RIGHT
_THINNEST, _LEAST = 0.6, 0.05
_THIN = 5.0  # what is narrower has no room for a pattern
_CHARACTER = 6.2  # width of a letter in an element
_TITLE_CHARACTERS = 28  # of the titles of lanes
_NAME_CHARACTERS = 140  # of a name in a tooltip
_TELLING = 12  # letters of what tells a kernel from others of its name, at least
_TICKS = 8
_MEMORY = 46.0

_HEIGHTS = {"range": 13.0, "gpu": 20.0, "host": 11.0}
_GAP = 4.0
_HEIGHT_OF = {**dict.fromkeys((*COPIES, "memset"), 12.0)}


def timeline_svg(
    now: Timeline,
    then: Timeline | None = None,
    *,
    ident: str = "timeline",
    most: int = MOST,
    marks: Mapping[str, Mark] = _NO_MARKS,
    what: str = "the body",
) -> Markup:
    """One ``<svg>`` with the timelines; the longer of them is as wide as the drawing.

    Args:
        now: the current timeline.
        then: the baseline's.
        ident: what ids within it begin with; another one for every drawing of a page.
        most: how many elements of each are drawn.
        marks: by their names, kernels that have changed, and how.
        what: what of the test it is.
    """
    return _Svg(_blocks(now, then, most), ident, marks, what).svg()


def timelines_svg(
    sides: Sequence[tuple[str, Timeline]], *, ident: str = "timeline", most: int = MOST
) -> Markup:
    """One ``<svg>`` with the timelines of up to `SIDES` sides, each with its name."""
    return _Svg(_named_blocks(sides, most), ident).svg()


def timelines_notes(sides: Sequence[tuple[str, Timeline]], *, most: int = MOST) -> tuple[str, ...]:
    """What a reader must know of that drawing; see `timeline_notes`."""
    return _notes(_named_blocks(sides, most))


def timeline_notes(
    now: Timeline, then: Timeline | None = None, *, most: int = MOST
) -> tuple[str, ...]:
    """What a reader must know of a drawing: how it was made smaller than what was recorded."""
    return _notes(_blocks(now, then, most))


def _notes(blocks: Sequence[_Block]) -> tuple[str, ...]:
    return tuple(f"{b.title}: {b.timeline.reduced}" for b in blocks if b.timeline.reduced)


@dataclass(frozen=True)
class _Block:
    """One timeline of the drawing.

    Attributes:
        name: its class.
        title: what it is called at the beginning of a line.
        word: what it is called within one.
        timeline: it.
    """

    name: str
    title: str
    word: str
    timeline: Timeline


def _blocks(now: Timeline, then: Timeline | None, most: int) -> list[_Block]:
    current = _Block("now", "Current", "current", reduced_to(now, most))
    if then is None:
        return [current]
    return [_Block("then", "Baseline", "baseline", reduced_to(then, most)), current]


def _named_blocks(sides: Sequence[tuple[str, Timeline]], most: int) -> list[_Block]:
    return [
        _Block(name, title, title, reduced_to(timeline, most))
        for name, (title, timeline) in zip(_LINES, sides, strict=False)
    ]


class _Place(NamedTuple):
    """An element, and where it begins and how wide it is in the drawing."""

    element: Element
    x: float
    width: float


class _Svg:
    """Puts the blocks below each other; one use."""

    def __init__(
        self,
        blocks: Sequence[_Block],
        ident: str,
        marks: Mapping[str, Mark] = _NO_MARKS,
        what: str = "the body",
    ) -> None:
        self._blocks = blocks
        self._marks = {in_timeline(name): mark for name, mark in marks.items()}
        self._what = what
        self._names = bar_names(label for block in blocks for label in block.timeline.labels)
        self._ident = re.sub(r"[^\w-]", "-", ident)
        self._extent = max(1, *(block.timeline.extent for block in blocks))
        self._ticks = ticks(self._extent)
        self._y = 0.0
        self._out: list[str] = []

    def svg(self) -> Markup:
        """The drawing."""
        drawn, self._y = legend(self._used(), self._ident)
        self._add(drawn)
        self._legend_of_marks()
        for block in self._blocks:
            self._block(block)
        self._memory()
        head = (
            f'<svg class="timeline" role="img" viewBox="0 0 {_n(WIDTH)} {_n(self._y + 4)}" '
            f'font-size="11" font-family="sans-serif" aria-label="{_text(self._summary())}">'
        )
        return Markup("".join([head, patterns(self._used(), self._ident), *self._out, "</svg>"]))

    def _summary(self) -> str:
        parts = [
            f"{block.word}, {format_amount(block.timeline.length, 'ns')} with "
            f"{_many(block.timeline.operations, 'GPU operation')} in "
            f"{_many(sum(lane.kind == 'gpu' for lane in block.timeline.lanes), 'stream')}"
            for block in self._blocks
        ]
        return f"GPU timeline of one round: {'; '.join(parts)}"

    # Parts of the drawing

    def _legend_of_marks(self) -> None:
        used = {
            self._mark(block, block.timeline.labels[element.label])
            for block in self._blocks
            for element in block.timeline.elements
        }
        x = 0.0
        for mark, said in _MARKED.items():
            if mark in used:
                self._add(
                    f'<path class="changed {mark}" d="M{_n(x)} {_n(self._y + 5)}h16"{_LOOK[mark]}/>'
                    f'<text x="{_n(x + 21)}" y="{_n(self._y + 8)}">{said}</text>'
                )
                x += 36 + 6.7 * len(said)
        self._y += 18 if x else 0

    def _mark(self, block: _Block, label: Label) -> Mark | None:
        """What has become of a kernel, where that is seen on this side."""
        mark = self._marks.get(label.text)
        return mark if mark and (mark == "gone") == (block.name == "then") else None

    def _used(self) -> list[str]:
        """The classes that are drawn, in the order of the legend."""
        used = {
            _class_of(block.timeline.labels[element.label])
            for block in self._blocks
            for element in block.timeline.elements
        }
        return [name for name in NAMES if name in used]

    def _block(self, block: _Block) -> None:
        timeline = block.timeline
        top = self._y + 16
        said = (
            f"{block.title}: {_many(timeline.operations, 'GPU operation')}; {self._what} takes "
            f"{format_amount(timeline.length, 'ns')}"
        )
        if timeline.extent > timeline.length:
            said += f", the GPU is done at {format_amount(timeline.extent, 'ns')}"
        self._add(
            f'<g class="{block.name}"><text class="title" font-weight="600" x="0" '
            f'y="{_n(top)}">{_text(said)}</text>'
        )
        self._y = top + 22
        begin = len(self._out)
        by_lane = {
            lane: [*elements]
            for lane, elements in groupby(timeline.elements, key=lambda element: element.lane)
        }
        start = self._y
        for number, lane in enumerate(timeline.lanes):
            self._lane(block, lane, by_lane.get(number, []))
        if not timeline.lanes:
            self._add(f'<text x="{_n(_LEFT)}" y="{_n(self._y + 12)}">nothing was recorded</text>')
            self._y += 20
        self._out[begin:begin] = [self._axis(start - 4, self._y), self._end(timeline, start - 4)]
        self._add("</g>")
        self._y += 6

    def _end(self, timeline: Timeline, top: float) -> str:
        """Where the body of the test ends, if the GPU still works on what it launched."""
        if timeline.extent == timeline.length:
            return ""
        path = f"M{_n(self._x(timeline.length))} {_n(top)}V{_n(self._y)}"
        return f'<path class="end" d="{path}" stroke="#1b1f24"/>'

    def _axis(self, top: float, bottom: float) -> str:
        places = [*zip(map(self._x, self._ticks), tick_texts(self._ticks), strict=True)]
        return self._grid(top, bottom) + axis(places, top - 4)

    def _grid(self, top: float, bottom: float) -> str:
        lines = "".join(f"M{_n(self._x(tick))} {_n(top)}V{_n(bottom)}" for tick in self._ticks)
        return f'<path class="grid" d="{lines}"{_LINE}/>'

    def _lane(self, block: _Block, lane: Lane, elements: Sequence[Element]) -> None:
        height, labels = _HEIGHTS[lane.kind], block.timeline.labels
        self._add(f'<g class="lane {lane.kind}" transform="translate(0 {_n(self._y)})">')
        if lane.title:
            title = _cut(lane.title, _TITLE_CHARACTERS)
            full = f"<title>{_text(lane.title)}</title>" if title != lane.title else ""
            self._add(f'<text x="0" y="{_n(height / 2 + 4)}">{_text(title)}{full}</text>')
        self._add(f'<path class="base" d="M{_n(_LEFT)} {_n(height)}H{_n(WIDTH - _RIGHT)}"{_LINE}/>')

        def kind(place: _Place) -> tuple[str, bool]:
            return _class_of(labels[place.element.label]), place.width < _THIN

        texts: list[str] = []
        marked: dict[Mark, list[str]] = {}
        places = sorted(self._places(elements), key=kind)
        for (name, thin), mine in groupby(places, key=kind):
            look = self._thin(name) if thin else fill(name, self._ident)
            self._add(f'<g class="op {name}{" thin" if thin else ""}"{look}>')
            tall = min(_HEIGHT_OF.get(name, height), height)
            for element, x, width in mine:
                y = f' y="{_n(height - tall)}"' if tall < height else ""
                self._add(
                    f'<rect x="{_n(x)}"{y} width="{_n(width)}" height="{_n(tall)}">'
                    f"<title>{_text(self._tooltip(block, element))}</title></rect>"
                )
                texts += self._inner_text(
                    element, labels[element.label], x, width, height - tall / 2
                )
                mark = self._mark(block, labels[element.label])
                if mark and not element.mixed:
                    marked.setdefault(mark, []).append(f"M{_n(x)} -1.5h{_n(max(width, 1.5))}")
            self._add("</g>")
        for mark, paths in marked.items():
            self._add(f'<path class="changed {mark}" d="{"".join(paths)}"{_LOOK[mark]}/>')
        if texts:
            self._add(f'<g class="names" font-size="10"{_INNER[lane.kind]}>')
            self._out += [*texts, "</g>"]
        self._add("</g>")
        self._y += height + _GAP

    def _memory(self) -> None:
        drawn = [block for block in self._blocks if block.timeline.memory]
        highest = max((p.live for block in drawn for p in block.timeline.memory), default=0)
        if not highest:
            return
        top, bottom = self._y + 6, self._y + 6 + _MEMORY
        self._add('<g class="memory">' + self._grid(top, bottom))
        self._add(f'<text x="0" y="{_n(top + 10)}">device memory</text>')
        self._add(f'<text x="0" y="{_n(top + 24)}">up to {format_amount(highest, "B")}</text>')
        lowest = bottom
        if len(drawn) > 1:
            for number, block in enumerate(drawn):
                y = top + 34 + 12 * number
                title = _cut(block.word, _TITLE_CHARACTERS - 4)
                self._add(
                    f'<path class="{block.name} line" d="M0 {_n(y)}h14"{_LINES[block.name]}/>'
                    f'<text x="18" y="{_n(y + 4)}">{_text(title)}</text>'
                )
                lowest = max(lowest, y + 4)
        for block in reversed(drawn):  # the dashed line is the upper one
            points = block.timeline.memory
            steps = [
                f"H{_n(self._x(point.time))}V{_n(bottom - _MEMORY * point.live / highest)}"
                for point in points[1:]
            ]
            first = f"M{_n(_LEFT)} {_n(bottom - _MEMORY * points[0].live / highest)}"
            last = f"H{_n(self._x(max(block.timeline.length, points[-1].time)))}"
            peak = format_amount(max(point.live for point in points), "B")
            self._add(
                f'<path class="{block.name} line" d="{first}{"".join(steps)}{last}"'
                f"{_LINES[block.name]}>"
                f"<title>{_text(f'{block.title}: at most {peak} live')}</title></path>"
            )
        self._add("</g>")
        self._y = lowest + 8

    def _tooltip(self, block: _Block, element: Element) -> str:
        label = block.timeline.labels[element.label]
        mark = self._mark(block, label)
        return _tooltip(element, label) + (f"\n{_MARKED[mark]}" if mark else "")

    def _inner_text(
        self, element: Element, label: Label, x: float, width: float, middle: float
    ) -> Iterator[str]:
        """The label in the element, where there is room for what says something."""
        room = int((width - 4) / _CHARACTER)
        name = self._names[label]
        if element.operations > 1 or room < min(len(name), 6) or not name.strip():
            return
        yield f'<text x="{_n(x + 3)}" y="{_n(middle + 3.5)}">{_text(_cut(name, room))}</text>'

    # Places

    def _x(self, time: float) -> float:
        return _LEFT + _PLOT * time / self._extent

    def _places(self, elements: Sequence[Element]) -> Iterator[_Place]:
        """Where the elements of a lane are drawn.

        One too thin to be seen is drawn wider as far as nothing follows it, so that no category
        covers another that it stands beside.
        """
        nexts = [*(element.start for element in elements[1:]), math.inf]
        for element, following in zip(elements, nexts, strict=False):
            x = self._x(element.start)
            room = min(_THINNEST, max(self._x(following) - x, _LEAST))
            width = _PLOT * (element.end - element.start) / self._extent
            yield _Place(element, x, max(width, room))

    def _thin(self, name: str) -> str:
        return f' fill="{LOOKS[name][0] if name in LOOKS else RANGE}"'

    def _add(self, text: str) -> None:
        self._out.append(text)


def ticks(extent: int) -> list[int]:
    """Times of the axis, ns: steps of 1, 2 or 5 times a power of ten, at most nine of them."""
    step = 1
    while extent / step > _TICKS:
        # 1, 2, 5, 10, 20, 50, ...
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, extent + 1, step))


def tick_texts(times: Sequence[int]) -> list[str]:
    """What the axis says at its ticks: all in the unit that suits the last one."""
    scale, unit = next(
        (scale, unit)
        for scale, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))
        if times[-1] >= scale or scale == 1
    )
    return [f"{time / scale:,.10g} {unit}" if time else "0" for time in times]


def _class_of(label: Label) -> str:
    return label.category if label.category in NAMES else "other"


def _tooltip(element: Element, label: Label) -> str:
    name = _cut(label.text, _NAME_CHARACTERS)
    start = format_amount(element.start, "ns")
    if element.operations == 1:
        return f"{name}\n{format_amount(element.busy, 'ns')} from {start} on ({label.category})"
    mostly = "mostly " if element.mixed else ""
    return (
        f"{element.operations:,} operations of {label.category}, {mostly}{name}\n"
        f"together {format_amount(element.busy, 'ns')}, from {start} on"
    )


def bar_names(labels: Iterable[Label]) -> dict[Label, str]:
    """What bars are called: kernels of one name by that in which their arguments differ."""
    plain = {label: short_name(label) for label in labels}
    alike: dict[str, list[Label]] = defaultdict(list)
    for label, name in plain.items():
        alike[name].append(label)
    for several in alike.values():
        if len({label.text for label in several}) > 1:
            told = telling_parts([label.text for label in several], least=_TELLING)
            plain |= {label: told[label.text].strip(" <>(),:") or plain[label] for label in several}
    return plain


def short_name(label: Label) -> str:
    """The part of a name that says most: of a kernel without namespaces and arguments."""
    if label.category in ("range", "sync") or label.category not in CATEGORIES:
        return label.text
    plain = re.split(r"[<(]", label.text, maxsplit=1)[0] or label.text
    return plain.rpartition("::")[2] or plain


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(most - 1, 1)] + "\N{HORIZONTAL ELLIPSIS}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
