"""What the HTML page says: a run as formatted strings, which templates only put in their places."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_nsys import __version__
from pytest_nsys.baselines import Change
from pytest_nsys.catalogue import lookup
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.gate.wording import headline, place, reproduce
from pytest_nsys.measurement import Environment, Measurement, WindowMeasurement
from pytest_nsys.quantities import (
    format_amount,
    format_change,
    format_tolerance,
)
from pytest_nsys.report.breakdowns import (
    KINDS,
    NOTHING,
    Origin,
    Row,
    Table,
    part_table,
    shown_amount,
    shown_change,
    take_apart,
)
from pytest_nsys.report.json import compared
from pytest_nsys.report.run import RunReport
from pytest_nsys.windows import MAIN

_GLANCE = "gpu.kernel_time"


@dataclass(frozen=True)
class Badge:
    """A status as symbol, word, and class of a colour, which never stands alone."""

    symbol: str
    word: str
    tone: str


@dataclass(frozen=True)
class MetricRow:
    """One metric of one window; the ranges are those of its samples, where they differ."""

    key: str
    badge: Badge
    then: str
    then_range: str
    now: str
    now_range: str
    change: str
    limit: str
    note: str


@dataclass(frozen=True)
class Window:
    """One window of a test; its title is empty where it is the only one."""

    title: str
    units: str
    open: bool
    gated: tuple[MetricRow, ...]
    shown: tuple[MetricRow, ...]
    origins: tuple[Origin, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Test:
    """One test; ``demands`` are those that do not hold."""

    __test__ = False

    anchor: str
    badge: Badge
    nodeid: str
    headline: str
    plan: str
    notes: tuple[str, ...]
    demands: tuple[tuple[Badge, str], ...]
    windows: tuple[Window, ...]
    compared: bool
    differences: tuple[Row, ...]
    reproduce: str


@dataclass(frozen=True)
class Page:
    """The page; ``differences`` are those between this run and the baselines of its tests."""

    title: str
    mode: str
    counts: tuple[tuple[Badge, str], ...]
    failures: tuple[Test, ...]
    others: tuple[Test, ...]
    unmeasured: tuple[Row, ...]
    differences: tuple[Row, ...]
    written: tuple[Row, ...]
    facts: tuple[Row, ...]
    glossary: tuple[Row, ...]
    footer: str


_BADGES: Mapping[str, Badge] = {
    "ok": Badge("\N{CHECK MARK}", "ok", "good"),
    "improved": Badge("\N{BLACK STAR}", "improved", "good"),
    "new": Badge("+", "new", "info"),
    "inconclusive": Badge("?", "inconclusive", "warn"),
    "incomparable": Badge("\N{NOT EQUAL TO}", "incomparable", "warn"),
    "violated": Badge("\N{BALLOT X}", "violated", "bad"),
    "over budget": Badge("\N{BALLOT X}", "over budget", "bad"),
    "regressed": Badge("\N{BALLOT X}", "regressed", "bad"),
    "unmeasured": Badge("!", "unmeasured", "warn"),
}

_MODES: Mapping[Mode, str] = {
    "idle": "",
    "profile": "Compared with baselines where there are any (--nsys).",
    "gate": "A gate: tests that cannot be compared fail too (--nsys-baseline).",
    "update": "Every measured test was to become its own baseline (--nsys-update).",
    "update-new": "Missing baselines were to be recorded (--nsys-update-new).",
}


def page(run: RunReport) -> Page:
    """Everything the page says about a run; failures come first, the worst of them first."""
    order = sorted(enumerate(run.verdicts, start=1), key=lambda pair: -SEVERITY[pair[1].status])
    counts = run.counts()
    return Page(
        title=_title(run),
        mode=_MODES[run.mode],
        counts=tuple(
            (_BADGES[status], str(counts[status]))
            for status in (*reversed([*SEVERITY]), "unmeasured")
            if counts[status]
        ),
        failures=tuple(_test(verdict, number) for number, verdict in order if verdict.failed),
        others=tuple(_test(verdict, number) for number, verdict in order if not verdict.failed),
        unmeasured=tuple(Row(test.nodeid, now=test.reason) for test in run.unmeasured),
        differences=_common_differences(run.verdicts),
        written=tuple(_written(change) for change in run.changes),
        facts=tuple(_facts(run)),
        glossary=_glossary(run.verdicts),
        footer=f"pytest-nsys {__version__}",
    )


def _title(run: RunReport) -> str:
    failed = sum(verdict.failed for verdict in run.verdicts)
    tests = _tests(len(run.verdicts) + len(run.unmeasured))
    title = f"{failed} of {tests} failed" if failed else f"{tests}, no performance failure"
    return title + (f", {len(run.unmeasured)} not measured" if run.unmeasured else "")


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _test(verdict: Verdict, number: int) -> Test:
    said = headline(verdict)
    metrics = compared(verdict)
    alone = len(metrics) == 1
    return Test(
        anchor=f"test-{number}",
        badge=_BADGES[verdict.status],
        nodeid=verdict.nodeid,
        headline=_glance(metrics) if said == verdict.status else said,
        plan=_plan(verdict),
        notes=tuple(note for note in verdict.notes if said != f"{verdict.status}: {note}"),
        demands=tuple((_BADGES[d.status], place(d.window) + d.text) for d in verdict.demands),
        windows=tuple(_window(verdict, name, parts, alone) for name, parts in metrics.items()),
        compared=verdict.baseline is not None,
        differences=tuple(_differences(verdict)),
        reproduce=reproduce(verdict.nodeid),
    )


def _glance(metrics: Mapping[str, list[Comparison]]) -> str:
    """What to say of a test that has no story."""
    for part in (part for parts in metrics.values() for part in parts):
        if part.metric.key == _GLANCE and part.current is not None:
            now = format_amount(part.current, "ns")
            if part.baseline is None:
                return f"{_GLANCE} {now}"
            change = format_change(part.baseline, part.current, "ns")
            return f"{_GLANCE} {format_amount(part.baseline, 'ns')} -> {now} ({change})"
    return ""


def _plan(verdict: Verdict) -> str:
    device = verdict.measurement.device
    text = f"Measured {_measured(verdict.measurement)}{f' on {device}' if device else ''}."
    if verdict.baseline is not None:
        date = verdict.baseline.environment.date
        text += f" Baseline{f' of {date}' if date else ''}: {_measured(verdict.baseline)}."
    return text


def _measured(measurement: Measurement) -> str:
    sessions = max(
        (len(s) for w in measurement.windows.values() for s in w.samples.values()), default=0
    )
    rounds = f"{measurement.rounds} round{'' if measurement.rounds == 1 else 's'}"
    if measurement.warmup:
        rounds += f" after {measurement.warmup} to warm up"
    return f"{sessions} sessions of {rounds}" if sessions > 1 else rounds


def _window(verdict: Verdict, name: str, parts: list[Comparison], alone: bool) -> Window:
    now = verdict.measurement.windows.get(name)
    then = verdict.baseline.windows.get(name) if verdict.baseline else None
    troubled = {part.window for part in verdict.worse}
    troubled |= {demand.window for demand in verdict.demands}
    troubled |= {part.window for part in verdict.comparisons if part.note}
    units = now.units if now else {}
    return Window(
        title="" if alone else "Test body" if name == MAIN else f"Range: {name}",
        units=", ".join(f"{shown_amount(count, '1')} {unit}(s)" for unit, count in units.items()),
        open=name in troubled or (not troubled and name == MAIN),
        gated=tuple(_metric(verdict, part) for part in parts if _judged(part, then)),
        shown=tuple(_metric(verdict, part) for part in parts if not _judged(part, then)),
        origins=tuple(take_apart(part) for part in parts if part.culprits),
        tables=tuple(table for kind in KINDS for table in part_table(kind, now, then)),
    )


def _judged(part: Comparison, then: WindowMeasurement | None) -> bool:
    """Whether a metric is gated, or would be if there were something to compare it with."""
    return part.gated or (then is None and part.metric.gated)


def _metric(verdict: Verdict, part: Comparison) -> MetricRow:
    unit = part.metric.unit
    return MetricRow(
        key=part.metric.key,
        badge=_BADGES[part.status],
        then=shown_amount(part.baseline, unit),
        then_range=_range(verdict.baseline, part) if part.baseline is not None else "",
        now=shown_amount(part.current, unit),
        now_range=_range(verdict.measurement, part),
        change=shown_change(part.baseline, part.current, unit),
        limit=format_tolerance(part.tolerance, unit) if part.tolerance else NOTHING,
        note="" if part.note in verdict.notes else part.note,
    )


def _range(measurement: Measurement | None, part: Comparison) -> str:
    window = measurement.windows.get(part.window) if measurement else None
    values = window.values(part.metric.key) if window else ()
    ends = [shown_amount(end(values), part.metric.unit) for end in (min, max) if values]
    return " to ".join(ends) if len(set(ends)) > 1 else ""


def _described(environment: Environment) -> dict[str, str]:
    return {
        "GPU": environment.gpu,
        "Driver": environment.driver,
        "CUDA": environment.cuda,
        "nsys": environment.nsys,
        **dict(sorted(environment.versions.items())),
        "Capture options": " ".join(environment.trace),
    }


def _differences(verdict: Verdict) -> Iterator[Row]:
    """What was different when the baseline was recorded, apart from the code under test."""
    if verdict.baseline is None:
        return
    now = _described(verdict.measurement.environment)
    then = _described(verdict.baseline.environment)
    for name in {**now, **then}:
        if now.get(name) != then.get(name):
            yield Row(name, then.get(name) or NOTHING, now.get(name) or NOTHING)


def _common_differences(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    found = Counter(row for verdict in verdicts for row in _differences(verdict))
    return tuple(replace(row, count=_tests(count)) for row, count in found.most_common())


def _written(change: Change) -> Row:
    """A baseline that was written; the change is that of its first window's kernel time."""
    then, now = _kernel_time(change.before), _kernel_time(change.after)
    return Row(
        change.after.nodeid,
        then=shown_amount(then, "ns"),
        now=shown_amount(now, "ns"),
        change=shown_change(then, now, "ns"),
        kind=str(change.path),
        tag="new" if change.before is None else "updated",
    )


def _kernel_time(measurement: Measurement | None) -> float | None:
    for window in measurement.windows.values() if measurement else ():
        values = window.values(_GLANCE)
        return statistics.median(values) if values else None
    return None


def _facts(run: RunReport) -> Iterator[Row]:
    if run.command:
        yield Row("Command", now=run.command)
    if run.verdicts:
        for name, value in _described(run.verdicts[0].measurement.environment).items():
            if value:
                yield Row(name, now=value)
    if run.seconds:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.seconds.items())
        yield Row("Time spent", now=spent)
    if run.kept:
        yield Row("Raw reports kept in", now=Path(run.kept).name)


def _glossary(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    windows = [window for verdict in verdicts for window in verdict.measurement.windows.values()]
    keys = dict.fromkeys(key for window in windows for key in window.samples)
    return tuple(Row(key, now=lookup(key).about) for key in keys)
