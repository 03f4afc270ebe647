"""Captures or parameters side by side as text for an 80-column terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_nsys.offline.side_by_side import Line, SideBySide
from pytest_nsys.offline.side_by_side_words import (
    Lead,
    alone,
    cells,
    common,
    lead,
    legend,
    parts_of,
    sentences,
    side_facts,
    title,
)
from pytest_nsys.offline.subjects import Compared, letters
from pytest_nsys.support.text import WIDTH, code, markdown_row, prose, table, wrapped
from pytest_nsys.verdict.wording import short_names
from pytest_nsys.windows.record import MAIN

_LABEL = 30
"""A longer name has a line of its own above its figures."""


def side_by_side_lines(compared: Compared, shown: Sequence[SideBySide], top: int) -> list[str]:
    """Tables of at most 80 columns: as many of them as the sides need.

    Args:
        compared: the captures.
        shown: what to show of them.
        top: how many kernels to name.
    """
    lines = list(_captures(compared))
    for note in compared.notes:
        lines += wrapped(note, "note: ", "      ")
    for one in shown:
        if one.subject.is_alone:
            continue
        if one.subject.name:
            lines += ["", *wrapped(title(one.subject), "", "  ")]
        lines += [f"  {letter}  {text}" for letter, text in legend(one.subject)]
        said = sentences(one)
        if said:
            lines += ["", *(line for text in said for line in wrapped(text, "", "  "))]
        first = lead(one)
        if first is not None:
            lines += ["", f"{first.title}:", *_lead(first)]
        for part_title, part in parts_of(one, top):
            lines += ["", f"{part_title}:", *_tables(part, one.subject.heads)]
    others = alone(shown)
    if others:
        lines += ["", "without another to compare it with:", *(f"  {name}" for name in others)]
    return lines


def _captures(compared: Compared) -> Iterator[str]:
    sides = compared.sides
    for letter, side, facts in zip(letters(len(sides)), sides, side_facts(sides), strict=True):
        name = f"{letter}  " if len(sides) > 1 else ""
        yield f"{name}{side.path}"
        yield from wrapped(facts, "   ", "   ")


def _lead(lead: Lead) -> Iterator[str]:
    """A row per side; what a side is called has a line of its own where it is too long."""
    widths = [max(map(len, column)) for column in zip(*(row[1:] for row in lead.rows), strict=True)]
    room = WIDTH - 2 - sum(2 + width for width in widths)
    rows = [[row[0] if len(row[0]) <= room else "", *row[1:], ""] for row in lead.rows]
    for (name, *_), line in zip(lead.rows, table(rows), strict=True):
        if len(name) > room:
            yield f"  {name}"
        yield line


def _tables(lines: Sequence[Line], names: Sequence[str]) -> Iterator[str]:
    """The first side and as many others as fit, then it and further ones, until all were."""
    sides = len(names)
    shown_cells = [cells(line) for line in lines]
    widths = [max(len(row[side]) for row in [names, *shown_cells]) for side in range(sides)]
    shorter = short_names((line.name for line in lines), WIDTH - 2)
    label = min(_LABEL, max(map(len, shorter.values()), default=0))
    others = list(range(1, sides))
    while True:
        chosen, room = [0], WIDTH - 2 - label - 2 - widths[0]
        while others and (len(chosen) == 1 or widths[others[0]] + 2 <= room):
            room -= widths[others[0]] + 2
            chosen.append(others.pop(0))
        rows = [["", *(names[side] for side in chosen), ""]]
        for line, row in zip(lines, shown_cells, strict=True):
            name = shorter[line.name]
            rows.append([name if len(name) <= label else "", *(row[n] for n in chosen), ""])
        shown = table(
            [[cell.ljust(label) if n == 0 else cell for n, cell in enumerate(row)] for row in rows]
        )
        yield shown[0]
        for line, figures in zip(lines, shown[1:], strict=True):
            name = shorter[line.name]
            if len(name) > label:
                yield f"  {name}"
            yield figures
        if not others:
            return
        yield ""


def side_by_side_markdown(compared: Compared, shown: Sequence[SideBySide], top: int) -> str:
    """The same as tables of Markdown, each with all sides."""
    names = letters(len(compared.sides)) if len(compared.sides) > 1 else ("",)
    lines = [
        f"- {f'{name}: ' if name else ''}{code(side.path)}{facts and f' ({prose(facts)})'}"
        for name, side, facts in zip(names, compared.sides, side_facts(compared.sides), strict=True)
    ]
    if compared.notes:
        lines += ["", *(f"> {prose(note)}" for note in compared.notes)]
    for one in shown:
        if one.subject.is_alone:
            continue
        if one.subject.name:
            window = "" if one.subject.window == MAIN else f" {code(one.subject.window)}"
            shared = common(one.subject)
            lines += ["", f"### {code(one.subject.name)}{window}{shared and ', '}{prose(shared)}"]
        marked = [f"- {letter}: {prose(text)}" for letter, text in legend(one.subject)]
        lines += ["", *marked] if marked else []
        for said in sentences(one):
            lines += ["", prose(said)]
        first = lead(one)
        if first is not None:
            head, *rows = first.rows
            lines += [
                "",
                markdown_row([prose(f"{first.title}: {head[0]}".rstrip(": ")), *head[1:]]),
            ]
            lines.append("| :--- |" + " ---: |" * (len(head) - 1))
            lines += [markdown_row([code(row[0]), *row[1:]]) for row in rows]
        for part_title, part in parts_of(one, top):
            heads = one.subject.heads
            lines += ["", markdown_row([part_title, *map(prose, heads)])]
            lines.append("| :--- |" + " ---: |" * len(heads))
            lines += [markdown_row([code(line.name), *cells(line)]) for line in part]
    others = alone(shown)
    if others:
        lines += [
            "",
            "Without another to compare it with:",
            *(f"- {code(name)}" for name in others),
        ]
    return "\n".join(lines) + "\n"
