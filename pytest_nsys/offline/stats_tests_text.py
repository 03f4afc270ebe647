"""The tests and windows of ``pytest-nsys stats`` as text for an 80-column terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pytest_nsys.catalogue import CLIENT, CLIENT_METRICS, SAID_BY_TESTS, Gates, lookup
from pytest_nsys.report.figures import (
    COLUMNS,
    STEP_COLUMNS,
    WORK_COLUMNS,
    Column,
    Figure,
    FigureRow,
    FigureTable,
    Shown,
)
from pytest_nsys.report.figures_text import figure_lines
from pytest_nsys.support.text import WIDTH, table, wrapped
from pytest_nsys.support.units import format_amount, format_count
from pytest_nsys.verdict.wording import short_names
from pytest_nsys.windows.record import MAIN

_KERNELS = 3
_NAME = 16
"""As short as names of windows become before further columns make another table."""

_WINDOWS = 24
"""So many windows have their kernels listed."""

_TITLES: Mapping[Gates, str] = {
    "test": "tests",
    "server": "servers under load",
}
_ERRORS = f"{CLIENT}errors"
_CLIENT_COLUMNS = (
    ("TTFT p50", f"{CLIENT}ttft_p50"),
    ("p95", f"{CLIENT}ttft_p95"),
    ("TPOT p50", f"{CLIENT}tpot_p50"),
    ("latency", f"{CLIENT}latency_p50"),
    ("p95", f"{CLIENT}latency_p95"),
    ("requests/s", f"{CLIENT}requests_per_s"),
    ("errors", _ERRORS),
)

_Json = Mapping[str, Any]


def window_lines(tests: Sequence[_Json]) -> list[str]:
    """The figures of all windows, rates of work, what clients saw, steps of engines, kernels."""
    if not tests:
        return []
    lines: list[str] = []
    for gates, title in _TITLES.items():
        rows = [row for row in tests if _gates(row) == gates]
        if rows:
            found = figure_lines(
                [_figures(gates, COLUMNS[gates], rows)], where="--format json has all"
            )
            lines += [
                "",
                f"{title} (medians over {_rounds(rows)}):",
                *(line.text for line in found),
            ]
    rates = [one for one in WORK_COLUMNS if any(one.keys[0] in row["metrics"] for row in tests)]
    if rates:
        working = [row for row in tests if not SAID_BY_TESTS.keys().isdisjoint(row["metrics"])]
        found = figure_lines([_figures("work", rates, working)], where="--format json has all")
        lines += ["", "work that tests say they do:", *(line.text for line in found)]
    served = [row for row in tests if _gates(row) == "server"]
    if served:
        lines += ["", "what clients saw:", *_of_windows(served, _CLIENT_COLUMNS)]
    stepped = [row for row in served if STEP_COLUMNS[0].keys[0] in row["metrics"]]
    if stepped:
        columns = [(column.head, column.keys[0]) for column in STEP_COLUMNS]
        lines += ["", "steps of the engine:", *_of_windows(stepped, columns)]
    return [*lines, "", "kernels of a round, the largest first:", *_kernels(tests)]


def _gates(row: _Json) -> Gates:
    return "test" if CLIENT_METRICS.isdisjoint(row["metrics"]) else "server"


def _rounds(tests: Sequence[_Json]) -> str:
    numbers = {test["rounds"] for test in tests}
    return "rounds" if len(numbers) > 1 else format_count(next(iter(numbers)), "round")


def _figures(shown: Shown, columns: Sequence[Column], tests: Sequence[_Json]) -> FigureTable:
    rows = []
    for test in tests:
        metrics: Mapping[str, float] = test["metrics"]
        figures = []
        for column in columns:
            known = [metrics[key] for key in column.keys if key in metrics]
            figures.append(Figure(column.unit, sum(known) if known else None))
        rows.append(FigureRow(test["nodeid"], test["window"], "new", tuple(figures)))
    return FigureTable(shown, tuple(columns), tuple(rows))


def _of_windows(tests: Sequence[_Json], columns: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Test by test, a row of metrics per window; columns are left out that none has, and those for
    which there is no room stand below."""
    for nodeid, rows in groupby(tests, key=lambda test: str(test["nodeid"])):
        yield f"  {nodeid}"
        windows = list(rows)
        names = [str(row["window"]) for row in windows]
        figures = [
            [head, *(_amount(key, row["metrics"]) for row in windows)]
            for head, key in columns
            if any(key in row["metrics"] for row in windows)
            and (key != _ERRORS or any(row["metrics"].get(key) for row in windows))
        ]
        least = min(_NAME, max(map(len, names)))
        for part, room in _side_by_side(figures, WIDTH - 4, least):
            shorter = short_names(names, room)
            heads, *lines = zip(*part, strict=True)
            shown = table(
                [
                    ["", *heads, ""],
                    *([shorter[name], *line, ""] for name, line in zip(names, lines, strict=True)),
                ]
            )
            yield from (f"  {line}" for line in shown)


def _side_by_side(
    columns: Sequence[Sequence[str]], width: int, least: int
) -> Iterator[tuple[Sequence[Sequence[str]], int]]:
    """As many of the columns as there is room for, then further ones; and the room for names that
    each such table leaves, at least so much."""
    part: list[Sequence[str]] = []
    room = width
    for column in columns:
        taken = 2 + max(map(len, column))
        if part and room - taken < least:
            yield part, room
            part, room = [], width
        part.append(column)
        room -= taken
    if part:
        yield part, room


def _amount(key: str, metrics: Mapping[str, float]) -> str:
    return format_amount(metrics[key], lookup(key).unit) if key in metrics else "-"


def _kernels(tests: Sequence[_Json]) -> Iterator[str]:
    for test in tests[:_WINDOWS]:
        yield from wrapped(name_of(test), "  ", "    ")
        total = sum(part["total_ns"] for part in test["categories"])
        if not total:
            yield "    no kernels"
            continue
        shares = ", ".join(
            f"{part['name']} {100 * part['total_ns'] / total:.3g}%" for part in test["categories"]
        )
        yield from wrapped(shares, "    ", "    ")
        shown = test["kernels"][:_KERNELS]
        names = short_names((part["name"] for part in shown), 48)
        rows = [
            (
                names[part["name"]],
                f"{part['count']:g}x",
                format_amount(part["total_ns"], "ns"),
                f"{100 * part['total_ns'] / total:.3g}%",
                "",
            )
            for part in shown
        ]
        yield from (f"  {line}" for line in table(rows))
        more = len(test["kernels"]) - len(shown)
        if more:
            yield f"    and {format_count(more, 'other kernel')}"
    if len(tests) > _WINDOWS:
        yield f"  and {format_count(len(tests) - _WINDOWS, 'window')} more (--format json has all)"


def name_of(row: _Json) -> str:
    """A window of a test, by their names."""
    window = row["window"]
    return f"{row['nodeid']} [{window}]" if window not in ("", MAIN) else str(row["nodeid"])
