"""A file of a timeline: packed JSON whose columns are differences; read strictly."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, cast, get_args

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
from pytest_nsys.support.json_values import listing, load, mapping, text_of, whole

SCHEMA = 1

LARGEST_FILE = 4 * 2**20
"""No file is larger; one of the most elements has some ten thousand bytes."""

_LARGEST_TEXT = 16 * 2**20
_LARGEST = 2**53
_MOST_DISTINCT = sum(MOST_LANES.values()) * 64  # lanes and categories are not made fewer


def render(timeline: Timeline, recording: str) -> bytes:
    """The content of a file; the same timeline gives the same bytes.

    Args:
        timeline: the timeline.
        recording: what the baseline is known by that it belongs to.
    """
    document = {"schema": SCHEMA, "recording": recording, **to_json(timeline)}
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    return gzip.compress(text.encode("ascii"), 9, mtime=0)


def parse(data: bytes) -> tuple[Timeline, str]:
    """A timeline and what its baseline is known by; the inverse of `render`.

    Raises:
        KeyError, TypeError, ValueError: the data is something else, or too large.
    """
    document = mapping(load(_unpacked(data)))
    if whole(document["schema"]) != SCHEMA:
        raise ValueError(f"it is of schema {document['schema']}, and not {SCHEMA}")
    return from_json(document), text_of(document["recording"])


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(data, _LARGEST_TEXT)
    except zlib.error as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("it is cut off, too large, or followed by something else")
    return text


def to_json(timeline: Timeline) -> dict[str, Any]:
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


def from_json(data: object) -> Timeline:
    """The inverse of `to_json`.

    Raises:
        KeyError, TypeError, ValueError: the data is something else.
    """
    top = mapping(data)
    lanes = tuple(map(_lane, _few(top["lanes"], sum(MOST_LANES.values()))))
    most = MOST_ELEMENTS + _MOST_DISTINCT
    labels = tuple(map(_label, _few(top["labels"], most)))
    columns = mapping(top["elements"])
    lane, start, duration, label = (
        _sums(columns[name], most) for name in ("lane", "start", "duration", "label")
    )
    operations = _column([count + 1 for count in _numbers(columns["operations"], most)], least=1)
    longer = _numbers(columns["busy"], most)
    busy = _column([sum(pair) for pair in zip(longer, duration, strict=True)])
    end = _column([sum(pair) for pair in zip(start, duration, strict=True)])
    mixed = [_flag(value) for value in _few(columns["mixed"], most)]
    elements = tuple(map(Element, *_equally_long(lane, start, end, label, operations, busy), mixed))
    if len(mixed) != len(lane):
        raise ValueError("columns that are not equally long")
    if any(row.lane >= len(lanes) or row.label >= len(labels) for row in elements):
        raise ValueError("an element of a lane, or with a label, that is not there")
    if any((a.lane, a.start) > (b.lane, b.start) for a, b in pairwise(elements)):
        raise ValueError("elements that are not in order")
    points = mapping(top["memory"])
    memory = [_sums(points[name], MOST_POINTS) for name in ("time", "live")]
    if any(a > b for a, b in pairwise(memory[0])):
        raise ValueError("points of memory that are not in order")
    return Timeline(
        length=_time(top["length"]),
        lanes=lanes,
        labels=labels,
        elements=elements,
        memory=tuple(map(Point, *_equally_long(*memory))),
        cell=_time(top["cell"]),
        sparse=_flag(top["sparse"]),
    )


def _few(value: object, most: int) -> list[Any]:
    found = listing(value)
    if len(found) > most:
        raise ValueError(f"{len(found)} values where there are at most {most}")
    return found


def _pair(value: object) -> tuple[str, str]:
    first, second = map(text_of, _few(value, 2))
    if len(first) > LONGEST_TEXT or len(second) > LONGEST_TEXT:
        raise ValueError("a text that is too long")
    return first, second


def _lane(value: object) -> Lane:
    kind, title = _pair(value)
    if kind not in get_args(LaneKind):
        raise ValueError(f"a lane of the kind {kind!r:.80}")
    return Lane(cast(LaneKind, kind), title)


def _label(value: object) -> Label:
    return Label(*_pair(value))


def _numbers(value: object, most: int) -> list[int]:
    return [whole(number, -_LARGEST) for number in _few(value, most)]


def _sums(value: object, most: int) -> list[int]:
    return _column([*accumulate(_numbers(value, most))])


def _column(values: list[int], least: int = 0) -> list[int]:
    if any(not least <= value <= _LARGEST for value in values):
        raise ValueError("a number that is out of range")
    return values


def _time(value: object) -> int:
    (number,) = _column([whole(value)])
    return number


def _flag(value: object) -> bool:
    if whole(value) not in (0, 1):
        raise ValueError("a flag that is neither 0 nor 1")
    return bool(value)


def _equally_long(*columns: Sequence[int]) -> tuple[Sequence[int], ...]:
    if len({len(column) for column in columns}) > 1:
        raise ValueError("columns that are not equally long")
    return columns
