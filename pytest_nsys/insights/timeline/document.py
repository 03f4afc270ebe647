"""A file of a timeline: packed JSON whose columns are differences; read strictly."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, starmap
from operator import add
from typing import Annotated, Any

from pytest_nsys.insights.timeline.model import (
    LONGEST_TEXT,
    MOST_ELEMENTS,
    MOST_LANES,
    MOST_POINTS,
    Element,
    Label,
    Lane,
    LaneKind,
    Point,
    Timeline,
)
from pytest_nsys.support.json_values import (
    Check,
    Count,
    Positive,
    at_least,
    load_written,
    read,
    read_keys,
)

SCHEMA = 1

LARGEST_FILE = 4 * 2**20
"""No file is larger; one of the most elements has some ten thousand bytes."""

_LARGEST_TEXT = 16 * 2**20
_LARGEST = 2**53
_Numbers = tuple[Annotated[int, at_least(-_LARGEST)], ...]
_Time = Annotated[Count, Check(lambda time: time <= _LARGEST, "is out of range")]
_Flag = Annotated[int, Check(lambda flag: flag in (0, 1), "is neither 0 nor 1")]
_Text = Annotated[str, Check(lambda text: len(text) <= LONGEST_TEXT, "is too long")]

_MOST_DISTINCT = sum(MOST_LANES.values()) * 64  # lanes and categories are not made fewer


def render(timeline: Timeline, recording: str) -> bytes:
    """The content of a file; the same timeline gives the same bytes.

    Args:
        timeline: the timeline.
        recording: what the baseline is known by that it belongs to.
    """
    document = {"schema": SCHEMA, "recording": recording, **_to_json(timeline)}
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    return gzip.compress(text.encode("ascii"), 9, mtime=0)


def parse(packed: bytes) -> tuple[Timeline, str]:
    """A timeline and what its baseline is known by; the inverse of `render`.

    Raises:
        ValueError: the data is something else, or too large.
    """
    data = load_written(_unpacked(packed).decode("utf-8"))
    schema = read_keys({"schema": Positive}, data)["schema"]
    if schema != SCHEMA:
        raise ValueError(f"it is of schema {schema}, and not {SCHEMA}")
    document = read(_Document, data)
    return _timeline(document), document.recording


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(data, _LARGEST_TEXT)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("it is cut off, too large, or followed by something else")
    return text


def _to_json(timeline: Timeline) -> dict[str, Any]:
    """The timeline as JSON values: a list of numbers per column, each the difference to the one
    before; ends, and times that operations took, as what they are longer than what is expected."""
    rows = timeline.elements
    return {
        "length": timeline.length,
        "lanes": [list(lane) for lane in timeline.lanes],
        "labels": [list(label) for label in timeline.labels],
        "elements": {
            "lane": _differences(row.lane for row in rows),
            "start": _differences(row.start for row in rows),
            "duration": _differences(row.end - row.start for row in rows),
            "label": _differences(row.label for row in rows),
            "operations": [row.operations - 1 for row in rows],
            "busy": [row.busy - (row.end - row.start) for row in rows],
            "mixed": [int(row.mixed) for row in rows],
        },
        "memory": {
            "time": _differences(point.time for point in timeline.memory),
            "live": _differences(point.live for point in timeline.memory),
        },
        "cell": timeline.cell,
        "sparse": int(timeline.sparse),
    }


def _differences(values: Iterable[int]) -> list[int]:
    return [after - before for before, after in pairwise([0, *values])]


@dataclass(frozen=True)
class _Elements:
    lane: _Numbers
    start: _Numbers
    duration: _Numbers
    label: _Numbers
    operations: _Numbers
    busy: _Numbers
    mixed: tuple[_Flag, ...]


@dataclass(frozen=True)
class _Memory:
    time: _Numbers
    live: _Numbers


@dataclass(frozen=True)
class _Document:
    recording: str
    length: _Time
    lanes: tuple[tuple[LaneKind, _Text], ...]
    labels: tuple[tuple[_Text, _Text], ...]
    elements: _Elements
    memory: _Memory
    cell: _Time
    sparse: _Flag


def _timeline(document: _Document) -> Timeline:
    lanes, labels = document.lanes, document.labels
    columns, memory = document.elements, document.memory
    most = MOST_ELEMENTS + _MOST_DISTINCT
    _limited(sum(MOST_LANES.values()), lanes)
    _limited(most, labels)
    _limited(most, *vars(columns).values())
    _limited(MOST_POINTS, memory.time, memory.live)
    lane, start, duration, label = (
        _column(accumulate(column))
        for column in (columns.lane, columns.start, columns.duration, columns.label)
    )
    end = _column(map(add, start, duration))
    operations = _column((count + 1 for count in columns.operations), least=1)
    busy = _column(map(add, columns.busy, duration))
    mixed = map(bool, columns.mixed)
    elements = tuple(map(Element, lane, start, end, label, operations, busy, mixed))
    if any(row.lane >= len(lanes) or row.label >= len(labels) for row in elements):
        raise ValueError("an element of a lane, or with a label, that is not there")
    if any((a.lane, a.start) > (b.lane, b.start) for a, b in pairwise(elements)):
        raise ValueError("elements that are not in order")
    times = _column(accumulate(memory.time))
    if any(a > b for a, b in pairwise(times)):
        raise ValueError("points of memory that are not in order")
    return Timeline(
        length=document.length,
        lanes=tuple(starmap(Lane, lanes)),
        labels=tuple(starmap(Label, labels)),
        elements=elements,
        memory=tuple(map(Point, times, _column(accumulate(memory.live)))),
        cell=document.cell,
        sparse=bool(document.sparse),
    )


def _limited(most: int, *columns: Sequence[object]) -> None:
    longest = max(map(len, columns))
    if longest > most:
        raise ValueError(f"{longest} values where there are at most {most}")
    if any(len(column) < longest for column in columns):
        raise ValueError("columns that are not equally long")


def _column(values: Iterable[int], least: int = 0) -> list[int]:
    column = list(values)
    if any(not least <= value <= _LARGEST for value in column):
        raise ValueError("a number that is out of range")
    return column
