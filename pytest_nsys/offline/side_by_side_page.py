"""Captures or parameters side by side as one HTML page: what it shows, as formatted strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.measure.measurement import Environment
from pytest_nsys.offline.side_by_side import Line, SideBySide
from pytest_nsys.offline.side_by_side_words import (
    Lead,
    alone,
    cells,
    lead,
    legend,
    parts_of,
    sentences,
    title,
)
from pytest_nsys.offline.subjects import Compared, Subject, letters
from pytest_nsys.report.html.bars_svg import Stack, bars_svg
from pytest_nsys.report.html.model import Drawing, Row
from pytest_nsys.report.html.shown import NOTHING
from pytest_nsys.report.html.template import fill
from pytest_nsys.report.html.timeline_svg import MOST, SIDES, timelines_notes, timelines_svg
from pytest_nsys.report.run import write_report
from pytest_nsys.support.units import format_count
from pytest_nsys.verdict.wording import short_names

_S = 1e9
_ABREAST = 6
"""So many sides stand in one table; further ones in others, each with the first."""

_ELEMENTS = 12_000
_LEAST_ELEMENTS = 150
"""How many elements of timelines a page has, and of each timeline at least."""

_UNFOLDED = 8
"""The tables of so many subjects are open."""


@dataclass(frozen=True)
class Fact:
    """What differs between the captures, by capture."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class GridRow:
    """A line of a table: its name, and by side the amount and the change against the first."""

    row: Row
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table with a column per side; those of one subject that belong together follow each
    other, and only the first has a title."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class Section:
    """A window of tests, or captures as a whole.

    Attributes:
        anchor: id of the section.
        title: what is compared; empty for whole captures.
        legend: what the letters stand for.
        sentences: what turning a knob did.
        lead: the figures that are looked for first, a row per side.
        bars: kernel time by category, on one scale.
        timelines: those of the sides below each other.
        grids: the tables with a column per side.
        open: whether timelines and tables are unfolded.
    """

    anchor: str
    title: str
    legend: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    lead: Lead | None
    bars: Drawing
    timelines: Drawing | None
    grids: tuple[Grid, ...]
    open: bool


@dataclass(frozen=True)
class ComparisonPage:
    """The page; captures are letters and paths, and ``alike`` is what they have in common."""

    title: str
    captures: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    alike: str
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    alone: tuple[str, ...]
    command: str
    footer: str


def write_comparison(
    compared: Compared, shown: Sequence[SideBySide], path: Path, *, top: int, command: str
) -> None:
    """Write the page; a reader sees the old file or the new, never a part.

    Args:
        compared: the captures.
        shown: what to show of them.
        path: the file.
        top: how many kernels to name.
        command: the command that makes it again.

    Raises:
        ReportError: the file cannot be written.
    """
    page = comparison_page(compared, shown, top=top, command=command)
    write_report(path, [fill("compare.html", page, "page.js")])


def comparison_page(
    compared: Compared, shown: Sequence[SideBySide], *, top: int, command: str
) -> ComparisonPage:
    """What the page shows; see `write_comparison`."""
    several = len(compared.sides) > 1
    names = letters(len(compared.sides)) if several else ("",)
    paths = [side.path for side in compared.sides]
    facts, alike = _facts([side.environment for side in compared.sides])
    sections = [one for one in shown if not one.subject.is_alone]
    drawn = sum(timeline is not None for one in sections for timeline in one.subject.timelines)
    most = min(MOST, max(_LEAST_ELEMENTS, _ELEMENTS // max(drawn, 1)))
    return ComparisonPage(
        title=f"{format_count(len(paths), 'capture')} side by side"
        if several
        else f"{paths[0]}: parameters side by side",
        captures=tuple(zip(names, paths, strict=True)),
        facts=tuple(facts),
        alike=", ".join(alike),
        notes=compared.notes,
        sections=tuple(
            _section(number, one, top, most, unfolded=len(sections) <= _UNFOLDED)
            for number, one in enumerate(sections, 1)
        ),
        alone=tuple(alone(shown)),
        command=command,
        footer="Amounts are medians of rounds; changes are against the first column.",
    )


def _facts(environments: Sequence[Environment]) -> tuple[list[Fact], list[str]]:
    """What differs between the captures, and what they have in common."""
    known = [
        {
            "GPU": one.gpu,
            "driver": one.driver,
            "CUDA": one.cuda,
            "nsys": one.nsys,
            "commit": one.commit,
            "measured on": one.date,
            **one.versions,
        }
        for one in environments
    ]
    facts, alike = [], []
    for name in dict.fromkeys(name for one in known for name in one):
        values = tuple(one.get(name) or NOTHING for one in known)
        if len({*values}) > 1:
            facts.append(Fact(name, values))
        elif values[0] != NOTHING:
            alike.append(f"{name} {values[0]}")
    return facts, alike


def _section(number: int, one: SideBySide, top: int, most: int, *, unfolded: bool) -> Section:
    ident = f"s{number}"
    return Section(
        anchor=ident,
        title=title(one.subject) if one.subject.name else "",
        legend=tuple(legend(one.subject)),
        sentences=tuple(sentences(one)),
        lead=lead(one),
        bars=_bars(one, ident),
        timelines=_timelines(one.subject, ident, most),
        grids=tuple(_grids(one, top)),
        open=unfolded,
    )


def _bars(one: SideBySide, ident: str) -> Drawing:
    """A bar per side: of a unit's time where all say what they processed, else of a round's."""
    parts = one.throughputs
    units = {part.unit for part in parts if part is not None}
    per = next(iter(units)) if len(units) == 1 else ""
    stacks = []
    for side, (head, window) in enumerate(
        zip(one.subject.heads, one.subject.measured, strict=True)
    ):
        part = parts[side] if parts else None
        if window is None or (per and part is None):
            continue
        count = window.units.get(per, 1.0)
        rate = part.rate if part is not None else None
        total = (_S / rate if rate else None) if per else window.get("wall.time")
        times = {line.name: (line.values[side] or 0.0) / count for line in one.categories}
        # A body that ends while its kernels run says nothing of the time around them.
        waits = per or (total or 0.0) >= sum(times.values())
        stacks.append(Stack(head, times, total if waits else None))
    what = f"a {per}" if per else "a round"
    return Drawing(
        svg=bars_svg(stacks, ident=f"{ident}-bars"),
        notes=(),
        title=f"What the time of {what} goes into: kernels by category, and what no kernel takes",
    )


def _timelines(subject: Subject, ident: str, most: int) -> Drawing | None:
    sides = [
        (head, timeline)
        for head, timeline in zip(subject.heads, subject.timelines, strict=False)
        if timeline is not None
    ]
    if not sides:
        return None
    notes = timelines_notes(sides, most=most)
    if len(sides) > SIDES:
        notes = (f"Drawn are the first {SIDES} of {len(sides)}.", *notes)
    return Drawing(
        svg=timelines_svg(sides, ident=f"{ident}-time", most=most),
        notes=notes,
        title="GPU timelines of one round of each, on one scale",
    )


def _grids(one: SideBySide, top: int) -> Iterator[Grid]:
    heads = one.subject.heads
    for part_title, lines in parts_of(one, top):
        names = short_names(line.name for line in lines)
        others = range(1, len(heads))
        chunks = [others[at : at + _ABREAST - 1] for at in range(0, len(others), _ABREAST - 1)]
        for number, chunk in enumerate(chunks):
            chosen = (0, *chunk)
            yield Grid(
                title=part_title if number == 0 else "",
                heads=tuple(heads[side] for side in chosen),
                rows=tuple(_row(line, names[line.name], chosen) for line in lines),
            )


def _row(line: Line, name: str, chosen: Sequence[int]) -> GridRow:
    shown = cells(line)
    full = line.name if name != line.name else ""
    return GridRow(Row(name, kind=line.category, full=full), tuple(shown[side] for side in chosen))
