"""Captures, or the parameters of tests, side by side: what ``pytest-nsys compare`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_nsys.catalogue import SAID_BY_TESTS, Metric, is_gated, lookup, plain_metrics
from pytest_nsys.measure.measurement import Part, WindowMeasurement
from pytest_nsys.offline.subjects import Compared, Subject, of_capture
from pytest_nsys.offline.throughput import (
    Throughput,
    rate_key,
    throughput,
    told_units,
    units_per_s,
)
from pytest_nsys.report.figures import COLUMNS, STEP_COLUMNS, Column, Figure, figure_of
from pytest_nsys.support.units import Unit
from pytest_nsys.verdict.knob import differing

SCHEMA = 1

_CHOSEN = ("gpu.busy", "gpu.busy_pct", "wall.time")
"""Shown besides what is gated by default."""

_OF_STEPS = tuple(key for column in STEP_COLUMNS for key in column.keys)
"""... and where a server's engine made steps."""


@dataclass(frozen=True)
class Step:
    """From the first side to another: another capture, or a test that differs in one parameter.

    Attributes:
        side: number of the other side.
        knob: what was changed, in words: ``engine vllm -> sglang``, ``with `--enforce-eager```, or
            the names of the sides where that is not known.
    """

    side: int
    knob: str


@dataclass(frozen=True)
class Line:
    """One figure of every side; None where it is not known.

    Attributes:
        name: of a metric, a category or a kernel.
        unit: of the values.
        values: by side.
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
        steps: from the first side to others, as far as these tell something by themselves.
        throughputs: by side; empty where no side says what it processed.
        columns: of the figures.
        figures: by side, the usual figures of such a window; empty where the window is in none.
        metrics: gated and chosen ones, then per unit and units per second.
        asked: keys of metrics that were asked for.
        categories: kernel time by category, the largest first.
        kernels: time by canonical name, the largest first.
    """

    subject: Subject
    steps: tuple[Step, ...]
    throughputs: tuple[Throughput | None, ...]
    columns: tuple[Column, ...]
    figures: tuple[tuple[Figure, ...], ...]
    metrics: tuple[Line, ...]
    asked: tuple[str, ...]
    categories: tuple[Line, ...]
    kernels: tuple[Line, ...]


def side_by_side(subject: Subject, metrics: Sequence[str] = ()) -> SideBySide:
    """The lines of a subject.

    Args:
        subject: what was measured.
        metrics: keys to show besides the gated ones and some others.
    """
    kernels = _kernels(subject.measured)
    measured = [one for one in subject.measured if one]
    columns = COLUMNS[measured[0].gates]
    found = tuple(throughput(one) if one else None for one in subject.measured)
    return SideBySide(
        subject=subject,
        steps=tuple(_steps(subject)),
        throughputs=found if any(found) else (),
        columns=columns,
        figures=tuple(
            tuple(figure_of(column, one) for column in columns) if one else ()
            for one in subject.measured
        ),
        metrics=tuple(_metrics(subject.measured, metrics)),
        asked=tuple(lookup(key).key for key in metrics),
        categories=_categories(kernels, len(subject.measured)),
        kernels=kernels,
    )


def _steps(subject: Subject) -> Iterator[Step]:
    """Where tests stand beside others of one recording, those alone that differ in one parameter
    from the first: of a table of sizes and types, the rest would say nothing of either."""
    first, *others = subject.cases or [None] * len(subject.heads)
    for side, other in enumerate(others, 1):
        if subject.measured[0] is None or subject.measured[side] is None:
            continue
        changed = [
            (name, *(case.parameters.get(name, "-") for case in (first, other)))
            for name in subject.varied
            if first is not None
            and other is not None
            and first.parameters.get(name) != other.parameters.get(name)
        ]
        if len(changed) == 1:
            name, before, after = changed[0]
            # The same step may be told of another capture.
            before, after = before + of_capture(subject, 0), after + of_capture(subject, side)
            yield Step(side, f"{name} {before} -> {after}")
        elif subject.is_aligned:
            named = f"{subject.heads[0]} -> {subject.heads[side]}"
            yield Step(side, _started_otherwise(subject, side) or named)


def _started_otherwise(subject: Subject, side: int) -> str:
    """How a server was started otherwise than that of the first side; "" if that is not known."""
    if not subject.servers or not subject.servers[0] or not subject.servers[side]:
        return ""
    return differing(subject.servers[0], subject.servers[side])


def _metrics(measured: Sequence[WindowMeasurement | None], keys: Sequence[str]) -> Iterator[Line]:
    plain = [one for one in plain_metrics() if is_gated(one) or one.key in _CHOSEN]
    units = dict.fromkeys(unit for one in measured if one for unit in told_units(one))
    rates = {rate_key(unit) for unit in units}  # they have a line of their own below
    gated = (one.key for one in plain if one.key not in rates)
    shown = dict.fromkeys([*gated, *_OF_STEPS, *SAID_BY_TESTS, *keys])
    for metric in map(lookup, shown):
        line = _of(metric, measured)
        # A line of nothing is worth its place only if it was asked for.
        if metric.key in keys or any(line.values):
            yield line
    for unit in units:
        yield _of(lookup(f"gpu.kernel_time.per_{unit}"), measured)
        yield _of(lookup(f"wall.time.per_{unit}"), measured)
        each = [units_per_s(one, unit) if one else None for one in measured]
        if any(each):
            yield Line(f"{unit}s per second", "1", tuple(each), is_rate=True)


def _of(metric: Metric, measured: Sequence[WindowMeasurement | None]) -> Line:
    values = [one.get(metric.key) if one else None for one in measured]
    return Line(metric.key, metric.unit, tuple(values))


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


def side_by_side_document(compared: Compared, shown: Sequence[SideBySide]) -> dict[str, Any]:
    """All lines as JSON values; lists of values have one per side, null where it has none.

    A side is a capture, or, of one recording and where tests are compared by a parameter, a test.

    ::

        {"schema": 1,
         "captures": [{"path", "gpu", "driver", "cuda", "nsys": text,
                       "instances": number | null}],
         "notes": [text, ...],
         "compared": [{"test": text, "window": text, "units": [{name: number} | null, ...],
                       "parameters": {name: text}, "varied": [name, ...],
                       "sides": [{"name": text, "capture": number, "test": text,
                                  "parameters": {name: text}} | null, ...],
                       "throughput": [{"unit": text, "kernel_ns", "rate", "limit", "reached",
                                       "busy", "ttft_ns", "latency_ns": number | null}
                                      | null, ...],
                       "metrics": [{"key", "unit": text, "values": [number | null, ...]}],
                       "categories": [{"name": text, "total_ns": [...]}],
                       "kernels": [{"name", "category": text, "count": [...],
                                    "total_ns": [...]}]}]}

    ``test`` is "" where captures are compared as a whole, and that of a function without its
    parameters where they are ``varied``; ``sides`` and ``throughput`` are empty where there are no
    tests and no units. Values of a range are medians over its instances.
    """
    return {
        "schema": SCHEMA,
        "captures": [
            {
                "path": side.path,
                **{name: getattr(side.environment, name) for name in _FACTS},
                "instances": side.instances,
            }
            for side in compared.sides
        ],
        "notes": [*compared.notes],
        "compared": [
            {
                "test": one.subject.name,
                "window": one.subject.window,
                "units": [dict(part.units) if part else None for part in one.subject.measured],
                "parameters": dict(one.subject.parameters),
                "varied": [*one.subject.varied],
                "sides": [
                    None
                    if case is None
                    else {
                        "name": head,
                        "capture": case.capture,
                        "test": case.nodeid,
                        "parameters": dict(case.parameters),
                    }
                    for head, case in zip(one.subject.heads, one.subject.cases, strict=False)
                ],
                "throughput": [part and asdict(part) for part in one.throughputs],
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
