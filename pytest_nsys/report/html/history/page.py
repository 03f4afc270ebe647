"""The page of a history as a whole: drifts, what changed levels, and its tests one by one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_nsys import __version__
from pytest_nsys.report.html.history.chart import Slots, draw_chart, name_of
from pytest_nsys.report.html.history.model import (
    Card,
    Change,
    Chart,
    Event,
    Finding,
    Grid,
    HistoryPage,
    Measured,
)
from pytest_nsys.report.html.model import Badge
from pytest_nsys.storage.history import overview as found
from pytest_nsys.storage.history.document import Entry
from pytest_nsys.storage.history.overview import Changed, Overview, run_key
from pytest_nsys.storage.history.text import (
    MISSING,
    REMEDY,
    between,
    differences_words,
    drift_words,
)
from pytest_nsys.storage.history.trend import QUIET, STATES, State, TestTrends, Trend, differences
from pytest_nsys.support.units import (
    format_amount,
    format_change,
    format_count,
    format_tolerance,
)

MOST_RUNS = 5_000
"""Runs that the page has; of older ones it has none."""

MOST_POINTS = 1_000_000
"""Values in all charts. Of more, those of quiet tests are thinned to the extremes of neighbours."""

_LEAST_POINTS = 60
_MOST_ROWS = 6_000
_QUIET_ROWS = 5
_LEAST_ROWS = 20
"""Rows in the tables of runs: in all, of a quiet test, and of another one at least."""

_DRAWN_DRIFTS = 24
_FULL_EVENTS = 10
_FULL_CHANGES = 8

BADGES: Mapping[State, Badge] = {
    "drifted": Badge("\N{RIGHTWARDS WAVE ARROW}", "drifted", "bad"),
    "worse": Badge("\N{BALLOT X}", "worse", "bad"),
    "better": Badge("\N{BLACK STAR}", "better", "good"),
    "new": Badge("?", "new", "dim"),
    "steady": Badge("=", "steady", "dim"),
}


def history_page(tests: Iterable[TestTrends], notes: Iterable[str] = ()) -> HistoryPage:
    """Everything the page says of a history.

    Args:
        tests: at least one.
        notes: what else is to be known, such as lines that were left out.
    """
    whole = found.overview(tests)
    runs = _Runs(whole.tests)
    maker = _Maker(whole, runs)
    large = [maker.event(event) for event in whole.events if not event.is_small]
    cards = maker.cards()
    return HistoryPage(
        title=_title(whole),
        subject=_subject(whole, runs),
        counts=tuple(
            (BADGES[state], str(whole.counts[state])) for state in STATES if whole.counts[state]
        ),
        notes=(*notes, *_notes(whole, runs)),
        drifts=tuple(maker.drifts()),
        events=tuple(large[:_FULL_EVENTS]),
        earlier=tuple(large[_FULL_EVENTS:]),
        small=tuple(maker.event(event) for event in whole.events if event.is_small),
        cards=cards,
        several=maker.several,
        runs=runs.grid(),
        footer=f"pytest-nsys {__version__}",
    )


class _Runs:
    """The runs of all tests, numbered from the oldest that is on the page."""

    def __init__(self, tests: Iterable[TestTrends]) -> None:
        devices: dict[str, dict[object, Entry]] = {}
        for test in tests:
            for entry in test.entries:
                devices.setdefault(test.device, {})[run_key(entry)] = entry
        keys = sorted({run_key(entry) for runs in devices.values() for entry in runs.values()})
        self.left_out = max(0, len(keys) - MOST_RUNS)
        self.slots: Slots = {key: number for number, key in enumerate(keys[-MOST_RUNS:])}
        self._devices = devices

    @property
    def ends(self) -> tuple[str, ...]:
        """The days of the first and the last run; one where they are the same."""
        days = [key[0].strftime("%Y-%m-%d") for key in self.slots]
        return tuple(dict.fromkeys((days[0], days[-1])))

    def grid(self) -> Grid:
        """A row per run: when, which commit, which devices, and their new versions."""
        on: dict[object, list[str]] = {}
        new: dict[object, list[str]] = {}
        for device, runs in self._devices.items():
            before: Entry | None = None
            for entry in sorted(runs.values(), key=run_key):
                key = run_key(entry)
                on.setdefault(key, []).append(device)
                if before is not None:
                    new.setdefault(key, []).append(differences_words(differences(before, entry)))
                before = entry
        rows = []
        for key in self.slots:
            date, commit = key
            names, _, dirty = commit.partition("+")
            words = dict.fromkeys(filter(None, new.get(key, ())))
            rows.append(
                (
                    date.strftime("%Y-%m-%d %H:%M"),
                    names[:7] + ("+" + dirty if dirty else ""),
                    _few(on[key]),
                    "; ".join(words),
                )
            )
        return Grid(("Run (UTC)", "Commit", "Devices", "New versions"), tuple(rows))


def _few(names: Sequence[str]) -> str:
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")


def _title(whole: Overview) -> str:
    drifted, worse = whole.counts["drifted"], whole.counts["worse"]
    said = []
    if drifted:
        said.append(f"{format_count(drifted, 'test')} drifted")
    if worse:
        said.append(f"{worse} got worse" if said else f"{format_count(worse, 'test')} got worse")
    return ", ".join(said) or "No test drifted or got worse"


def _subject(whole: Overview, runs: _Runs) -> str:
    tests = len({test.nodeid for test in whole.tests})
    devices = len({test.device for test in whole.tests})
    on = whole.tests[0].device if devices == 1 else format_count(devices, "device")
    return (
        f"{format_count(tests, 'test')} on {on}, {format_count(len(runs.slots), 'run')} "
        f"from {' to '.join(runs.ends)}"
    )


def _notes(whole: Overview, runs: _Runs) -> Iterator[str]:
    if runs.left_out:
        yield (
            f"The oldest {format_count(runs.left_out, 'run')} are left out of the charts; "
            "pytest-nsys history --format=json has them."
        )
    if not all(trend.searched for test in whole.tests for trend in test.trends):
        yield f"In this page {MISSING}: {REMEDY} where it is made."
    if whole.gone:
        names = list(dict.fromkeys(nodeid for nodeid, _ in whole.gone))
        yield (
            f"{format_count(len(names), 'test')} {'is' if len(names) == 1 else 'are'} not measured "
            f"any more: {_few(names)}."
        )


class _Maker:
    """Makes the parts of the page, which share its budget of values and rows."""

    def __init__(self, whole: Overview, runs: _Runs) -> None:
        self._whole = whole
        self._runs = runs
        self.several = len({test.device for test in whole.tests}) > 1
        self._anchors = {test.nodeid: _anchor(test.nodeid) for test in whole.tests}
        self._thinned = _points_of_quiet(whole.tests)
        loud = sum(test.state not in QUIET for test in whole.tests)
        self._rows = max(_LEAST_ROWS, _MOST_ROWS // max(loud, 1))

    def drifts(self) -> Iterator[Finding]:
        """What drifted."""
        for number, one in enumerate(self._whole.drifts):
            if one.trend.drift is not None:
                yield Finding(
                    self._anchors[one.test.nodeid],
                    one.test.nodeid,
                    self._device(one.test),
                    name_of(one.trend),
                    drift_words(one.trend, one.trend.drift),
                    self._chart(one.trend) if number < _DRAWN_DRIFTS else None,
                )

    def event(self, event: found.Event) -> Event:
        """A run that changed levels."""
        worse = sum(change.is_worse for change in event.changes)
        better = len(event.changes) - worse
        counts = [f"{number} {way}" for number, way in ((worse, "worse"), (better, "better"))]
        known = differences_words(event.differences)
        changes = [self._change(change) for change in event.changes]
        return Event(
            title=f"B{between(event.then, event.now)[1:]}",
            cause=f"Likely cause: {known}, which changed with it."
            if known
            else "No version changed with it: the cause is in the commits between, or the machine.",
            counted=", ".join(text for text in counts if not text.startswith("0 ")),
            changes=tuple(changes[:_FULL_CHANGES]),
            more=tuple(changes[_FULL_CHANGES:]),
        )

    def _change(self, change: Changed) -> Change:
        trend, shift = change.trend, change.shift
        unit, tolerance = trend.metric.unit, trend.tolerance
        limit = ""
        if tolerance is not None and tolerance.limit(shift.before):
            side = "over" if change.is_over else "under"
            limit = f"{side} {format_tolerance(tolerance, unit)}"
        return Change(
            anchor=self._anchors[change.test.nodeid],
            nodeid=change.test.nodeid,
            device=self._device(change.test),
            badge=BADGES["worse" if change.is_worse else "better"],
            name=name_of(trend),
            before=format_amount(shift.before, unit),
            after=format_amount(shift.after, unit),
            change=format_change(shift.before, shift.after, unit),
            limit=limit,
        )

    def cards(self) -> tuple[Card, ...]:
        """All tests, the gravest first; each with its devices side by side."""
        grouped: dict[str, list[TestTrends]] = {}
        for test in self._whole.tests:
            grouped.setdefault(test.nodeid, []).append(test)
        return tuple(
            Card(
                self._anchors[nodeid],
                *_parted(nodeid),
                BADGES[tests[0].state],
                tuple(map(self._measured, sorted(tests, key=lambda test: test.device))),
            )
            for nodeid, tests in grouped.items()
        )

    def _measured(self, test: TestTrends) -> Measured:
        varying = sorted(
            (trend for trend in test.trends if not trend.is_constant),
            key=lambda trend: STATES.index(trend.state),
        )
        charts = [chart for chart in map(self._chart, varying) if chart is not None]
        same = ", ".join(
            f"{name_of(one)} {format_amount(one.values[0], one.metric.unit)}"
            for one in test.trends
            if one.is_constant and one.values[0]
        )
        since = self._whole.gone.get((test.nodeid, test.device), 0)
        return Measured(
            device=self._device(test),
            badge=BADGES[test.state],
            counted=_counted(test),
            note=f"Not measured in the newest {format_count(since, 'run')} of this device."
            if since
            else "",
            chart=charts[0] if charts else None,
            others=tuple(charts[1:]),
            same=same,
            levels=_levels(varying),
            runs=_newest(test, varying, _QUIET_ROWS if test.state in QUIET else self._rows),
        )

    def _chart(self, trend: Trend) -> Chart | None:
        most = self._thinned if trend.state in QUIET else None
        return draw_chart(trend, self._runs.slots, self._runs.ends, most)

    def _device(self, test: TestTrends) -> str:
        return test.device if self.several else ""


def _anchor(nodeid: str) -> str:
    """The same for a test on every page, so that links to it last."""
    return "test-" + hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _parted(nodeid: str) -> tuple[str, str]:
    """File and name."""
    file, colons, name = nodeid.partition("::")
    return (file, name) if colons else ("", nodeid)


def _points_of_quiet(tests: Iterable[TestTrends]) -> int | None:
    """How many values a quiet chart may have; None where they need not be thinned."""
    varying = [trend for test in tests for trend in test.trends if not trend.is_constant]
    quiet = [len(trend.values) for trend in varying if trend.state in QUIET]
    rest = MOST_POINTS - sum(len(one.values) for one in varying if one.state not in QUIET)
    if sum(quiet) <= rest:
        return None
    return max(_LEAST_POINTS, rest // len(quiet)) if quiet else None


def _counted(test: TestTrends) -> str:
    statuses = Counter(entry.status for entry in test.entries)
    days = dict.fromkeys((test.entries[0].day, test.entries[-1].day))
    counted = ", ".join(f"{count} {name}" for name, count in statuses.most_common())
    return f"{format_count(len(test.entries), 'run')}, {' to '.join(days)}: {counted}"


def _levels(trends: Iterable[Trend]) -> Grid:
    rows = []
    for trend in trends:
        unit, levels = trend.metric.unit, trend.levels
        for number, level in enumerate(levels):
            first, last = trend.entries[level.start], trend.entries[level.end - 1]
            before = levels[number - 1].median if number else level.median
            changed = trend.changed_with(trend.shifts[number - 1]) if number else ()
            rows.append(
                (
                    name_of(trend),
                    _when(first),
                    _when(last),
                    str(level.end - level.start),
                    format_amount(level.median, unit),
                    format_change(before, level.median, unit) if number else "",
                    differences_words(changed),
                )
            )
    heads = ("Metric", "First run", "Last run", "Runs", "Median", "Change", "New versions")
    return Grid(heads, tuple(rows))


def _when(entry: Entry) -> str:
    return f"{entry.day} {entry.short_commit}".rstrip()


def _newest(test: TestTrends, varying: Sequence[Trend], most: int) -> Grid:
    shown = test.entries[-most:]
    rest = len(test.entries) - len(shown)
    return Grid(
        ("Run", "Gate", *map(name_of, varying)),
        tuple(
            (_when(entry), entry.status, *(_value(trend, entry) for trend in varying))
            for entry in reversed(shown)
        ),
        f"{format_count(rest, 'older run')} of this test: pytest-nsys history --format=json"
        if rest
        else "",
    )


def _value(trend: Trend, entry: Entry) -> str:
    measured = entry.windows.get(trend.window, {}).get(trend.metric.key)
    return format_amount(measured[0], trend.metric.unit) if measured else "\N{EN DASH}"
