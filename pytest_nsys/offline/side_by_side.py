"""Several captures side by side: what ``pytest-nsys compare`` shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_nsys.catalogue import CLIENT, Metric, is_gated, lookup, plain_metrics, undivided
from pytest_nsys.errors import NotACapture, QuantityError
from pytest_nsys.measure.measurement import Environment, Measurement, Part, WindowMeasurement
from pytest_nsys.offline.measured import measured_capture, measured_tests
from pytest_nsys.storage.recordings.stored import has_tests
from pytest_nsys.support.units import Unit, parse_amount
from pytest_nsys.windows.ranges import EVERYTHING, Selection

SCHEMA = 1

_CHOSEN = ("gpu.busy", "gpu.busy_pct", "wall.time")
"""Shown besides what is gated by default."""

_S = 1e9
_UNIT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Units = Mapping[str, Sequence[float]]
"""Per unit, its count in each capture."""


@dataclass(frozen=True)
class Subject:
    """What is compared: a test's window, or captures (or a range of them) as a whole.

    Attributes:
        name: the test; "" for a whole capture.
        window: name of the window.
        measured: by capture; None where it is not in one.
    """

    name: str
    window: str
    measured: tuple[WindowMeasurement | None, ...]


@dataclass(frozen=True)
class Side:
    """One capture.

    Attributes:
        path: as it was given.
        environment: where it was made.
        instances: how many instances of the range there are; None where none is named.
    """

    path: str
    environment: Environment
    instances: int | None = None


@dataclass(frozen=True)
class Line:
    """One figure of every capture; None where it is not known.

    Attributes:
        name: of a metric, a category or a kernel.
        unit: of the values.
        values: by capture.
        counts: how often it ran, of kernels.
        category: class of a kernel.
        is_rate: whether its change is a share, although it has no unit.
    """

    name: str
    unit: Unit
    values: tuple[float | None, ...]
    counts: tuple[float | None, ...] = ()
    category: str = ""
    is_rate: bool = False


@dataclass(frozen=True)
class SideBySide:
    """The lines of a subject.

    Attributes:
        subject: what they are of.
        metrics: gated and chosen ones, then per unit and units per second.
        categories: kernel time by category, the largest first.
        kernels: time by canonical name, the largest first.
    """

    subject: Subject
    metrics: tuple[Line, ...]
    categories: tuple[Line, ...]
    kernels: tuple[Line, ...]


def read_units(lines: Sequence[str], captures: int) -> Units:
    """What ``--per`` says: ``token=256`` or ``token=256,512,1024``; units are singular.

    Raises:
        QuantityError: it cannot be read, or has neither one count nor one for each capture.
    """
    found: dict[str, list[float]] = {}
    for line in lines:
        name, equals, text = line.partition("=")
        counts = [parse_amount(part, "1") for part in text.split(",")] if equals else []
        if not _UNIT.fullmatch(name) or not counts or not all(counts):
            raise QuantityError(
                f"--per is {line!r:.80}",
                remedy="write UNIT=COUNT, such as token=256, with counts above zero",
            )
        if len(counts) not in (1, captures):
            raise QuantityError(
                f"--per {line!r:.80} has {len(counts)} counts for {captures} captures",
                remedy="give one count for all captures, or one for each",
            )
        unit = name.removesuffix("s") or name
        found[unit] = counts if len(counts) == captures else counts * captures
    return found


def measure_sides(
    paths: Sequence[Path],
    *,
    selection: Selection = EVERYTHING,
    units: Units | None = None,
    metrics: Collection[str] = (),
    executable: str | None = None,
) -> tuple[list[Side], list[Subject]]:
    """The captures, and what there is to compare of them.

    Recordings of tests are compared test by test and window by window; anything else as whole
    captures, and NVTX ranges by what one instance takes.

    Args:
        paths: the captures.
        selection: what of them.
        units: what each capture processed, in the place of what its tests declared.
        metrics: keys to measure besides the plain ones.
        executable: the nsys that exports reports.

    Raises:
        NsysError: one of them cannot be read, has nothing to compare, or lacks what is selected.
    """
    extra = {undivided(lookup(key).key) for key in metrics}
    by_test = selection.is_everything and all(map(has_tests, paths))
    measured = [
        measured_tests(path, extra)
        if by_test
        else {"": measured_capture(path, selection, extra, executable)}
        for path in paths
    ]
    sides = [
        _side(path, next(iter(tests.values())), selection)
        for path, tests in zip(paths, measured, strict=True)
        if tests
    ]
    if len(sides) < len(paths):
        empty = [str(path) for path, tests in zip(paths, measured, strict=True) if not tests]
        raise NotACapture(
            f"{empty[0]} holds no measured test", remedy="record tests that pass, and compare them"
        )
    places = dict.fromkeys(
        (nodeid, window)
        for tests in measured
        for nodeid, test in tests.items()
        for window in test.windows
    )
    subjects = [
        Subject(
            nodeid,
            window,
            tuple(
                _with_units(_window(tests, nodeid, window), units or {}, side)
                for side, tests in enumerate(measured)
            ),
        )
        for nodeid, window in places
    ]
    return sides, subjects


def _side(path: Path, measured: Measurement, selection: Selection) -> Side:
    instances = None if selection.range is None else measured.rounds
    return Side(str(path), measured.environment, instances)


def _window(tests: Mapping[str, Measurement], nodeid: str, window: str) -> WindowMeasurement | None:
    return tests[nodeid].windows.get(window) if nodeid in tests else None


def _with_units(
    window: WindowMeasurement | None, units: Units, side: int
) -> WindowMeasurement | None:
    if window is None:
        return None
    given = {name: counts[side] for name, counts in units.items()}
    return replace(window, units={**window.units, **given})


def side_by_side(subject: Subject, metrics: Sequence[str] = ()) -> SideBySide:
    """The lines of a subject.

    Args:
        subject: what was measured.
        metrics: keys to show besides the gated ones and some others.
    """
    kernels = _kernels(subject.measured)
    return SideBySide(
        subject=subject,
        metrics=tuple(_metrics(subject.measured, metrics)),
        categories=_categories(kernels, len(subject.measured)),
        kernels=kernels,
    )


def _metrics(measured: Sequence[WindowMeasurement | None], keys: Sequence[str]) -> Iterator[Line]:
    plain = [one for one in plain_metrics() if is_gated(one) or one.key in _CHOSEN]
    units = dict.fromkeys(unit for one in measured if one for unit in one.units)
    rates = {_rate_key(unit) for unit in units}  # they have a line of their own below
    shown = dict.fromkeys([*(one.key for one in plain if one.key not in rates), *keys])
    for metric in map(lookup, shown):
        line = _of(metric, measured)
        # A line of nothing is worth its place only if it was asked for.
        if metric.key in keys or any(line.values):
            yield line
    for unit in units:
        yield _of(lookup(f"gpu.kernel_time.per_{unit}"), measured)
        yield _of(lookup(f"wall.time.per_{unit}"), measured)
        each = [_rate(one, unit) if one else None for one in measured]
        yield Line(f"{unit}s per second", "1", tuple(each), is_rate=True)


def _of(metric: Metric, measured: Sequence[WindowMeasurement | None]) -> Line:
    values = [one.get(metric.key) if one else None for one in measured]
    return Line(metric.key, metric.unit, tuple(values))


def _value(window: WindowMeasurement, key: str) -> float | None:
    return window[key] if window.values(key) else None


def _rate_key(unit: str) -> str:
    return f"{CLIENT}{unit}s_per_s"


def _rate(window: WindowMeasurement, unit: str) -> float | None:
    """Units a second as a client saw it, or by the time of the window."""
    key = _rate_key(unit)
    seen = window.get(key) if key in window.samples else None
    wall = window.get("wall.time")
    if seen is not None or not wall or unit not in window.units:
        return seen
    return window.units[unit] * _S / wall


def _kernels(measured: Sequence[WindowMeasurement | None]) -> tuple[Line, ...]:
    sides = [
        None if one is None else {part.label: part for part in one.kernels} for one in measured
    ]
    labels = dict.fromkeys(label for side in sides if side for label in side)

    def each(label: str, amount: Callable[[Part], float]) -> tuple[float | None, ...]:
        found = [None if side is None else side.get(label) for side in sides]
        zeros = [None if side is None else 0.0 for side in sides]
        return tuple(amount(p) if p else z for p, z in zip(found, zeros, strict=True))

    lines = [
        Line(
            name=label,
            unit="ns",
            values=each(label, lambda part: part.ns),
            counts=each(label, lambda part: part.count),
            category=next(side[label].category for side in sides if side and label in side),
        )
        for label in labels
    ]
    return tuple(sorted(lines, key=_largest_first))


def _categories(kernels: Sequence[Line], sides: int) -> tuple[Line, ...]:
    found = []
    for category in dict.fromkeys(line.category for line in kernels):
        lines = [line for line in kernels if line.category == category]
        sums = [sum_known(line.values[side] for line in lines) for side in range(sides)]
        found.append(Line(category, "ns", tuple(sums)))
    return tuple(sorted(found, key=_largest_first))


def sum_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _largest_first(line: Line) -> tuple[float, str]:
    return -max(value or 0.0 for value in line.values), line.name


def side_by_side_document(sides: Sequence[Side], shown: Sequence[SideBySide]) -> dict[str, Any]:
    """All lines as JSON values; lists of values have one per capture, null where it has none.

    ::

        {"schema": 1,
         "captures": [{"path", "gpu", "driver", "cuda", "nsys": text,
                       "instances": number | null}],
         "compared": [{"test": text, "window": text, "units": [{name: number} | null, ...],
                       "metrics": [{"key", "unit": text, "values": [number | null, ...]}],
                       "categories": [{"name": text, "total_ns": [...]}],
                       "kernels": [{"name", "category": text, "count": [...],
                                    "total_ns": [...]}]}]}

    ``test`` is "" where captures are compared as a whole; values of a range are medians over its
    instances.
    """
    return {
        "schema": SCHEMA,
        "captures": [
            {
                "path": side.path,
                **{name: getattr(side.environment, name) for name in _FACTS},
                "instances": side.instances,
            }
            for side in sides
        ],
        "compared": [
            {
                "test": one.subject.name,
                "window": one.subject.window,
                "units": [dict(part.units) if part else None for part in one.subject.measured],
                "metrics": [
                    {"key": line.name, "unit": line.unit, "values": [*line.values]}
                    for line in one.metrics
                ],
                "categories": [
                    {"name": line.name, "total_ns": [*line.values]} for line in one.categories
                ],
                "kernels": [
                    {
                        "name": line.name,
                        "category": line.category,
                        "count": [*line.counts],
                        "total_ns": [*line.values],
                    }
                    for line in one.kernels
                ],
            }
            for one in shown
        ],
    }


_FACTS = ("gpu", "driver", "cuda", "nsys")
