"""What the page of a history is made of: formatted strings, which templates put in their places."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_nsys.report.html.model import Badge


@dataclass(frozen=True)
class Mark:
    """A change of level in a chart, and what is said of it."""

    x: int
    tone: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A metric over the runs. A unit across is a run of the page, and 1,000 down are its height.

    Attributes:
        name: window and metric.
        words: from where to where it went.
        text: what the drawing shows, in a sentence.
        width: runs of the page, less one.
        line: path of the runs' values: where it begins, and from run to run steps across and down.
        band: path of what noise explains: two standard deviations about each level, or the drift.
        levels: path of the levels' medians.
        slope: path of the drift; empty without one.
        far: path of marks at the edge, where values are beyond it.
        marks: the changes of level.
        high: amount at the upper edge.
        low: amount at the lower edge.
        high_value: the upper edge, for a script.
        low_value: the lower edge so.
        factor: by what a script divides values, so that they are in the unit.
        unit: name of that unit.
        ends: days of the first and the last run of the page.
    """

    name: str
    words: str
    text: str
    width: int
    line: str
    band: str
    levels: str
    slope: str
    far: str
    marks: tuple[Mark, ...]
    high: str
    low: str
    high_value: str
    low_value: str
    factor: str
    unit: str
    ends: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table of texts: its heads, its rows, and what it leaves out."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rest: str = ""


@dataclass(frozen=True)
class Measured:
    """A test on one device.

    Attributes:
        device: its name; empty where the history has but one.
        badge: its state.
        counted: how many runs, when, and what the gate said.
        note: that it is not measured any more; else empty.
        chart: of the metric with most to say; None where all are the same in every run.
        others: of the other metrics that changed.
        same: the metrics that every run found the same.
        levels: the levels of all metrics that changed.
        runs: the newest runs.
    """

    device: str
    badge: Badge
    counted: str
    note: str
    chart: Chart | None
    others: tuple[Chart, ...]
    same: str
    levels: Grid
    runs: Grid


@dataclass(frozen=True)
class Card:
    """A test on all devices; its id is file and name, with "::" between."""

    anchor: str
    file: str
    name: str
    badge: Badge
    devices: tuple[Measured, ...]


@dataclass(frozen=True)
class Finding:
    """A drift: whose, what is to be said of it, and its chart; None where there are many."""

    anchor: str
    nodeid: str
    device: str
    name: str
    text: str
    chart: Chart | None


@dataclass(frozen=True)
class Change:
    """A line of an event."""

    anchor: str
    nodeid: str
    device: str
    badge: Badge
    name: str
    before: str
    after: str
    change: str
    limit: str


@dataclass(frozen=True)
class Event:
    """A run that changed levels.

    Attributes:
        title: between which runs.
        cause: which versions changed with it, or that none did.
        counted: how many changes, and which way.
        changes: the first of them.
        more: the others.
    """

    title: str
    cause: str
    counted: str
    changes: tuple[Change, ...]
    more: tuple[Change, ...]


@dataclass(frozen=True)
class HistoryPage:
    """The whole page.

    Attributes:
        title: what there is to be said first.
        subject: how many tests, devices and runs.
        counts: tests by state.
        notes: what else is to be known.
        drifts: the drifts, the largest part of a tolerance first.
        events: the newest runs that changed levels by more than a tolerance.
        earlier: the older ones.
        small: those that changed levels by less.
        cards: all tests, the gravest first.
        several: whether there are several devices.
        runs: all runs, the oldest first: charts count on their order.
        footer: what made the page.
    """

    title: str
    subject: str
    counts: tuple[tuple[Badge, str], ...]
    notes: tuple[str, ...]
    drifts: tuple[Finding, ...]
    events: tuple[Event, ...]
    earlier: tuple[Event, ...]
    small: tuple[Event, ...]
    cards: tuple[Card, ...]
    several: bool
    runs: Grid
    footer: str
