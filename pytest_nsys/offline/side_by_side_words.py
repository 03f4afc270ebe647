"""What is said of captures or parameters side by side: for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_nsys.offline.pairing import Case, words
from pytest_nsys.offline.side_by_side import Line, SideBySide, Step, sum_known
from pytest_nsys.offline.subjects import Side, Subject, of_capture
from pytest_nsys.support.units import Unit, format_amount, format_change, format_count
from pytest_nsys.verdict.knob import consequences
from pytest_nsys.windows.record import MAIN

_NOTHING = "-"

_COMMIT = 12

_FEW = 4
"""Of more sides than these, the first table is the one to read: not all metrics are listed."""


@dataclass(frozen=True)
class Lead:
    """The first table of a subject: a row per side.

    Attributes:
        title: what it is of.
        rows: the heads of the columns, then a row per side; what it is called stands first.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]


def title(subject: Subject) -> str:
    """The test, the window, and the parameters that all sides have."""
    window = "" if subject.window == MAIN else f" [{subject.window}]"
    shared = common(subject)
    return f"{subject.name}{window}{f', {shared}' if shared else ''}"


def common(subject: Subject) -> str:
    """The parameters that all sides have: ``dtype fp16, size 1024``."""
    return ", ".join(f"{name} {value}" for name, value in subject.parameters.items())


def legend(subject: Subject) -> list[tuple[str, str]]:
    """What the letters stand for where they are no captures."""
    if not subject.varied:
        return []
    sides = enumerate(zip(subject.heads, subject.cases, strict=True))
    return [
        (head, _valued(case, subject.varied) + of_capture(subject, side))
        for side, (head, case) in sides
        if case is not None and words(case, subject.varied) not in head
    ]


def _valued(case: Case, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {case.parameters.get(name, _NOTHING)}" for name in names)


def side_facts(sides: Sequence[Side]) -> list[str]:
    """Where each capture was made, and those versions and commits in which they differ."""
    known = [
        {**side.environment.versions, "commit": side.environment.commit[:_COMMIT]} for side in sides
    ]
    names = dict.fromkeys(name for one in known for name in one)
    differing = [name for name in names if len({one.get(name, "") for one in known}) > 1]
    return [_facts(side, one, differing) for side, one in zip(sides, known, strict=True)]


def _facts(side: Side, versions: Mapping[str, str], names: Sequence[str]) -> str:
    environment = side.environment
    facts = [
        environment.gpu,
        f"driver {environment.driver}" if environment.driver else "",
        f"nsys {environment.nsys}" if environment.nsys else "",
        *(f"{name} {versions[name]}" for name in names if versions.get(name)),
        "" if side.instances is None else f"median of {format_count(side.instances, 'instance')}",
    ]
    return ", ".join(fact for fact in facts if fact)


def alone(shown: Sequence[SideBySide]) -> list[str]:
    """What has nothing to be compared with."""
    return [title(one.subject) for one in shown if one.subject.is_alone]


def sentences(one: SideBySide) -> list[str]:
    """What the steps from the first side to others changed."""
    return [_sentence(one, step) for step in one.steps]


def _sentence(one: SideBySide, step: Step) -> str:
    before, after = one.subject.measured[0], one.subject.measured[step.side]
    if before is None or after is None:
        return step.knob
    if before.gates == after.gates == "server":
        return f"{step.knob}: {consequences(before, after)}"
    said: list[str] = []

    def add(what: str, then: float | None, now: float | None, unit: Unit) -> None:
        if then is not None and now is not None:
            said.append(f"{what} {format_change(then, now, unit)}")

    parts = one.throughputs
    first, other = (parts[0], parts[step.side]) if parts else (None, None)
    if first is not None and other is not None and first.unit == other.unit:
        add(f"{first.unit}s/s", first.rate, other.rate, "1/s")
        add(f"kernel time per {first.unit}", first.kernel_ns, other.kernel_ns, "ns")
    else:
        add("kernel time", before.get("gpu.kernel_time"), after.get("gpu.kernel_time"), "ns")
    busy = [side.get("gpu.busy_pct") for side in (before, after)]
    if None not in busy:
        said.append(f"GPU busy {_percent(busy[0])} -> {_percent(busy[1])}")
    return f"{step.knob}: {', '.join(said)}"


def lead(one: SideBySide) -> Lead | None:
    """The figures that are looked for first; None where the metrics below say as much."""
    subject = one.subject
    head = ", ".join(subject.varied) if not legend(subject) else ""
    if one.throughputs:
        return _throughputs(one, head)
    if not subject.varied:
        return None
    rows = [(head, *(column.head for column in one.columns))]
    for name, figures in zip(subject.heads, one.figures, strict=True):
        amounts = [_amount(figure.current, figure.unit) for figure in figures]
        rows.append((name, *(amounts or [_NOTHING] * len(one.columns))))
    return Lead("figures", tuple(rows))


def _throughputs(one: SideBySide, head: str) -> Lead:
    found = [part for part in one.throughputs if part is not None]
    unit = found[0].unit
    columns = [f"per {unit}", f"{unit}s/s", "limit", "reached", "busy", "TTFT p50", "p95"]
    rows = [
        [_NOTHING] * len(columns)
        if part is None or part.unit != unit
        else [
            _amount(part.kernel_ns, "ns"),
            _rate(part.rate),
            _rate(part.limit),
            _percent(part.reached),
            _percent(part.busy),
            _amount(part.ttft_ns, "ns"),
            _amount(part.latency_ns, "ns"),
        ]
        for part in one.throughputs
    ]
    kept = [
        number
        for number, name in enumerate(columns)
        if name not in ("TTFT p50", "p95") or any(row[number] != _NOTHING for row in rows)
    ]
    named = zip(["", *one.subject.heads], [columns, *rows], strict=True)
    lines = [(name, *(row[number] for number in kept)) for name, row in named]
    lines[0] = (head, *lines[0][1:])
    return Lead(f"kernel time per {unit}, and the {unit}s/s that it allows", tuple(lines))


def _amount(value: float | None, unit: Unit) -> str:
    return _NOTHING if value is None else format_amount(value, unit)


def _rate(value: float | None) -> str:
    return f"{value:,.0f}" if value is not None and value >= 1000 else _amount(value, "1")


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3g}%"


def parts_of(one: SideBySide, top: int) -> Iterator[tuple[str, tuple[Line, ...]]]:
    if one.subject.is_aligned or len(one.subject.heads) <= _FEW:
        yield "metrics", one.metrics
    else:
        asked = tuple(line for line in one.metrics if line.name in one.asked)
        if asked:
            yield "metrics", asked
    if one.categories:
        yield "kernel time by category", one.categories
    if one.kernels:
        named, rest = one.kernels[:top], one.kernels[top:]
        if rest:
            sides = range(len(one.subject.measured))
            sums = [sum_known(line.values[side] for line in rest) for side in sides]
            counts = [sum_known(line.counts[side] for line in rest) for side in sides]
            others = f"{len(rest)} other kernels"
            named += (Line(others, "ns", tuple(sums), tuple(counts)),)
        yield "kernels, the largest first", named


def cells(line: Line) -> list[str]:
    """Per side, the value and its change against the first."""
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
