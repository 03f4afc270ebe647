"""Making timelines smaller, honestly: what cannot be told apart in a drawing is drawn as one.

Time is divided into cells. Elements shorter than a cell that begin in the same cell of a lane and
are of one category become one, which is drawn as long as they are together, from where the first of
them begins or, where one of another category is drawn there, behind it. So places are right to one
cell, what is drawn covers the time that the operations took, and how many there are and how long
they take is kept exactly. The cells are as large as it takes for no more than so many elements to
be left, and at least a two-thousandth of the timeline: half a pixel of most screens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_nsys.insights.timeline.model import MOST_POINTS, Element, Point, Timeline
from pytest_nsys.support.arrays.rows import Flags, Ints

_CELLS = 2000


@dataclass(frozen=True)
class Columns:
    """Elements by column, all equally long, times in ns; see `Element`."""

    lane: Ints
    start: Ints
    end: Ints
    label: Ints
    operations: Ints
    busy: Ints
    mixed: Ints

    def __len__(self) -> int:
        return len(self.lane)

    @property
    def _all(self) -> tuple[Ints, ...]:
        return tuple(getattr(self, name) for name in Element._fields)

    def take(self, rows: Ints | Flags) -> Columns:
        """The rows of these numbers, or those that are flagged."""
        return Columns(*(column[rows] for column in self._all))

    def labelled(self, label: Ints) -> Columns:
        """With other numbers of labels."""
        return replace(self, label=label)

    def in_order(self) -> Columns:
        """By lane, then by start, the longest first."""
        return self.take(np.lexsort((self.label, -self.end, self.start, self.lane)))

    def elements(self) -> tuple[Element, ...]:
        """As elements."""
        *numbers, mixed = (column.tolist() for column in self._all)
        return tuple(map(Element, *numbers, map(bool, mixed)))

    @classmethod
    def of(cls, elements: Sequence[Element]) -> Columns:
        """The inverse of `elements`."""
        return cls(*np.array(elements, dtype=np.int64).reshape(-1, len(Element._fields)).T)

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """The rows of all parts."""
        empty = np.empty(0, dtype=np.int64)
        return cls(
            *(
                np.concatenate([empty, *(getattr(part, name) for part in parts)])
                for name in Element._fields
            )
        )


def reduced_to(timeline: Timeline, most: int) -> Timeline:
    """The timeline with at most so many elements, where lanes and categories are not more.

    Counts and times by lane and category (`Timeline.sums`) stay what they are.
    """
    if len(timeline.elements) <= most:
        return timeline
    codes = category_codes([label.category for label in timeline.labels])
    columns, cell = reduce_columns(
        Columns.of(timeline.elements), codes, timeline.extent, most, least=timeline.cell
    )
    return replace(timeline, elements=columns.elements(), cell=cell)


def category_codes(categories: Sequence[str]) -> Ints:
    """Per category, its number: the same text has the same."""
    known = {name: number for number, name in enumerate(dict.fromkeys(categories))}
    return np.array([known[name] for name in categories], dtype=np.int64)


def reduce_columns(
    columns: Columns, categories: Ints, extent: int, most: int, *, least: int = 0
) -> tuple[Columns, int]:
    """Elements made so few, and the size of the cells that it took, ns (0: none).

    Args:
        columns: the elements, starts not below 0.
        categories: per label, the number of its category.
        extent: ns to the end of the last element.
        most: how many may be left, unless there are more lanes and categories.
        least: the cells of an earlier reduction of theirs.
    """
    columns = columns.in_order()
    if len(columns) <= most:
        return columns, least
    cell = max(extent // _CELLS, least, 1)
    while True:
        found = _merged(columns, categories, cell)
        if len(found) <= most or cell > extent:
            return found, cell
        cell *= 2


def _merged(columns: Columns, categories: Ints, cell: int) -> Columns:
    small = columns.end - columns.start < cell
    rest, large = columns.take(small), columns.take(~small)
    place = rest.start // cell
    kind = categories[rest.label]
    rest_order = np.lexsort((rest.start, kind, place, rest.lane))
    rest, place, kind = rest.take(rest_order), place[rest_order], kind[rest_order]
    fresh = _changes(rest.lane, place, kind)
    first = np.flatnonzero(fresh)
    if not len(first):
        return large
    group = np.cumsum(fresh) - 1
    label = _heaviest(group, rest.label, rest.busy)
    # The least label and the greatest are the same where there is only one.
    same = np.minimum.reduceat(rest.label, first) == np.maximum.reduceat(rest.label, first)
    found = Columns(
        lane=rest.lane[first],
        start=rest.start[first],
        end=np.maximum.reduceat(rest.end, first),
        label=label,
        operations=np.add.reduceat(rest.operations, first),
        busy=np.add.reduceat(rest.busy, first),
        mixed=np.maximum(np.maximum.reduceat(rest.mixed, first), ~same),
    )
    return Columns.joined([large, _side_by_side(found, place[first])]).in_order()


def _changes(*columns: Ints) -> Flags:
    """Whether a row differs from the one before it in any column; the first does."""
    fresh = np.ones(len(columns[0]), dtype=np.bool_)
    fresh[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return fresh


def _heaviest(group: Ints, label: Ints, busy: Ints) -> Ints:
    """Per group, in order, the label with the largest sum of time, of equal ones the first."""
    order = np.lexsort((label, group))
    group, label, busy = group[order], label[order], busy[order]
    first = np.flatnonzero(_changes(group, label))
    group, label, busy = group[first], label[first], np.add.reduceat(busy, first)
    order = np.lexsort((label, -busy, group))
    return label[order][_changes(group[order])]


def _side_by_side(found: Columns, place: Ints) -> Columns:
    """Those of one lane and cell one behind the other, each as long as its operations take.

    Operations that do not overlap leave room for it before the last of them ends; of those that do,
    none is drawn longer than the time that they span.
    """
    order = np.lexsort((found.start, place, found.lane))
    found, place = found.take(order), place[order]
    fresh = _changes(found.lane, place)
    latest = np.maximum.reduceat(found.end, np.flatnonzero(fresh))[np.cumsum(fresh) - 1].tolist()
    length = np.minimum(found.busy, found.end - found.start).tolist()
    starts, ends = found.start.tolist(), found.end.tolist()
    for number, is_first in enumerate(fresh.tolist()):
        cursor = 0 if is_first else ends[number - 1]
        starts[number] = min(max(starts[number], cursor), latest[number])
        ends[number] = min(starts[number] + length[number], latest[number])
    numbers = (np.array(side, dtype=np.int64) for side in (starts, ends))
    return replace(found, **dict(zip(("start", "end"), numbers, strict=True)))


def reduced_points(times: Ints, live: Ints, extent: int) -> tuple[tuple[Point, ...], bool]:
    """Points of memory made so few that they can be kept, and whether some were left out.

    Of each of some cells of time the highest is kept and the last; so every peak is.

    Args:
        times: ns, ascending, from 0 on.
        live: bytes from each time on.
        extent: ns, not before the last time.
    """
    # Of several at one time, what counts is the last.
    settled = np.append(times[1:] != times[:-1], True)[: len(times)]
    times, live = times[settled], live[settled]
    fewer = len(times) > MOST_POINTS
    if fewer:
        cell = times // (extent // (MOST_POINTS // 2 - 1) + 1)
        first = np.flatnonzero(_changes(cell))
        last = np.append(first[1:], len(cell)) - 1
        highest = np.lexsort((np.arange(len(live)), -live, cell))[first]
        kept = np.unique(np.concatenate([first[:1], highest, last]))
        times, live = times[kept], live[kept]
    return tuple(map(Point, times.tolist(), live.tolist())), fewer
