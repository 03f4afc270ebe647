"""Several captures side by side: what ``pytest-nsys compare`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from string import ascii_uppercase
from typing import Any

from pytest_nsys.catalogue import CLIENT, Metric, is_gated, lookup, plain_metrics
from pytest_nsys.measure.measurement import Environment, Part, WindowMeasurement
from pytest_nsys.support.text import WIDTH, code, markdown_row, table
from pytest_nsys.support.units import Unit, format_amount, format_change
from pytest_nsys.verdict.wording import shorten
from pytest_nsys.windows.record import MAIN

SCHEMA = 1

_CHOSEN = ("gpu.busy", "gpu.busy_pct", "wall.time")
"""Shown besides what is gated by default."""

_LABEL = 30
"""A longer name has a line of its own above its figures."""

_S = 1e9


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
    """

    path: str
    environment: Environment


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
class Compared:
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


def compare_side_by_side(subject: Subject, metrics: Sequence[str] = ()) -> Compared:
    """The lines of a subject.

    Args:
        subject: what was measured.
        metrics: keys to show besides the gated ones and some others.
    """
    kernels = _kernels(subject.measured)
    return Compared(
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
    values = [_value(one, metric.key) if one else None for one in measured]
    return Line(metric.key, metric.unit, tuple(values))


def _value(window: WindowMeasurement, key: str) -> float | None:
    return window[key] if window.values(key) else None


def _rate_key(unit: str) -> str:
    return f"{CLIENT}{unit}s_per_s"


def _rate(window: WindowMeasurement, unit: str) -> float | None:
    """Units a second as a client saw it, or by the time of the window."""
    seen = _value(window, _rate_key(unit))
    wall = _value(window, "wall.time")
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
        sums = [_sum(line.values[side] for line in lines) for side in range(sides)]
        found.append(Line(category, "ns", tuple(sums)))
    return tuple(sorted(found, key=_largest_first))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _largest_first(line: Line) -> tuple[float, str]:
    return -max(value or 0.0 for value in line.values), line.name


def letters(number: int) -> list[str]:
    """``A``, ``B``, ... ``Z``, ``AA``, ...: what captures are called in a table."""
    names = ("".join(one) for size in count(1) for one in product(ascii_uppercase, repeat=size))
    return [next(names) for _ in range(number)]


# As text


def compare_lines(sides: Sequence[Side], compared: Sequence[Compared], top: int) -> list[str]:
    """Tables of at most 80 columns: as many of them as the captures need.

    Args:
        sides: the captures.
        compared: what to show of them.
        top: how many kernels to name.
    """
    lines = list(_legend(sides))
    for one in compared:
        if one.subject.name:
            window = "" if one.subject.window == MAIN else f" [{one.subject.window}]"
            lines += ["", f"{one.subject.name}{window}"]
        for title, part in _parts(one, top):
            lines += ["", f"{title}:", *_tables(part, len(sides))]
    return lines


def _legend(sides: Sequence[Side]) -> Iterator[str]:
    for letter, side in zip(letters(len(sides)), sides, strict=True):
        environment = side.environment
        facts = [
            environment.gpu,
            f"driver {environment.driver}" if environment.driver else "",
            f"nsys {environment.nsys}" if environment.nsys else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        yield f"{letter}  {side.path}"
        if known:
            yield f"   {known}"


def _parts(one: Compared, top: int) -> Iterator[tuple[str, tuple[Line, ...]]]:
    yield "metrics", one.metrics
    if one.categories:
        yield "kernel time by category", one.categories
    if one.kernels:
        named, rest = one.kernels[:top], one.kernels[top:]
        if rest:
            sides = range(len(one.subject.measured))
            sums = [_sum(line.values[side] for line in rest) for side in sides]
            counts = [_sum(line.counts[side] for line in rest) for side in sides]
            others = f"{len(rest)} other kernels"
            named += (Line(others, "ns", tuple(sums), tuple(counts)),)
        yield "kernels, the largest first", named


def _cells(line: Line) -> list[str]:
    """Per capture, the value and its change against the first."""
    first = line.values[0]
    return [_cell(line, side, first if side else None) for side in range(len(line.values))]


def _cell(line: Line, side: int, first: float | None) -> str:
    value = line.values[side]
    if value is None:
        return "-"
    if line.counts and not line.counts[side]:
        return "none"
    often = f"{line.counts[side]:g}x " if line.counts else ""
    shown = often + format_amount(value, line.unit)
    if first is None:
        return shown
    return f"{shown} {format_change(first, value, 'ns' if line.is_rate else line.unit)}"


def _tables(lines: Sequence[Line], sides: int) -> Iterator[str]:
    """The first capture and as many others as fit, then it and further ones, until all were."""
    names = letters(sides)
    cells = [_cells(line) for line in lines]
    widths = [max(len(row[side]) for row in [names, *cells]) for side in range(sides)]
    label = min(_LABEL, max((len(line.name) for line in lines), default=0))
    others = list(range(1, sides))
    while True:
        chosen, room = [0], WIDTH - 2 - label - 2 - widths[0]
        while others and (len(chosen) == 1 or widths[others[0]] + 2 <= room):
            room -= widths[others[0]] + 2
            chosen.append(others.pop(0))
        rows = [["", *(names[side] for side in chosen), ""]]
        for line, row in zip(lines, cells, strict=True):
            name = shorten(line.name)
            rows.append([name if len(name) <= label else "", *(row[n] for n in chosen), ""])
        shown = table(
            [[cell.ljust(label) if n == 0 else cell for n, cell in enumerate(row)] for row in rows]
        )
        yield shown[0]
        for line, figures in zip(lines, shown[1:], strict=True):
            name = shorten(line.name)
            if len(name) > label:
                yield f"  {name}"
            yield figures
        if not others:
            return
        yield ""


# As Markdown


def compare_markdown(sides: Sequence[Side], compared: Sequence[Compared], top: int) -> str:
    """The same as tables of Markdown, each with all captures."""
    lines = [f"- {letter}: {code(side.path)}" for letter, side in _lettered(sides)]
    for one in compared:
        if one.subject.name:
            window = "" if one.subject.window == MAIN else f" {code(one.subject.window)}"
            lines += ["", f"### {code(one.subject.name)}{window}"]
        for title, part in _parts(one, top):
            lines += ["", markdown_row([title, *letters(len(sides))])]
            lines.append("| :--- |" + " ---: |" * len(sides))
            lines += [markdown_row([code(line.name), *_cells(line)]) for line in part]
    return "\n".join(lines) + "\n"


def _lettered(sides: Sequence[Side]) -> Iterator[tuple[str, Side]]:
    return zip(letters(len(sides)), sides, strict=True)


# As JSON


def compare_document(sides: Sequence[Side], compared: Sequence[Compared]) -> dict[str, Any]:
    """All lines as JSON values; lists of values have one per capture, null where it has none.

    ::

        {"schema": 1,
         "captures": [{"path", "gpu", "driver", "cuda", "nsys": text}],
         "compared": [{"test": text, "window": text, "units": [{name: number} | null, ...],
                       "metrics": [{"key", "unit": text, "values": [number | null, ...]}],
                       "categories": [{"name": text, "total_ns": [...]}],
                       "kernels": [{"name", "category": text, "count": [...],
                                    "total_ns": [...]}]}]}

    ``test`` is "" where captures are compared as a whole.
    """
    return {
        "schema": SCHEMA,
        "captures": [
            {
                "path": side.path,
                **{name: getattr(side.environment, name) for name in _FACTS},
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
            for one in compared
        ],
    }


_FACTS = ("gpu", "driver", "cuda", "nsys")
