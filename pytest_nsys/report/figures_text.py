"""The table of figures as lines for a terminal, as wide as that is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_nsys.report.figures import Figure, FigureRow, FigureTable, figure_tables
from pytest_nsys.support.text import WIDTH, columns, filled, shortened
from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.verdict import SEVERITY, Status, Verdict
from pytest_nsys.windows.record import MAIN

ROWS = 30
"""So many rows are shown of a suite that has more."""

Colour = Literal["", "red", "green", "yellow"]

_NAME = 16
"""As short as names of tests become before a column is left out."""

_TIMES = 10
"""From so many times the baseline on that is what is told, in the place of thousands of percent."""

_COLOURS: dict[Status, Colour] = {
    "regressed": "red",
    "over budget": "red",
    "violated": "red",
    "incomparable": "yellow",
    "inconclusive": "yellow",
    "expected": "yellow",
    "improved": "green",
}
_MARKS: dict[Colour, str] = {"red": "!", "yellow": "?", "green": "*", "": " "}


@dataclass(frozen=True)
class Line:
    """A line, and its colour; "" for the terminal's own."""

    text: str
    colour: Colour = ""


def figure_lines(
    tables: Iterable[FigureTable], width: int = WIDTH, most: int | None = ROWS, where: str = ""
) -> Iterator[Line]:
    """The tables under each other.

    Args:
        tables: what is shown.
        width: columns of the terminal; from 45 on no line is longer.
        most: so many rows of each at most; None for all.
        where: what has the others, where there are more.
    """
    for table in tables:
        rows = told(table.rows, most)
        yield from _lines(table, rows, width)
        left = len(table.rows) - len(rows)
        if left:
            others = (row.status for row in table.rows if row not in rows)
            worst = max(others, key=SEVERITY.__getitem__)
            yield Line(f"  and {left} more, the worst {worst}{where and ': ' + where}")


def figure_word(verdict: Verdict, keys: Sequence[str] = ()) -> str:
    """What a test's own line says of it: the first figure and its change; "" without one.

    Of several windows without a body that are a server's, the one that changed most. Where it is
    not the first figure that got worse, what did.
    """
    for table in figure_tables([verdict], keys):
        worse = [part for part in verdict.worse if None not in (part.baseline, part.current)]
        if worse and not any(part.metric.key in table.columns[0].keys for part in worse):
            then, now, metric = worse[0].baseline or 0.0, worse[0].current or 0.0, worse[0].metric
            return f"{metric.key} {format_change(then, now, metric.unit)}"
        row = max(table.rows, key=_moved) if table.shown == "server" else table.rows[0]
        figure = row.figures[0]
        if figure.current:
            per = "/token" if table.columns[0].keys[0].endswith(".per_token") else ""
            return _told_of(figure, changed=True, per=per)
    return ""


def changed_only(tables: Iterable[FigureTable]) -> tuple[FigureTable, ...]:
    """The rows that are not ok, of the tables that have any."""
    found = []
    for table in tables:
        rows = tuple(row for row in table.rows if row.status != "ok")
        if rows:
            found.append(FigureTable(table.shown, table.columns, rows))
    return tuple(found)


def _moved(row: FigureRow) -> float:
    figure = row.figures[0]
    if not figure.baseline or figure.current is None:
        return 0.0
    return abs(figure.current / figure.baseline - 1)


def told(rows: Sequence[FigureRow], most: int | None) -> Sequence[FigureRow]:
    """The rows that there is room for: what is worst, then what moved most; in their order."""
    if most is None or len(rows) <= most:
        return rows
    ranked = sorted(rows, key=lambda row: (-SEVERITY[row.status], -_moved(row)))
    chosen = {(row.nodeid, row.window) for row in ranked[:most]}
    return [row for row in rows if (row.nodeid, row.window) in chosen]


def _lines(table: FigureTable, rows: Sequence[FigureRow], width: int) -> Iterator[Line]:
    labels = [*_labels(rows)]
    longest = max(columns(label) for label, row in labels if row is not None)
    shown = _fitted(table, rows, width, longest)
    room = _room(shown, width)
    room = min(longest, max(room, _NAME))
    names = shortened((label for label, row in labels if row is not None), room)
    yield Line(_line(" ", "", room, [(one.head, one.width) for one in shown]))
    found = iter(zip(*(one.texts for one in shown), strict=True))
    for label, row in labels:
        if row is None:
            yield Line(f"  {shortened([label], max(_NAME, width - 2))[label]}")
        else:
            colour = _COLOURS.get(row.status, "")
            texts = [*zip(next(found), (one.width for one in shown), strict=True)]
            yield Line(_line(_MARKS[colour], names[label], room, texts), colour)
            told_in_row = any(key in row.worse for one in table.columns for key in one.keys)
            for key in [] if told_in_row else [*row.worse][:1]:
                below = f"{key} {_told_of(row.worse[key], changed=True)}"
                yield Line(f"    {shortened([below], max(_NAME, width - 4))[below]}", colour)


def _fitted(table: FigureTable, rows: Sequence[FigureRow], width: int, longest: int) -> list[Cells]:
    """The columns that leave room for names: for whole ones while only changes are left out."""
    wide = [cells(table, rows, detail) for detail in (2, 1, 0)]
    bare = cells(table, rows, -1)
    fewer = [wide[-1][:count] for count in range(len(wide[-1]), 1, -1)]
    sets = [
        (least, [*shown, *_worse(table, rows, shown)])
        for least, among in (
            (longest, wide),
            (min(_NAME, longest), [*fewer, bare[:2], bare[:1]]),
        )
        for shown in among
    ]
    fitting = (shown for least, shown in sets if _room(shown, width) >= least)
    return next(fitting, max((shown for _, shown in sets), key=lambda shown: _room(shown, width)))


def _worse(table: FigureTable, rows: Sequence[FigureRow], shown: Sequence[Cells]) -> list[Cells]:
    """A column more, of what got worse in rows whose columns had no room to say it."""
    heads = {key: column.head for column in table.columns for key in column.keys}
    texts = [
        next((f"{heads[key]} {_told_of(row.worse[key], changed=True)}" for key in untold), "")
        for row, untold in ((row, _untold(row, shown, heads)) for row in rows)
    ]
    return [Cells("", texts)] if any(texts) else []


def _untold(row: FigureRow, shown: Sequence[Cells], among: Collection[str]) -> list[str]:
    """What of these metrics got worse in a row, if nothing that did is in what is shown."""
    said = {key for one in shown for key in one.tells}
    if not said.isdisjoint(row.worse):
        return []
    return [key for key in row.worse if key in among]


def _line(mark: str, name: str, room: int, cells: Iterable[tuple[str, int]]) -> str:
    shown = [filled(cell, size, right=True) for cell, size in cells]
    return "  ".join([f"{mark} {filled(name, room)}", *shown]).rstrip()


def _room(shown: Sequence[Cells], width: int) -> int:
    """How many columns are left for names."""
    return width - 2 - sum(one.width + 2 for one in shown)


def _labels(rows: Sequence[FigureRow]) -> Iterator[tuple[str, FigureRow | None]]:
    """Each row under its test, and each test under its file where there are several."""
    files = {row.nodeid.partition("::")[0] for row in rows}
    file = test = ""
    for row in rows:
        where, _, name = row.nodeid.partition("::")
        if len(files) > 1 and where != file:
            yield f"{where}:", None
        file = where
        below = "  " if len(files) > 1 else ""
        if row.window == MAIN:
            yield below + (name or where), row
        else:
            if row.nodeid != test:
                yield below + (name or where), None
            yield f"{below}  {row.window}", row
        test = row.nodeid


@dataclass(frozen=True)
class Cells:
    """A column of texts.

    Attributes:
        head: its title.
        texts: by row.
        tells: the metrics whose changes are in it.
    """

    head: str
    texts: Sequence[str]
    tells: Sequence[str] = ()

    @property
    def width(self) -> int:
        """How wide it is."""
        return max(map(len, (self.head, *self.texts)))


def cells(table: FigureTable, rows: Sequence[FigureRow], detail: int) -> list[Cells]:
    """The columns in which there is something.

    Args:
        table: that the rows are of.
        rows: the rows.
        detail: of which figures the changes are shown: of the first alone (0; -1 without its
            scatter), of counts too (1), or of all (2).
    """
    first, *others = table.columns
    amount = _amount if detail < 0 else _scattered
    shown = [Cells(first.head, [amount(row.figures[0]) for row in rows])]
    changes = [_change(row.figures[0]) for row in rows]
    if any(changes):
        shown.append(Cells("change", changes, first.keys))
    for number, column in enumerate(others, 1):
        figures = [row.figures[number] for row in rows]
        if any(figure.current is not None for figure in figures):
            tells = detail == 2 or (detail == 1 and column.unit == "1")
            texts = [_told_of(figure, changed=tells) for figure in figures]
            shown.append(Cells(column.head, texts, column.keys if tells else ()))
    return shown


def _amount(figure: Figure) -> str:
    if figure.current is None:
        return "-"
    if figure.unit == "%":
        return f"{figure.current:.1f}%"
    return format_amount(figure.current, figure.unit)


def _change(figure: Figure) -> str:
    if figure.baseline is None or figure.current is None:
        return ""
    if figure.unit == "%" and figure.current != figure.baseline:
        return f"{figure.current - figure.baseline:+.1f} pp"
    if figure.unit != "1" and figure.baseline and figure.current >= _TIMES * figure.baseline:
        return f"x{figure.current / figure.baseline:.3g}"
    return format_change(figure.baseline, figure.current, figure.unit)


def _scattered(figure: Figure) -> str:
    spread = "" if figure.scatter is None else f" ±{figure.scatter:.1%}"
    return _amount(figure) + spread


def _told_of(figure: Figure, *, changed: bool, per: str = "") -> str:
    change = _change(figure) if changed else ""
    return _amount(figure) + per + (f" {change}" if change not in ("", "=") else "")
