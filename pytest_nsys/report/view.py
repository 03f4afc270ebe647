"""What the HTML page says: a run as formatted strings, which templates only put in their places."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_nsys import __version__
from pytest_nsys.baselines import Change
from pytest_nsys.catalogue import Breakdown, lookup
from pytest_nsys.config.settings import Mode
from pytest_nsys.gate.verdict import SEVERITY, Comparison, Contribution, Verdict
from pytest_nsys.gate.wording import headline, reproduce
from pytest_nsys.measurement import Environment, Measurement, Part, Parts
from pytest_nsys.quantities import Unit, format_amount, format_change, format_tolerance
from pytest_nsys.report.json import compared, pairs
from pytest_nsys.report.run import RunReport
from pytest_nsys.windows import MAIN

NOTHING = "\N{EN DASH}"
_DEFAULT = "gpu.kernel_time"
_LONG_NAME = 240
_SHOWN_NAME = 160
_SHOWN_ORIGINS = 10
_SHOWN_PARTS = 12


@dataclass(frozen=True)
class Badge:
    """A status: symbol, word, and the class of its colour; each says enough on its own."""

    symbol: str
    word: str
    tone: str


@dataclass(frozen=True)
class Name:
    """A name as it is shown; ``full`` is only set where it is so long that it is folded."""

    text: str
    full: str = ""


@dataclass(frozen=True)
class Row:
    """Something then and now: a fact, a difference, or one line of a breakdown."""

    name: Name
    then: str = ""
    now: str = ""
    change: str = ""
    count: str = ""
    kind: str = ""
    tag: str = ""


@dataclass(frozen=True)
class MetricRow:
    """One metric of one window."""

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
    """Where the change of a metric comes from: the rows' changes add up to the total."""

    metric: str
    rows: tuple[Row, ...]
    total: str


@dataclass(frozen=True)
class Table:
    """One breakdown of a window; what did not fit is in ``more``."""

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
    """One window of a test."""

    title: str
    open: bool
    gated: tuple[MetricRow, ...]
    shown: tuple[MetricRow, ...]
    origins: tuple[Origin, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Demand:
    """A demand that does not hold."""

    badge: Badge
    text: str


@dataclass(frozen=True)
class Test:
    """One test."""

    __test__ = False

    anchor: str
    badge: Badge
    nodeid: str
    headline: str
    plan: str
    notes: tuple[str, ...]
    demands: tuple[Demand, ...]
    windows: tuple[Window, ...]
    differences: tuple[Row, ...]
    compared: bool
    reproduce: str


@dataclass(frozen=True)
class Page:
    """The page."""

    title: str
    summary: str
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
_UNGATED = Badge("", "not gated", "plain")

_MODES: Mapping[Mode, str] = {
    "idle": "",
    "profile": "--nsys: compared with baselines where there are any",
    "gate": "--nsys-baseline: a test that cannot be compared fails too",
    "update": "--nsys-update: every measured test becomes its own baseline",
    "update-new": "--nsys-update-new: baselines are recorded where there are none",
}

_TABLES: tuple[tuple[Breakdown, str, str, str, Unit], ...] = (
    ("kernels", "Kernels", "Kernel", "Time", "ns"),
    ("copies", "Copies", "Copy", "Bytes", "B"),
    ("syncs", "Blocking calls", "Call", "Host time", "ns"),
    ("allocations", "Allocations live at the memory peak", "Size", "Bytes", "B"),
    ("memsets", "Memory sets", "Memset", "Bytes", "B"),
    ("calls", "CUDA API calls", "Call", "Host time", "ns"),
)


def page(run: RunReport) -> Page:
    """Everything the page says about a run, failures first and the worst of them first."""
    numbered = sorted(
        enumerate(run.verdicts, start=1), key=lambda pair: -SEVERITY[pair[1].status]
    )
    failed = sum(verdict.failed for verdict in run.verdicts)
    total = len(run.verdicts) + len(run.unmeasured)
    summary = f"{failed} of {_tests(total)} failed" if failed else f"{_tests(total)}, none failed"
    if run.unmeasured:
        summary += f", {len(run.unmeasured)} not measured"
    counts = run.counts()
    return Page(
        title=f"GPU performance: {summary}",
        summary=summary,
        mode=_MODES[run.mode],
        counts=tuple(
            (_BADGES[status], str(counts[status]))
            for status in (*reversed(SEVERITY), "unmeasured")
            if counts[status]
        ),
        failures=tuple(_test(verdict, n) for n, verdict in numbered if verdict.failed),
        others=tuple(_test(verdict, n) for n, verdict in numbered if not verdict.failed),
        unmeasured=tuple(Row(Name(test.nodeid), now=test.reason) for test in run.unmeasured),
        differences=_common_differences(run.verdicts),
        written=tuple(_written(change) for change in run.changes),
        facts=tuple(_facts(run)),
        glossary=_glossary(run.verdicts),
        footer=f"pytest-nsys {__version__}",
    )


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def _test(verdict: Verdict, number: int) -> Test:
    said = headline(verdict)
    comparisons = compared(verdict)
    return Test(
        anchor=f"test-{number}",
        badge=_BADGES[verdict.status],
        nodeid=verdict.nodeid,
        headline=_glance(verdict) if said == verdict.status else said,
        plan=_plan(verdict),
        notes=tuple(note for note in verdict.notes if note not in said),
        demands=tuple(Demand(_BADGES[d.status], _placed(d.window, d.text)) for d in verdict.demands),
        windows=tuple(
            _window(verdict, name, parts, alone=len(comparisons) == 1)
            for name, parts in comparisons.items()
        ),
        differences=tuple(_differences(verdict)),
        compared=verdict.baseline is not None,
        reproduce=reproduce(verdict.nodeid),
    )


def _glance(verdict: Verdict) -> str:
    """What a reader wants to know of a test that has no story."""
    for parts in compared(verdict).values():
        for part in parts:
            if part.metric.key == _DEFAULT:
                then = _amount(part.baseline, "ns")
                arrow = f"{then} -> " if part.baseline is not None else ""
                change = f" ({_change(part, brief=True)})" if arrow else ""
                return f"{_DEFAULT} {arrow}{_amount(part.current, 'ns')}{change}"
    return ""


def _placed(window: str, text: str) -> str:
    return text if window == MAIN else f"[{window}] {text}"


def _plan(verdict: Verdict) -> str:
    text = f"Measured: {_measured(verdict.measurement)} on {verdict.measurement.device}."
    if verdict.baseline is not None:
        date = verdict.baseline.environment.date
        text += f" Baseline{f' of {date}' if date else ''}: {_measured(verdict.baseline)}."
    return text


def _measured(measurement: Measurement) -> str:
    sessions = max(
        (len(s) for w in measurement.windows.values() for s in w.samples.values()), default=0
    )
    rounds = f"{measurement.rounds} round{'s' * (measurement.rounds != 1)}"
    return f"{sessions} sessions of {rounds}" if sessions > 1 else rounds


def _window(verdict: Verdict, name: str, parts: list[Comparison], *, alone: bool) -> Window:
    now = verdict.measurement.windows.get(name)
    then = verdict.baseline.windows.get(name) if verdict.baseline else None
    troubled = {part.window for part in verdict.comparisons if part.status not in ("ok", "improved")}
    troubled |= {demand.window for demand in verdict.demands}
    units = ", ".join(f"{_amount(n, '1')} {unit}(s)" for unit, n in now.units.items()) if now else ""
    title = "" if alone else ("Test body" if name == MAIN else f"Range {name}")
    rows = [(part, _metric(verdict, part)) for part in parts]
    return Window(
        title=title + (f" ({units} a round)" if units and title else ""),
        open=name in troubled or name == MAIN,
        gated=tuple(row for part, row in rows if _is_gated(verdict, part)),
        shown=tuple(row for part, row in rows if not _is_gated(verdict, part)),
        origins=tuple(_origin(part) for part in parts if part.culprits),
        tables=tuple(
            _table(
                (kind, *words),
                now.breakdown.get(kind, Parts()) if now else Parts(),
                then.breakdown.get(kind, Parts()) if then else None,
            )
            for kind, *words in _TABLES
            if any(w is not None and len(w.breakdown.get(kind, Parts())) for w in (now, then))
        ),
    )
