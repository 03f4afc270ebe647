"""What the HTML page is made of: formatted strings, which templates only put in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from pytest_nsys.insights.bottlenecks import Bottleneck
from pytest_nsys.report.html.breakdowns import Origin, Row, Table
from pytest_nsys.report.html.cascade import Cascade
from pytest_nsys.report.html.strip import Strip


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
class Drawing:
    """The GPU timelines of a round, the baseline's above the current one, and what to know."""

    svg: Markup
    notes: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class Test:
    """One test; ``unmet`` are requirements that do not hold; a brief one has only what is gated."""

    __test__ = False

    anchor: str
    badge: Badge
    nodeid: str
    headline: str
    brief: bool
    plan: str
    notes: tuple[str, ...]
    unmet: tuple[tuple[Badge, str], ...]
    windows: tuple[Window, ...]
    drawing: Drawing | None
    bottlenecks: tuple[Bottleneck, ...]
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


BADGES: Mapping[str, Badge] = {
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
