"""Timelines made by hand and by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_nsys.insights.timeline import Element, Label, Lane, Timeline
from pytest_nsys.insights.timeline.model import Point

LABELS = (
    Label("gemm_a", "gemm"),
    Label("gemm_b", "gemm"),
    Label("add", "elementwise"),
    Label("h2d 4 MiB pageable", "h2d"),
)


def element(
    start: int, ns: int, label: int = 0, *, lane: int = 0, operations: int = 1, mixed: bool = False
) -> Element:
    """An element that is as long as its operations take."""
    return Element(lane, start, start + ns, label, operations, ns, mixed)


def timeline(*elements: Element, length: int = 1000, lanes: int = 1) -> Timeline:
    """A timeline of streams."""
    return Timeline(
        length,
        tuple(Lane("gpu", f"stream {number}") for number in range(lanes)),
        LABELS,
        tuple(sorted(elements)),
    )


_times = st.integers(0, 2**40)


@st.composite
def timelines(draw: st.DrawFn, most: int = 60) -> Timeline:
    """Any timeline; elements may overlap, and what they stand for may be longer than they are."""
    lanes = draw(
        st.lists(
            st.builds(Lane, st.sampled_from(["range", "gpu", "host"]), st.text(max_size=20)),
            min_size=1,
            max_size=4,
        )
    )
    labels = draw(
        st.lists(
            st.builds(Label, st.text(max_size=30), st.text(max_size=9)), min_size=1, max_size=5
        )
    )
    rows = []
    for _ in range(draw(st.integers(0, most))):
        start, ns = draw(_times), draw(st.one_of(st.integers(0, 1000), _times))
        operations = draw(st.integers(1, 5))
        rows.append(
            Element(
                draw(st.integers(0, len(lanes) - 1)),
                start,
                start + ns,
                draw(st.integers(0, len(labels) - 1)),
                operations,
                draw(_times),
                operations > 1 and draw(st.booleans()),
            )
        )
    times = sorted(draw(st.lists(_times, max_size=8)))
    return Timeline(
        length=draw(_times),
        lanes=tuple(lanes),
        labels=tuple(labels),
        elements=tuple(sorted(rows, key=lambda row: row[:2])),
        memory=tuple(Point(time, draw(_times)) for time in times),
        cell=draw(st.sampled_from([0, 1, 1000])),
        sparse=draw(st.booleans()),
    )
