"""Captures side by side as text for an 80-column terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, product
from string import ascii_uppercase

from pytest_nsys.offline.side_by_side import Line, Side, SideBySide, sum_known
from pytest_nsys.support.text import WIDTH, code, markdown_row, table
from pytest_nsys.support.units import format_amount, format_change, format_count
from pytest_nsys.verdict.wording import shorten
from pytest_nsys.windows.record import MAIN

_LABEL = 30
"""A longer name has a line of its own above its figures."""


def side_by_side_lines(sides: Sequence[Side], shown: Sequence[SideBySide], top: int) -> list[str]:
    """Tables of at most 80 columns: as many of them as the captures need.

    Args:
        sides: the captures.
        shown: what to show of them.
        top: how many kernels to name.
    """
    lines = list(_legend(sides))
    for one in shown:
        if one.subject.name:
            window = "" if one.subject.window == MAIN else f" [{one.subject.window}]"
            lines += ["", f"{one.subject.name}{window}"]
        for title, part in _parts(one, top):
            lines += ["", f"{title}:", *_tables(part, len(sides))]
    return lines


def _legend(sides: Sequence[Side]) -> Iterator[str]:
    for letter, side in zip(letters(len(sides)), sides, strict=True):
        environment = side.environment
        facts = [
            environment.gpu,
            f"driver {environment.driver}" if environment.driver else "",
            f"nsys {environment.nsys}" if environment.nsys else "",
            ""
            if side.instances is None
            else f"median of {format_count(side.instances, 'instance')}",
        ]
        known = ", ".join(fact for fact in facts if fact)
        yield f"{letter}  {side.path}"
        if known:
            yield f"   {known}"


def _parts(one: SideBySide, top: int) -> Iterator[tuple[str, tuple[Line, ...]]]:
    yield "metrics", one.metrics
    if one.categories:
        yield "kernel time by category", one.categories
    if one.kernels:
        named, rest = one.kernels[:top], one.kernels[top:]
        if rest:
            sides = range(len(one.subject.measured))
            sums = [sum_known(line.values[side] for line in rest) for side in sides]
            counts = [sum_known(line.counts[side] for line in rest) for side in sides]
            others = f"{len(rest)} other kernels"
            named += (Line(others, "ns", tuple(sums), tuple(counts)),)
        yield "kernels, the largest first", named


def _cells(line: Line) -> list[str]:
    """Per capture, the value and its change against the first."""
    first = line.values[0]
    return [_cell(line, side, first if side else None) for side in range(len(line.values))]


def _cell(line: Line, side: int, first: float | None) -> str:
    value = line.values[side]
    if value is None:
        return "-"
    if line.counts and not line.counts[side]:
        return "none"
    often = f"{line.counts[side]:g}x " if line.counts else ""
    shown = often + format_amount(value, line.unit)
    if first is None:
        return shown
    return f"{shown} {format_change(first, value, 'ns' if line.is_rate else line.unit)}"


def _tables(lines: Sequence[Line], sides: int) -> Iterator[str]:
    """The first capture and as many others as fit, then it and further ones, until all were."""
    names = letters(sides)
    cells = [_cells(line) for line in lines]
    widths = [max(len(row[side]) for row in [names, *cells]) for side in range(sides)]
    label = min(_LABEL, max((len(line.name) for line in lines), default=0))
    others = list(range(1, sides))
    while True:
        chosen, room = [0], WIDTH - 2 - label - 2 - widths[0]
        while others and (len(chosen) == 1 or widths[others[0]] + 2 <= room):
            room -= widths[others[0]] + 2
            chosen.append(others.pop(0))
        rows = [["", *(names[side] for side in chosen), ""]]
        for line, row in zip(lines, cells, strict=True):
            name = shorten(line.name)
            rows.append([name if len(name) <= label else "", *(row[n] for n in chosen), ""])
        shown = table(
            [[cell.ljust(label) if n == 0 else cell for n, cell in enumerate(row)] for row in rows]
        )
        yield shown[0]
        for line, figures in zip(lines, shown[1:], strict=True):
            name = shorten(line.name)
            if len(name) > label:
                yield f"  {name}"
            yield figures
        if not others:
            return
        yield ""


def side_by_side_markdown(sides: Sequence[Side], shown: Sequence[SideBySide], top: int) -> str:
    """The same as tables of Markdown, each with all captures."""
    lines = [f"- {letter}: {code(side.path)}" for letter, side in _lettered(sides)]
    for one in shown:
        if one.subject.name:
            window = "" if one.subject.window == MAIN else f" {code(one.subject.window)}"
            lines += ["", f"### {code(one.subject.name)}{window}"]
        for title, part in _parts(one, top):
            lines += ["", markdown_row([title, *letters(len(sides))])]
            lines.append("| :--- |" + " ---: |" * len(sides))
            lines += [markdown_row([code(line.name), *_cells(line)]) for line in part]
    return "\n".join(lines) + "\n"


def _lettered(sides: Sequence[Side]) -> Iterator[tuple[str, Side]]:
    return zip(letters(len(sides)), sides, strict=True)


def letters(number: int) -> list[str]:
    """``A``, ``B``, ... ``Z``, ``AA``, ...: what captures are called in a table."""
    names = ("".join(one) for size in count(1) for one in product(ascii_uppercase, repeat=size))
    return [next(names) for _ in range(number)]
