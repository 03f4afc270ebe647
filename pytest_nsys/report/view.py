"""What the HTML page says: a run as formatted strings, which templates only put in their places."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_nsys import __version__
from pytest_nsys.baselines import Change
from pytest_nsys.catalogue import Breakdown, lookup
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.gate.wording import headline, place, reproduce
from pytest_nsys.measurement import Environment, Measurement, Part, Parts, WindowMeasurement
from pytest_nsys.quantities import (
    Unit,
    format_amount,
    format_change,
    format_tolerance,
    parse_amount,
)
from pytest_nsys.report.json import compared, pairs
from pytest_nsys.report.run import RunReport
from pytest_nsys.windows import MAIN

NOTHING = "\N{EN DASH}"

_GLANCE = "gpu.kernel_time"
_ORIGINS = 10
_PARTS = 12
_REMAINDER = "remainder (medians of parts need not add up to the median of the whole)"


@dataclass(frozen=True)
class Badge:
    """A status as symbol, word, and class of a colour, which never stands alone."""

    symbol: str
    word: str
    tone: str


@dataclass(frozen=True)
class Row:
    """One line of a table; what a table has no column for stays empty."""

    name: str
    then: str = ""
    now: str = ""
    change: str = ""
    count: str = ""
    kind: str = ""
    tag: str = ""


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
class Origin:
    """Where the change of a metric comes from: rows and rest add up to the total."""

    metric: str
    rows: tuple[Row, ...]
    rest: tuple[Row, ...]
    then: str
    now: str
    total: str


@dataclass(frozen=True)
class Table:
    """One breakdown of a window; ``more`` is what is folded."""

    title: str
    glance: str
    item: str
    amount: str
    compared: bool
    has_kinds: bool
    open: bool
    rows: tuple[Row, ...]
    more: tuple[Row, ...]


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


@dataclass(frozen=True)
class _Kind:
    """A breakdown and its words: title, what a line is, and what its amount is."""

    key: Breakdown
    title: str
    item: str
    amount: str
    unit: Unit


_KINDS = (
    _Kind("kernels", "Kernels", "Kernel", "time", "ns"),
    _Kind("copies", "Copies", "Copy", "bytes", "B"),
    _Kind("syncs", "Blocking calls", "Call", "host time", "ns"),
    _Kind("allocations", "Allocations live at the memory peak", "Size", "bytes", "B"),
    _Kind("memsets", "Memory sets", "Memory set", "bytes", "B"),
    _Kind("calls", "CUDA API calls", "Call", "host time", "ns"),
)

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
            for status in (*reversed(SEVERITY), "unmeasured")
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
    troubled = {part.window for part in (*verdict.worse, *verdict.demands)}
    troubled |= {part.window for part in verdict.comparisons if part.note}
    units = now.units if now else {}
    return Window(
        title="" if alone else "Test body" if name == MAIN else f"Range: {name}",
        units=", ".join(f"{_amount(count, '1')} {unit}(s)" for unit, count in units.items()),
        open=name in troubled or (not troubled and name == MAIN),
        gated=tuple(_metric(verdict, part) for part in parts if _judged(part, then)),
        shown=tuple(_metric(verdict, part) for part in parts if not _judged(part, then)),
        origins=tuple(_origin(part) for part in parts if part.culprits),
        tables=tuple(table for kind in _KINDS for table in _table(kind, now, then)),
    )


def _judged(part: Comparison, then: WindowMeasurement | None) -> bool:
    """Whether a metric is gated, or would be if there were something to compare it with."""
    return part.gated or (then is None and part.metric.gated)


def _metric(verdict: Verdict, part: Comparison) -> MetricRow:
    unit = part.metric.unit
    return MetricRow(
        key=part.metric.key,
        badge=_BADGES[part.status],
        then=_amount(part.baseline, unit),
        then_range=_range(verdict.baseline, part) if part.baseline is not None else "",
        now=_amount(part.current, unit),
        now_range=_range(verdict.measurement, part),
        change=_change(part.baseline, part.current, unit),
        limit=format_tolerance(part.tolerance, unit) if part.tolerance else NOTHING,
        note="" if part.note in verdict.notes else part.note,
    )


def _range(measurement: Measurement | None, part: Comparison) -> str:
    window = measurement.windows.get(part.window) if measurement else None
    values = window.values(part.metric.key) if window else ()
    ends = [_amount(end(values), part.metric.unit) for end in (min, max) if values]
    return " to ".join(ends) if len(set(ends)) > 1 else ""


@dataclass(frozen=True)
class _Scale:
    """A unit and a number of decimals; amounts are whole numbers of its smallest step."""

    factor: float
    unit: str
    decimals: int

    @classmethod
    def of(cls, amount: float, unit: Unit, all_amounts: Sequence[float]) -> _Scale:
        """The scale in which `format_amount` shows the amount: four digits, fewer if they do."""
        name = format_amount(abs(amount), unit).partition(" ")[2]
        factor = parse_amount(f"1 {name}", unit) if name else 1.0
        scaled = abs(amount) / factor
        most = max(0, 3 - math.floor(math.log10(scaled))) if scaled else 0
        scales = [cls(factor, name, decimals) for decimals in range(most + 1)]
        exact = (s for s in scales if all(map(s.holds, all_amounts)))
        return next(exact, scales[-1])

    def holds(self, amount: float) -> bool:
        """Whether the amount is shown without any rounding."""
        return (amount / self.factor * 10**self.decimals).is_integer()

    def steps(self, amount: float) -> int:
        return round(amount / self.factor * 10**self.decimals)

    def signed(self, steps: int) -> str:
        return f"{steps / 10**self.decimals:+.{self.decimals}f} {self.unit}".rstrip()


def _origin(part: Comparison) -> Origin:
    """A change taken apart, in one unit with one precision so that what is shown adds up."""
    unit = part.metric.unit
    total = (part.current or 0.0) - (part.baseline or 0.0)
    scale = _Scale.of(total, unit, [total, *(culprit.change for culprit in part.culprits)])
    largest = sorted(part.culprits, key=lambda culprit: -abs(culprit.change))
    kept = {
        culprit.label
        for rank, culprit in enumerate(largest[:_ORIGINS])
        if scale.steps(culprit.change) and (rank < 3 or abs(culprit.change) >= abs(total) / 100)
    }
    named = [culprit for culprit in part.culprits if culprit.label in kept]

    def share(steps: int) -> str:
        return f"{steps / scale.steps(total):.0%}" if scale.steps(total) else NOTHING

    left = scale.steps(total) - sum(scale.steps(culprit.change) for culprit in named)
    others = len(part.culprits) - len(named)
    missing = scale.steps(total - sum(culprit.change for culprit in part.culprits))
    rest = [f"{others} smaller"] if others else []
    rest += [_REMAINDER] if missing else [] if others else ["rounding"]
    last = Row(" and ".join(rest), change=scale.signed(left), count=share(left))
    return Origin(
        metric=part.metric.key,
        rows=tuple(
            Row(
                culprit.label,
                then=_part_amount(culprit.baseline, unit),
                now=_part_amount(culprit.current, unit),
                change=scale.signed(scale.steps(culprit.change)),
                count=share(scale.steps(culprit.change)),
                tag=_tag(culprit.baseline, culprit.current),
            )
            for culprit in named
        ),
        rest=(last,) if left or others else (),
        then=_amount(part.baseline, unit),
        now=_amount(part.current, unit),
        total=scale.signed(scale.steps(total)),
    )


def _part_amount(part: Part | None, unit: Unit) -> str:
    if part is None:
        return NOTHING
    count = _amount(part.count, "1")
    return count if unit == "1" else f"{_amount(_size(part, unit), unit)} ({count}x)"


def _tag(then: Part | None, now: Part | None) -> str:
    return "new" if then is None else "gone" if now is None else ""


def _table(
    kind: _Kind, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> Iterator[Table]:
    """The table of a breakdown, if it has any line, the largest change first."""
    before, after = (w.breakdown.get(kind.key, Parts()).parts if w else () for w in (then, now))
    found = pairs(after, before)
    if not found:
        return
    both = now is not None and then is not None
    if both:
        found.sort(key=lambda line: -abs(_size(line[2], kind.unit) - _size(line[1], kind.unit)))
    rows = tuple(_part(kind, *line, both) for line in found)
    tags = (row.tag or ("with a changed count" if " -> " in row.count else "") for row in rows)
    words = Counter(filter(None, tags))
    yield Table(
        title=kind.title,
        glance=", ".join([str(len(rows)), *(f"{count} {word}" for word, count in words.items())]),
        item=kind.item,
        amount=kind.amount,
        compared=both,
        has_kinds=any(row.kind for row in rows),
        open=kind.key == "kernels" or (bool(words) and kind.key != "calls"),
        rows=rows[:_PARTS],
        more=rows[_PARTS:],
    )


def _part(kind: _Kind, label: str, then: Part | None, now: Part | None, both: bool) -> Row:
    before, after = (_amount(part.count if part else 0.0, "1") for part in (then, now))
    category = "".join([part.category for part in (now, then) if part][:1])
    sizes = _size(then, kind.unit), _size(now, kind.unit)
    if not both:
        count, size = (before, sizes[0]) if now is None else (after, sizes[1])
        return Row(label, now=_amount(size, kind.unit), count=count, kind=category)
    return Row(
        label,
        then=NOTHING if then is None else _amount(sizes[0], kind.unit),
        now=NOTHING if now is None else _amount(sizes[1], kind.unit),
        change=_change(*sizes, kind.unit),
        count=after if before == after else f"{before} -> {after}",
        kind=category,
        tag=_tag(then, now),
    )


def _size(part: Part | None, unit: Unit) -> float:
    if part is None:
        return 0.0
    return part.bytes if unit == "B" else part.ns


def _amount(value: float | None, unit: Unit) -> str:
    return NOTHING if value is None or not math.isfinite(value) else format_amount(value, unit)


def _change(then: float | None, now: float | None, unit: Unit) -> str:
    """The change in the unit, and as a fraction where that says something."""
    if then is None or now is None or not math.isfinite(now - then):
        return NOTHING
    change = format_change(then, now, unit)
    if unit in ("1", "%") or not then or now == then:
        return change
    return f"{'+' if now > then else '-'}{format_amount(abs(now - then), unit)} ({change})"


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
    medians = [_kernel_time(measurement) for measurement in (change.before, change.after)]
    return Row(
        change.after.nodeid,
        then=_amount(medians[0], "ns"),
        now=_amount(medians[1], "ns"),
        change=_change(*medians, "ns"),
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
        yield Row("Raw reports kept in", now=run.kept)


def _glossary(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    windows = [window for verdict in verdicts for window in verdict.measurement.windows.values()]
    keys = dict.fromkeys(key for window in windows for key in window.samples)
    return tuple(Row(key, now=lookup(key).about) for key in keys)
