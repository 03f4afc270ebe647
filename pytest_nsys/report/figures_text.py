"""The table of figures as lines for a terminal, as wide as that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_nsys.report.figures import Figure, FigureRow, FigureTable, figure_tables
from pytest_nsys.support.text import WIDTH, cut, shortened
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
        width: characters of a line; from 60 on none is longer.
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
        row = max(table.rows, key=_moved) if table.gates == "server" else table.rows[0]
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
            found.append(FigureTable(table.gates, table.columns, rows))
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
    longest = max(len(label) for label, row in labels if row is not None)
    for detail in (2, 1, 0):
        head, texts = cells(table, rows, detail)
        room = _room(head, texts, width)
        if room >= longest or detail == 0:
            break
    while room < min(_NAME, longest) and len(head) > 2:
        head, texts = head[:-1], [row[:-1] for row in texts]
        room = _room(head, texts, width)
    room = min(longest, max(room, _NAME))
    names = shortened((label for label, row in labels if row is not None), room)
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    yield Line(_line(" ", "", room, head, widths))
    found = iter(texts)
    for label, row in labels:
        if row is None:
            yield Line(f"  {cut(label, width - 2, width // 2)}")
        else:
            colour = _COLOURS.get(row.status, "")
            text = _line(_MARKS[colour], names[label], room, next(found), widths)
            yield Line(text, colour)


def _line(mark: str, name: str, room: int, cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = [cell.rjust(size) for cell, size in zip(cells, widths, strict=True)]
    return "  ".join([f"{mark} {name.ljust(room)}", *shown]).rstrip()


def _room(head: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> int:
    """How many characters are left for names."""
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    return width - 2 - sum(size + 2 for size in widths)


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


def cells(
    table: FigureTable, rows: Sequence[FigureRow], detail: int
) -> tuple[list[str], list[list[str]]]:
    """Titles, and texts by row, without columns in which there is nothing.

    Args:
        detail: of which figures the changes are shown: of the first alone (0), of counts too (1),
            or of all (2).
    """
    first, *others = table.columns
    head, columns = [first.head], [[_scattered(row.figures[0]) for row in rows]]
    changes = [_change(row.figures[0]) for row in rows]
    if any(changes):
        head, columns = [*head, "change"], [*columns, changes]
    for number, column in enumerate(others, 1):
        figures = [row.figures[number] for row in rows]
        if any(figure.current is not None for figure in figures):
            tells = detail == 2 or (detail == 1 and column.unit == "1")
            head.append(column.head)
            columns.append([_told_of(figure, changed=tells) for figure in figures])
    return head, [list(row) for row in zip(*columns, strict=True)]


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
