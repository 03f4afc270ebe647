"""What a timeline is.

It imports next to nothing: measurements hold timelines, and are read without pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pytest_nsys.support.text import cut
from pytest_nsys.support.units import format_amount

LaneKind = Literal["range", "gpu", "host"]
"""ranges of the program; operations of a GPU's stream; calls in which a host thread waited."""

MOST_ELEMENTS = 4000
"""A timeline has no more elements than this; see `pytest_nsys.insights.timeline.reduce`."""

MOST_LANES: Mapping[LaneKind, int] = {"range": 8, "gpu": 24, "host": 8}
"""Nor more lanes of a kind: those with least on them are one lane."""

MOST_POINTS = 500
"""Nor more points of memory."""

LONGEST_TEXT = 200
"""Nor longer labels and titles, in characters."""


def in_timeline(text: str) -> str:
    """A name as the labels of timelines have it."""
    return cut(text, LONGEST_TEXT, LONGEST_TEXT - 3)


class Lane(NamedTuple):
    """A row of a timeline.

    Attributes:
        kind: what is on it.
        title: short; without processes, devices and threads where there is only one. That of
            the deeper rows of a thread's ranges is "".
    """

    kind: LaneKind
    title: str


class Label(NamedTuple):
    """What operations are called.

    Attributes:
        text: canonical name of a kernel, "h2d 4 MiB pageable" of a copy, name of a call or text of
            a range.
        category: that of a kernel; h2d, d2h, d2d, p2p, unified or copy of a copy, else memset,
            graph, sync or range.
    """

    text: str
    category: str


class Element(NamedTuple):
    """Something to draw: one operation, or several of one lane and category.

    Attributes:
        lane: number of its lane.
        start: ns from the window's start.
        end: ns from the window's start; not before ``start``.
        label: number of its label; of several operations the one that takes most time.
        operations: how many it stands for.
        busy: sum of their durations, ns.
        mixed: whether some of them have other labels.
    """

    lane: int
    start: int
    end: int
    label: int
    operations: int
    busy: int
    mixed: bool = False


class Point(NamedTuple):
    """Live device memory from a time on.

    Attributes:
        time: ns from the window's start.
        live: bytes.
    """

    time: int
    live: int


@dataclass(frozen=True)
class Timeline:
    """One round of a test.

    Attributes:
        length: ns, of the window. GPU operations that were launched in it may end after it.
        lanes: in the order in which they are shown.
        labels: what the elements refer to.
        elements: by lane, then by start.
        memory: live device memory, by time, from the window's start on; nothing where it was not
            recorded.
        cell: ns, the size of the stretches of time within which elements were put together; 0
            where none were (see `pytest_nsys.insights.timeline.reduce`).
        sparse: whether points of memory were left out.
    """

    length: int
    lanes: tuple[Lane, ...] = ()
    labels: tuple[Label, ...] = ()
    elements: tuple[Element, ...] = ()
    memory: tuple[Point, ...] = ()
    cell: int = 0
    sparse: bool = False

    @property
    def extent(self) -> int:
        """ns from the window's start to the end of whatever ends last, the window included."""
        return max([self.length, *(element.end for element in self.elements)])

    @property
    def reduced(self) -> str:
        """How it was made smaller than what was recorded, for people; "" if it was not."""
        sentences = []
        if self.cell:
            number, size = (
                sum(one.operations for one in self.elements),
                format_amount(self.cell, "ns"),
            )
            sentences.append(
                f"{number:,} operations, waits and ranges are drawn as {len(self.elements):,} "
                f"elements: those shorter than {size} that begin in the same {size} of a lane and "
                "are of one category are one element, as long as they are together"
            )
        if self.sparse:
            sentences.append(
                f"of memory, the highest and the last value of each of {MOST_POINTS // 2} "
                "stretches of time are drawn"
            )
        return "; ".join(sentences)

    @property
    def operations(self) -> int:
        """How many operations of GPUs there are."""
        gpu = {number for number, lane in enumerate(self.lanes) if lane.kind == "gpu"}
        return sum(element.operations for element in self.elements if element.lane in gpu)

    def sums(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Per lane and category, how many operations and their time, ns: reducing keeps them."""
        found: dict[tuple[int, str], tuple[int, int]] = {}
        for element in self.elements:
            key = element.lane, self.labels[element.label].category
            count, busy = found.get(key, (0, 0))
            found[key] = (count + element.operations, busy + element.busy)
        return found
