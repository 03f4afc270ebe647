"""What the HTML page is made of: formatted strings, which templates only put in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from pytest_nsys.insights.bottlenecks import Bottleneck


@dataclass(frozen=True)
class Badge:
    """A status as symbol, word, and class of a colour, which never stands alone."""

    symbol: str
    word: str
    tone: str


@dataclass(frozen=True)
class Row:
    """One line of a table; what a table has no column for stays empty.

    Attributes:
        name: what it is, shortened where that loses nothing.
        then: the baseline's amount.
        now: the current amount.
        change: from then to now.
        count: how many.
        kind: category of a kernel.
        tag: new, gone, renamed, re-tuned; empty for what is as it was.
        full: the whole name; empty where ``name`` is all of it.
        before: the name in the baseline, where it was another.
        relaunched: how a kernel is launched otherwise than it was; empty where it is not.
        raw: names as the capture has them.
        value: the change as a number, by which a script sorts.
        then_value: the baseline's amount so.
        now_value: the current amount so.
    """

    name: str
    then: str = ""
    now: str = ""
    change: str = ""
    count: str = ""
    kind: str = ""
    tag: str = ""
    full: str = ""
    before: str = ""
    relaunched: str = ""
    raw: tuple[str, ...] = ()
    value: str = ""
    then_value: str = ""
    now_value: str = ""


@dataclass(frozen=True)
class Table:
    """One breakdown of a window; ``more`` is what is folded, ``rest`` says what is not listed."""

    title: str
    glance: str
    item: str
    amount: str
    compared: bool
    has_kinds: bool
    open: bool
    rows: tuple[Row, ...]
    more: tuple[Row, ...]
    rest: str = ""


@dataclass(frozen=True)
class Bar:
    """One step of a waterfall as a row; the bar goes from ``x`` on, in pixels of the drawing.

    Attributes:
        row: its name, amounts and change.
        x: where the bar begins, from the left.
        width: how long it is.
        direction: "up" where it makes the total larger, else "down".
        zero: where no change is.
        level: "category", "part", "rest" or "total".
    """

    row: Row
    x: str
    width: str
    direction: str
    zero: str
    level: str


@dataclass(frozen=True)
class Waterfall:
    """Where the change of a metric comes from: its bars add up to the total, the last of them."""

    metric: str
    title: str
    open: bool
    width: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Band:
    """A stretch of a drawing's axis, pixels."""

    x: str
    width: str


@dataclass(frozen=True)
class Tick:
    """A place of a drawing's axis, pixels, and what stands there; ``anchor`` as in SVG."""

    x: str
    text: str
    anchor: str


@dataclass(frozen=True)
class Strip:
    """A drawing of samples; lengths in pixels of a box ``width`` x ``height``.

    Attributes:
        width: of the box.
        height: of the box.
        middle: where the baseline's rows end and the current ones begin; 0 without a baseline.
        limit: what may change without failing; None where nothing is compared.
        noise: the standard error of the change about the baseline's median; None if not known.
        then: SVG path of the baseline's marks.
        now: SVG path of the current marks.
        then_median: where the baseline's median is; empty without one.
        now_median: where the current median is; empty without one.
        text: the drawing in words.
        bottom: where the marks end and the axis is.
        ticks: of the axis; the last one has the unit.
    """

    width: int
    height: int
    middle: int
    limit: Band | None
    noise: Band | None
    then: str
    now: str
    then_median: str
    now_median: str
    text: str
    bottom: int
    ticks: tuple[Tick, ...]


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
class Roofline:
    """Where a window lies under the roofs of its GPU, drawn and in words."""

    svg: Markup
    words: str


@dataclass(frozen=True)
class MeasuredWindow:
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
    waterfalls: tuple[Waterfall, ...]
    transfers: tuple[Transfer, ...]
    tables: tuple[Table, ...]
    roofline: Roofline | None = None


@dataclass(frozen=True)
class Served:
    """A metric of a window in which clients loaded a server, and what was decided of it.

    Attributes:
        head: its column.
        now: the current amount.
        then: the baseline's amount.
        change: from then to now.
        badge: what was decided; None of a metric that is not gated.
        judged: the limit, the noise of the change, and from where on one would have been seen.
    """

    head: str
    now: str
    then: str
    change: str
    badge: Badge | None
    judged: tuple[str, ...]


@dataclass(frozen=True)
class ServedWindow:
    """The metrics of one such window that people look for first."""

    name: str
    badge: Badge
    metrics: tuple[Served, ...]


@dataclass(frozen=True)
class Drawing:
    """The GPU timelines of a round, the baseline's above the current one, and what to know."""

    svg: Markup
    notes: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class CounterRow:
    """A metric of Nsight Compute: its official name is ``key``."""

    name: str
    key: str
    then: str
    now: str
    change: str


@dataclass(frozen=True)
class CountedKernel:
    """The counters of a kernel, what they say, and of how many launches they are the longest."""

    name: str
    said: str
    launches: str
    rows: tuple[CounterRow, ...]


@dataclass(frozen=True)
class MeasuredTest:
    """One test; ``unmet`` are requirements that do not hold; a brief one has only what is gated;
    ``served`` are its windows in which clients loaded a server, ``stepped`` the same with the steps
    of its engine."""

    anchor: str
    badge: Badge
    nodeid: str
    headline: str
    brief: bool
    plan: str
    notes: tuple[str, ...]
    unmet: tuple[tuple[Badge, str], ...]
    served: tuple[ServedWindow, ...]
    stepped: tuple[ServedWindow, ...]
    windows: tuple[MeasuredWindow, ...]
    drawing: Drawing | None
    bottlenecks: tuple[Bottleneck, ...]
    counted: tuple[CountedKernel, ...]
    open: bool
    differences: tuple[Row, ...]
    reproduce: str
    accept: str


@dataclass(frozen=True)
class Cell:
    """A figure in the overview.

    Attributes:
        head: its column.
        text: the amount, or what else is told.
        value: the number by which a script sorts.
        note: by how much it has changed; empty where it has not.
        tone: what is to be thought of that; empty if nothing.
        bar: the change as a bar from the middle, pixels; None where none is drawn.
    """

    head: str
    text: str
    value: str = ""
    note: str = ""
    tone: str = ""
    bar: Band | None = None


@dataclass(frozen=True)
class OverviewRow:
    """A window of a test in the overview.

    Attributes:
        anchor: of the test.
        badge: the window's.
        status: the test's, by which rows are filtered.
        nodeid: the test.
        window: the window; empty for the test's body.
        severity: the worse, the higher.
        said: which metrics are worse, better or undecided.
        cells: its figures.
    """

    anchor: str
    badge: Badge
    status: str
    nodeid: str
    window: str
    severity: int
    said: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Overview:
    """Figures of all tests that have them in common; ``width`` is that of a bar's drawing."""

    title: str
    heads: tuple[str, ...]
    width: int
    rows: tuple[OverviewRow, ...]


@dataclass(frozen=True)
class Told:
    """What is to be known of a test whatever its verdict is: ``badge`` is empty where the text
    says what kind of change it is."""

    anchor: str
    nodeid: str
    badge: Badge | None
    text: str


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
    """The page; ``sides`` is what was compared, of which ``alike`` is the same on both; ``told``
    is what changed and fails nothing, and ``untold`` how much more did."""

    title: str
    mode: str
    brief: str
    notes: tuple[str, ...]
    counts: tuple[tuple[Badge, str], ...]
    sides: tuple[Row, ...]
    alike: str
    told: tuple[Told, ...]
    untold: str
    overviews: tuple[Overview, ...]
    failures: tuple[MeasuredTest, ...]
    others: tuple[MeasuredTest, ...]
    unmeasured: tuple[Row, ...]
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
