"""The overview of a run: the figures of all tests, and how they have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_nsys.report.figures import (
    COLUMNS,
    Column,
    Figure,
    FigureRow,
    FigureTable,
    Shown,
    figure_tables,
)
from pytest_nsys.report.html.model import BADGES, Band, Cell, Overview, OverviewRow
from pytest_nsys.report.html.sentences import listed
from pytest_nsys.report.html.shown import clients_first, shown_amount, sortable
from pytest_nsys.support.units import format_change
from pytest_nsys.verdict.verdict import SEVERITY, Comparison, Status, Verdict
from pytest_nsys.verdict.wording import told_of
from pytest_nsys.windows.record import MAIN

BAR = 64
"""Pixels of the drawing of a change; no change is in its middle."""

_WHOLE = 0.5
"""The relative change that fills a half of it."""

_TITLES: Mapping[Shown, str] = {
    "test": "What tests do themselves",
    "server": "Servers under load",
    "work": "Work that tests say they do, by the time that the GPU was busy",
}
_TONES = {"regressed": "bad", "expected": "info", "inconclusive": "warn", "improved": "good"}
_SAID = {"regressed": "worse", "inconclusive": "undecided", "improved": "better"}


def overviews(
    numbered: Sequence[tuple[int, Verdict]], *, full: bool, columns: Sequence[str] = ()
) -> tuple[Overview, ...]:
    """The tables of a run's figures, in the order of the verdicts.

    Args:
        numbered: the verdicts, each with its place in the run.
        full: whether all windows are shown, or of what did not fail those alone that stand for
            their test.
        columns: the metrics to show in the place of the usual ones.
    """
    numbers = {verdict.nodeid: number for number, verdict in numbered}
    verdicts = {verdict.nodeid: verdict for _, verdict in numbered}
    tables = figure_tables((verdict for _, verdict in numbered), columns)
    return tuple(
        Overview(
            title=_TITLES[table.shown] if len(tables) > 1 else "",
            heads=tuple(_heads(table)),
            width=BAR,
            rows=tuple(
                _row(table, row, verdicts[row.nodeid], numbers[row.nodeid])
                for row in table.rows
                if full or _counts(row, verdicts[row.nodeid])
            ),
        )
        for table in tables
    )


def _counts(row: FigureRow, verdict: Verdict) -> bool:
    return row.window in verdict.measurement.bodies or SEVERITY[row.status] > SEVERITY["new"]


def _order(table: FigureTable) -> Sequence[int]:
    """The columns in the order in which they are shown: of a server, what clients see first."""
    places = range(len(table.columns))
    usual = table.columns == COLUMNS["server"]
    return clients_first(places) if usual else places


def _heads(table: FigureTable) -> Iterator[str]:
    for place in _order(table):
        yield table.columns[place].head
        if not place:
            yield from ("change", "scatter")


def _row(table: FigureTable, row: FigureRow, verdict: Verdict, number: int) -> OverviewRow:
    parts = {part.metric.key: part for part in verdict.comparisons if part.window == row.window}
    cells: list[Cell] = []
    for place in _order(table):
        column, figure = table.columns[place], row.figures[place]
        tone = _tone(column, parts)
        cells += _first(column, figure, tone) if not place else [_cell(column, figure, tone)]
    return OverviewRow(
        anchor=f"test-{number}",
        badge=BADGES[row.status],
        status=BADGES[verdict.status].word,
        nodeid=row.nodeid,
        window="" if row.window == MAIN else row.window,
        severity=SEVERITY[row.status] + 100 * verdict.failed,
        said="; ".join(_said(verdict, row.window, [*parts.values()])),
        cells=tuple(cells),
    )


def _said(verdict: Verdict, window: str, parts: Sequence[Comparison]) -> Iterator[str]:
    unmet = [one.status for one in verdict.unmet if one.window == window]
    if unmet:
        yield listed(unmet)
    for status, word in _SAID.items():
        found = [part for part in parts if part.status == status and part.gated]
        if found:
            yield f"{word}: {listed(part.metric.key for part in found)}"
        for part in (part for part in found[:1] if part.culprits):
            yield f"largest part: {told_of(part, part.culprits[0])[0]}"


def _tone(column: Column, parts: dict[str, Comparison]) -> str:
    found: list[Status] = [parts[key].status for key in column.keys if key in parts]
    return _TONES.get(max(found, key=SEVERITY.__getitem__, default="ok"), "")


def _first(column: Column, figure: Figure, tone: str) -> Iterator[Cell]:
    """The figure that a table is about, its change as a bar, and its scatter."""
    yield Cell(column.head, shown_amount(figure.current, figure.unit), sortable(figure.current))
    relative = _relative(figure)
    yield Cell(
        "change",
        _change(figure),
        value=sortable(relative),
        tone=tone,
        bar=None if relative is None else _bar(relative),
    )
    scatter = figure.scatter
    yield Cell(
        "scatter",
        "" if scatter is None else f"{100 * scatter:.1f}%",
        value=sortable(scatter),
    )


def _cell(column: Column, figure: Figure, tone: str) -> Cell:
    changed = figure.baseline is not None and figure.current != figure.baseline
    return Cell(
        column.head,
        shown_amount(figure.current, figure.unit),
        value=sortable(figure.current),
        note=_change(figure) if changed else "",
        tone=tone,
    )


def _change(figure: Figure) -> str:
    if figure.baseline is None or figure.current is None:
        return ""
    return format_change(figure.baseline, figure.current, figure.unit)


def _relative(figure: Figure) -> float | None:
    if not figure.baseline or figure.current is None:
        return None
    return (figure.current - figure.baseline) / figure.baseline


def _bar(relative: float) -> Band:
    length = min(abs(relative) / _WHOLE, 1.0) * BAR / 2
    start = BAR / 2 - (length if relative < 0 else 0.0)
    return Band(f"{start:.1f}", f"{max(length, 0.5):.1f}")
