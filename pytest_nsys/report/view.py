"""What the HTML page says: a run as formatted strings, which templates only put in their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from pytest_nsys import __version__
from pytest_nsys.baselines import Change
from pytest_nsys.catalogue import default_tolerance, lookup
from pytest_nsys.config.options import Mode
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Verdict
from pytest_nsys.gate.wording import (
    accept,
    describe_contribution,
    format_limit,
    headline,
    place,
    reproduce,
)
from pytest_nsys.measurement import Environment, Measurement, Sessions, WindowMeasurement
from pytest_nsys.quantities import Unit, format_amount, format_change
from pytest_nsys.report.breakdowns import (
    KINDS,
    NOTHING,
    Origin,
    Row,
    Table,
    part_table,
    shown_amount,
    shown_change,
    sortable,
    take_apart,
)
from pytest_nsys.report.cascade import KERNEL_TIME, Cascade, draw_cascade
from pytest_nsys.report.json import compared
from pytest_nsys.report.run import RunReport
from pytest_nsys.report.strip import Strip, draw_strip
from pytest_nsys.report.timeline_svg import timeline_notes, timeline_svg
from pytest_nsys.windows import MAIN

FULL = 40
"""Runs of up to so many tests are shown in full."""

FULL_FAILURES = 20
"""Of larger runs so many tests that failed, the worst first; of the others what is gated."""

_STATE = ("gpu.sm_clock", "gpu.memory_clock", "gpu.temperature", "gpu.power")
_DIRECTIONS = {
    "h2d": "Host to device",
    "d2h": "Device to host",
    "d2d": "Device to device",
    "p2p": "GPU to GPU",
}
_SAME = "GPU, driver, versions and capture options are those of the baseline."
_DRAWN = 5_000
_DRAWN_FAILED = 800
_DRAWN_OTHER = 150
_NAMED = 3


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
    strip: Strip | None = None


@dataclass(frozen=True)
class Transfer:
    """The copies of one direction, in a round."""

    name: str
    count: str
    bytes: str
    time: str
    changed: bool


@dataclass(frozen=True)
class Window:
    """One window of a test; its title is empty where that is the body alone."""

    title: str
    units: str
    open: bool
    said: str
    badge: Badge
    gated: tuple[MetricRow, ...]
    unchanged: str
    shown: tuple[MetricRow, ...]
    state: tuple[MetricRow, ...]
    cascade: Cascade | None
    origins: tuple[Origin, ...]
    transfers: tuple[Transfer, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Finding:
    """A bottleneck of the test's body, or of the window that its name says."""

    name: str
    share: str
    summary: str
    evidence: tuple[str, ...]
    advice: str


@dataclass(frozen=True)
class Drawing:
    """The GPU timelines of a round, the baseline's above the current one, and what to know."""

    svg: Markup
    notes: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class Test:
    """One test; ``demands`` are those that do not hold; a brief one has only what is gated."""

    __test__ = False

    anchor: str
    badge: Badge
    nodeid: str
    headline: str
    brief: bool
    plan: str
    notes: tuple[str, ...]
    demands: tuple[tuple[Badge, str], ...]
    windows: tuple[Window, ...]
    drawing: Drawing | None
    findings: tuple[Finding, ...]
    open: bool
    same_environment: str
    differences: tuple[Row, ...]
    reproduce: str
    accept: str


@dataclass(frozen=True)
class Overview:
    """A test in the table of all; ``value`` is the relative change of its kernel time."""

    anchor: str
    badge: Badge
    nodeid: str
    then: str
    then_ns: str
    now: str
    now_ns: str
    change: str
    value: str
    severity: int
    worse: str


@dataclass(frozen=True)
class Stored:
    """What was compared, where it is not a run of tests but two stored captures.

    Attributes:
        before: name of the older one.
        after: name of the newer one.
        command: the command that compares them.
        only_before: tests that only the older one has.
        only_after: tests that only the newer one has.
    """

    before: str
    after: str
    command: str
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The page; ``differences`` are those between this run and the baselines of its tests."""

    title: str
    mode: str
    brief: str
    notes: tuple[str, ...]
    counts: tuple[tuple[Badge, str], ...]
    tests: tuple[Overview, ...]
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
    "expected": Badge("~", "expected", "info"),
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


def page(run: RunReport, stored: Stored | None = None) -> Page:
    """Everything the page says about a run; failures come first, the worst of them first.

    Args:
        run: the run, or the verdicts on two stored captures.
        stored: what these are, if so.
    """
    order = sorted(
        enumerate(run.verdicts, start=1),
        key=lambda pair: (not pair[1].failed, -SEVERITY[pair[1].status]),
    )
    failed = sum(verdict.failed for verdict in run.verdicts)
    tests = []
    whole = len(order) if len(order) <= FULL else min(failed, FULL_FAILURES)
    for rank, (number, verdict) in enumerate(order):
        full = rank < whole
        most = _most_drawn(verdict, min(failed, whole), whole) if full else 0
        tests.append(_test(verdict, number, full=full, most=most, stored=stored))
    counts = run.counts()
    return Page(
        title=_title(run, stored),
        mode=_subject(run, stored),
        brief=_brief(len(tests), whole),
        notes=(*run.notes, *_apart(stored)),
        counts=tuple(
            (_BADGES[status], str(counts[status]))
            for status in (*reversed([*SEVERITY]), "unmeasured")
            if counts[status]
        ),
        tests=tuple(_overview(verdict, number) for number, verdict in order),
        failures=tuple(tests[:failed]),
        others=tuple(tests[failed:]),
        unmeasured=tuple(Row(test.nodeid, now=test.reason) for test in run.unmeasured),
        differences=_common_differences(run.verdicts),
        written=tuple(_written(change) for change in run.changes),
        facts=tuple(_facts(run)),
        glossary=_glossary(run.verdicts),
        footer=f"pytest-nsys {__version__}",
    )


def _subject(run: RunReport, stored: Stored | None) -> str:
    if stored is not None:
        return f"Two stored captures: {stored.before} is the baseline, {stored.after} is current."
    against = next((verdict.against for verdict in run.verdicts if verdict.against), "")
    if against:
        return f"Compared with {against}, measured in the same run (--nsys-against)."
    return _MODES[run.mode]


def _apart(stored: Stored | None) -> Iterator[str]:
    if stored is not None:
        yield from (f"Only in the baseline: {nodeid}" for nodeid in stored.only_before)
        yield from (f"Only in the current one: {nodeid}" for nodeid in stored.only_after)


def _brief(tests: int, whole: int) -> str:
    if tests == whole:
        return ""
    which = "No test is" if not whole else "1 test is" if whole == 1 else f"{whole} tests are"
    return (
        f"{which} shown in full: in a run of more than {FULL} tests those that failed, up to "
        f"{FULL_FAILURES}; of the others the gated metrics. The JSON report (--nsys-json) has "
        "everything of all."
    )


def _most_drawn(verdict: Verdict, failed: int, tests: int) -> int:
    """Elements of a timeline's drawing, so that many tests still make a page that opens at once."""
    if verdict.failed:
        return max(60, min(_DRAWN_FAILED, _DRAWN // failed))
    most = min(_DRAWN_OTHER, _DRAWN // 3 // (tests - failed))
    return most if most >= 60 else 0


def _overview(verdict: Verdict, number: int) -> Overview:
    parts = [part for parts in compared(verdict).values() for part in parts]
    first = next((part for part in parts if part.metric.key == KERNEL_TIME), None)
    then, now = (first.baseline, first.current) if first else (None, None)
    relative = (now - then) / then if then and now is not None else None
    worse = dict.fromkeys(place(part.window) + part.metric.key for part in verdict.worse)
    worse |= dict.fromkeys(place(demand.window) + demand.status for demand in verdict.demands)
    names = [*worse]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return Overview(
        anchor=f"test-{number}",
        badge=_BADGES[verdict.status],
        nodeid=verdict.nodeid,
        then=shown_amount(then, "ns"),
        then_ns=sortable(then),
        now=shown_amount(now, "ns"),
        now_ns=sortable(now),
        change=NOTHING if then is None or now is None else format_change(then, now, "ns"),
        value=sortable(relative),
        severity=SEVERITY[verdict.status] + 100 * verdict.failed,
        worse=", ".join(names[:_NAMED]) + more,
    )


def _title(run: RunReport, stored: Stored | None) -> str:
    failed = sum(verdict.failed for verdict in run.verdicts)
    if stored is not None:
        several = f"{failed} of {len(run.verdicts)} tests {'is' if failed == 1 else 'are'}"
        alone = "This is" if failed and len(run.verdicts) == 1 else several
        return f"{alone if failed else 'Nothing is'} worse than the baseline"
    tests = _tests(len(run.verdicts) + len(run.unmeasured))
    title = f"{failed} of {tests} failed" if failed else f"{tests}, no performance failure"
    return title + (f", {len(run.unmeasured)} not measured" if run.unmeasured else "")


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _test(verdict: Verdict, number: int, *, full: bool, most: int, stored: Stored | None) -> Test:
    metrics = compared(verdict)
    alone = [*metrics] == [MAIN]
    said = _said(verdict)
    repeated = headline(verdict)
    return Test(
        anchor=f"test-{number}",
        badge=_BADGES[verdict.status],
        nodeid=verdict.nodeid,
        headline=said or _glance(metrics),
        brief=not full,
        plan=_plan(verdict) if full else "",
        notes=tuple(note for note in verdict.notes if repeated != f"{verdict.status}: {note}"),
        demands=tuple((_BADGES[d.status], place(d.window) + d.text) for d in verdict.demands),
        windows=tuple(
            _window(verdict, name, parts, alone, full) for name, parts in metrics.items()
        ),
        drawing=_drawing(verdict, f"test-{number}", most),
        findings=_findings(verdict) if full else (),
        open=verdict.failed,
        same_environment=_SAME if full and verdict.baseline and not verdict.against else "",
        differences=tuple(_differences(verdict)) if full else (),
        reproduce=stored.command if stored else reproduce(verdict),
        accept="" if stored or not full else accept(verdict),
    )


def _said(verdict: Verdict) -> str:
    """The verdict in a sentence; empty where there is nothing to say but its status."""
    worse = verdict.worse
    if worse:
        said = _sentence(worse[0])
        others = dict.fromkeys(place(part.window) + part.metric.key for part in worse[1:])
        broken = [place(demand.window) + demand.text for demand in verdict.demands]
        if others:
            names = [*others]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            said += f" Also worse: {', '.join(names[:_NAMED])}{more}."
        return " ".join([said, *broken[:1]])
    text = headline(verdict)
    if text == verdict.status:
        return ""
    improved = [part for part in verdict.comparisons if part.status == "improved"]
    if verdict.status == "improved" and improved:
        return _sentence(improved[0])
    return text


def _sentence(part: Comparison) -> str:
    """A change in a sentence: by how much, what is allowed, and what makes up most of it."""
    then, now, unit = part.baseline, part.current, part.metric.unit
    if then is None or now is None:
        return part.note
    verb = "rose" if now > then else "fell"
    change = shown_change(then, now, unit).lstrip("+-").replace("(+", "(").replace("(-", "(")
    text = f"{place(part.window)}{part.metric.key} {verb} by {change}, "
    text += f"from {shown_amount(then, unit)} to {shown_amount(now, unit)}"
    limit = format_limit(part)
    if limit:
        allowed = "no change is allowed" if limit == "0" else f"the limit is {limit}"
        text += f"; {allowed}"
    if part.culprits:
        text += f". Largest part: {describe_contribution(part, part.culprits[0])}"
    return text + "."


def _drawing(verdict: Verdict, ident: str, most: int) -> Drawing | None:
    now = verdict.measurement.timeline
    then = verdict.baseline.timeline if verdict.baseline else None
    if now is None or not most:
        return None
    drawn = verdict.measurement.bodies[0]
    where = "" if drawn == MAIN else f" of window {drawn}"
    return Drawing(
        svg=timeline_svg(now, then, ident=ident, most=most),
        notes=tuple(timeline_notes(now, then, most=most)),
        title=f"GPU timelines{where}, baseline above current" if then else f"GPU timeline{where}",
    )


def _findings(verdict: Verdict) -> tuple[Finding, ...]:
    found = getattr(verdict.measurement, "findings", ())
    return tuple(
        Finding(
            place(one.window or MAIN) + one.name,
            f"{one.share:.0%}",
            one.summary,
            tuple(one.evidence),
            one.advice,
        )
        for one in found
    )


def _glance(metrics: Mapping[str, list[Comparison]]) -> str:
    """What to say of a test that has no story."""
    for part in (part for parts in metrics.values() for part in parts):
        if part.metric.key == KERNEL_TIME and part.current is not None:
            now = format_amount(part.current, "ns")
            if part.baseline is None:
                return f"{KERNEL_TIME} {now}"
            change = format_change(part.baseline, part.current, "ns")
            return f"{KERNEL_TIME} {format_amount(part.baseline, 'ns')} -> {now} ({change})"
    return ""


def _plan(verdict: Verdict) -> str:
    device = verdict.measurement.device
    text = f"Measured {_measured(verdict.measurement)}{f' on {device}' if device else ''}."
    if verdict.against and verdict.baseline is not None:
        text += f" {verdict.against} in the same run: {_measured(verdict.baseline)}."
    elif verdict.baseline is not None:
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


def _window(
    verdict: Verdict, name: str, parts: list[Comparison], alone: bool, full: bool
) -> Window:
    now = verdict.measurement.windows.get(name)
    then = verdict.baseline.windows.get(name) if verdict.baseline else None
    troubled = {part.window for part in verdict.worse}
    troubled |= {demand.window for demand in verdict.demands}
    troubled |= {part.window for part in verdict.comparisons if part.note}
    bodies = verdict.measurement.bodies
    unfolded = name in troubled or (not troubled and name in bodies[:1])
    units = now.units if now else {}
    gated = [part for part in parts if _judged(part, now, then)]
    same = [part for part in gated if _is_same(verdict, part)]
    rest = [part for part in parts if part not in gated] if full else []
    state = [part for part in rest if part.metric.key in _STATE]
    cascade = draw_cascade(parts, now, then) if full else None
    explained = {cascade.metric} if cascade else set()
    opened = [part.metric.breakdown for part in parts if part.culprits and part.metric.breakdown]
    opened += ["kernels"] if cascade and cascade.open else []
    worst = max((part.status for part in gated), key=SEVERITY.__getitem__, default="ok")
    return Window(
        title="" if alone else _window_title(name, is_body=name in bodies),
        units=", ".join(f"{shown_amount(count, '1')} {unit}(s)" for unit, count in units.items()),
        open=unfolded,
        said=_window_said(gated, then),
        badge=_BADGES[worst],
        gated=tuple(_metric(verdict, part, drawn=full) for part in gated if part not in same),
        unchanged=_unchanged(same),
        shown=tuple(_metric(verdict, part, drawn=unfolded) for part in rest if part not in state),
        state=tuple(_metric(verdict, part, drawn=True) for part in state),
        cascade=cascade,
        origins=tuple(
            take_apart(part)
            for part in parts
            if part.culprits and part.metric.key not in explained and full
        ),
        transfers=_transfers(now, then) if full else (),
        tables=tuple(table for kind in KINDS for table in part_table(kind, now, then, set(opened)))
        if full
        else (),
    )


def _window_title(name: str, *, is_body: bool) -> str:
    if name == MAIN:
        return "Test body"
    return f"Window: {name}" if is_body else f"Range: {name}"


def _is_same(verdict: Verdict, part: Comparison) -> bool:
    """Whether a gated metric is as it was in every round, so that there is nothing to show."""
    samples = {
        value
        for side in (verdict.baseline, verdict.measurement)
        for session in _sessions(side, part)
        for value in session
    }
    return part.status == "ok" and part.baseline is not None and len(samples) == 1


def _unchanged(parts: Iterable[Comparison]) -> str:
    """Metrics that are as they were, with their values."""
    values = [f"{part.metric.key} {shown_amount(part.current, part.metric.unit)}" for part in parts]
    return f"The same in every round, then and now: {', '.join(values)}." if values else ""


def _window_said(gated: Iterable[Comparison], then: WindowMeasurement | None) -> str:
    """The verdict on one window in a sentence."""
    parts = list(gated)
    if then is None or not parts:
        return ""
    for status in ("regressed", "expected", "incomparable", "inconclusive", "improved"):
        found = [part for part in parts if part.status == status]
        if found:
            note = found[0].accepted or found[0].note
            said = _sentence(found[0])
            return f"{said} {note}" if note and note != said else said
    return f"All {len(parts)} gated metrics are within their limits."


def _transfers(
    now: WindowMeasurement | None, then: WindowMeasurement | None
) -> tuple[Transfer, ...]:
    """The copies by direction, of directions that have any."""
    found = []
    for key, name in _DIRECTIONS.items():
        counts, sizes, times = (
            tuple(_value(window, f"memcpy.{key}.{what}") for window in (then, now))
            for what in ("count", "bytes", "time")
        )
        if any(counts):
            found.append(
                Transfer(
                    name=f"{name} ({key})",
                    count=_moved(counts, "1"),
                    bytes=_moved(sizes, "B"),
                    time=_moved(times, "ns"),
                    changed=None not in (*counts, *sizes)
                    and (counts[0] != counts[1] or sizes[0] != sizes[1]),
                )
            )
    return tuple(found)


def _moved(sides: tuple[float | None, ...], unit: Unit) -> str:
    then, now = sides
    before, after = shown_amount(then, unit), shown_amount(now, unit)
    if then is None or now is None:
        return after if then is None else before
    return after if before == after else f"{before} -> {after}"


def _value(window: WindowMeasurement | None, key: str) -> float | None:
    return window[key] if window is not None and window.values(key) else None


def _judged(
    part: Comparison, now: WindowMeasurement | None, then: WindowMeasurement | None
) -> bool:
    """Whether a metric is gated, or would be if there were something to compare it with."""
    gates = now.gates if now else "test"
    return part.gated or (then is None and default_tolerance(part.metric, gates) is not None)


def _metric(verdict: Verdict, part: Comparison, *, drawn: bool) -> MetricRow:
    unit = part.metric.unit
    sides = (verdict.baseline if part.baseline is not None else None, verdict.measurement)
    then, now = (_sessions(side, part) for side in sides)
    return MetricRow(
        key=part.metric.key,
        badge=_BADGES[part.status],
        then=shown_amount(part.baseline, unit),
        then_range=_range(verdict.baseline, part) if part.baseline is not None else "",
        now=shown_amount(part.current, unit),
        now_range=_range(verdict.measurement, part),
        change=shown_change(part.baseline, part.current, unit),
        limit=format_limit(part) or NOTHING,
        note="" if part.note in verdict.notes else part.note or part.accepted,
        strip=draw_strip(part, then, now) if drawn else None,
    )


def _sessions(measurement: Measurement | None, part: Comparison) -> Sessions:
    window = measurement.windows.get(part.window) if measurement else None
    return window.sessions(part.metric.key) if window else ()


def _range(measurement: Measurement | None, part: Comparison) -> str:
    window = measurement.windows.get(part.window) if measurement else None
    values = window.values(part.metric.key) if window else ()
    ends = [shown_amount(end(values), part.metric.unit) for end in (min, max) if values]
    return " to ".join(ends) if len(set(ends)) > 1 else ""


def _described(environment: Environment) -> dict[str, str]:
    return {
        "GPU": environment.gpu,
        "GPU, by a digest of its UUID": ", ".join(environment.gpu_digests),
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
        return window[KERNEL_TIME] if window.values(KERNEL_TIME) else None
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
