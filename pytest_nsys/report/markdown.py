"""A run's results as short Markdown: for a comment on a pull request and the job summary of a CI.

Counts, what got worse with its culprits, the rest folded. Every name is text from elsewhere (a
kernel's author, a test's parameters): it stands in ``<code>``, with all that Markdown or HTML
would take for markup as character references, so that it neither ends a table's cell nor
mentions anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_nsys.errors import ReportError
from pytest_nsys.report.figures import FigureTable, Shown, figure_tables
from pytest_nsys.report.figures_text import cells, told
from pytest_nsys.report.run import RunReport, write_report
from pytest_nsys.storage.baselines.orphans import Orphan
from pytest_nsys.support.files import writing
from pytest_nsys.support.text import code, markdown_row, prose, visible
from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.changes import below_limit_lines, improvement_lines
from pytest_nsys.verdict.knob import knob_sentences
from pytest_nsys.verdict.verdict import Comparison, Verdict
from pytest_nsys.verdict.why import why_lines
from pytest_nsys.verdict.wording import (
    describe_contribution,
    format_limit,
    headline,
    notable,
    reproduce,
)
from pytest_nsys.windows.record import MAIN

LIMIT = 60_000
"""The most bytes of a text: GitHub takes comments of 65,536 characters."""

_COMMAND = 500
_ROWS = 10
_CULPRITS = 2
_URL = 2000
_RESERVED = 1000
"""Bytes kept for the lines that say what was left out."""

_WORSE = ("regressed", "over budget", "violated")
_FOLDED = ("inconclusive", "incomparable", "expected", "new")
_FIGURES = 20
_TESTS = 20
_NAMELESS = re.compile(r"[^A-Za-z0-9._]+")


def write_markdown(run: RunReport, path: Path, url: str | None = None) -> None:
    """Write the text; a reader sees the old file or the new, never a part.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, [render_markdown(run, url)])


def append_summary(run: RunReport, path: Path, url: str | None = None) -> None:
    """Append the text to a job's summary, which other steps' texts may be in already.

    Raises:
        ReportError: the file cannot be written.
    """
    remedy = "make it writable, or set nsys_job_summary = false"
    with (
        writing(f"the job summary {path}", ReportError, remedy),
        path.open("a", encoding="utf-8") as file,
    ):
        file.write("\n" + render_markdown(run, url))


def marker(name: str = "") -> str:
    """The first line, which nobody sees: by it a job finds its own comment, to replace it."""
    return " ".join(["<!-- pytest-nsys", *filter(None, [_NAMELESS.sub("-", name)]), "-->"])


def render_markdown(run: RunReport, url: str | None = None) -> str:
    """The text, of at most `LIMIT` bytes.

    Args:
        run: what was found.
        url: where the HTML report is published; None if it is not.
    """
    text = _Text("\n".join(_head(run, url)) + "\n")
    worse = [verdict for verdict in run.verdicts if verdict.status in _WORSE]
    text.section("### Worse", [_regression(verdict) for verdict in worse], "worse")
    text.section("### Why, as counted by ncu", _said(run, why_lines), "counted kernels")
    text.section("### Changed settings", _said(run, knob_sentences), "changed settings")
    text.section("### Better", _said(run, improvement_lines), "better")
    tables = figure_tables(run.verdicts, run.columns)
    for table in tables:
        _add_figures(text, table)
    text.folded("changed below the limit", _said(run, below_limit_lines))
    for status in _FOLDED:
        lines = [_line(verdict) for verdict in run.verdicts if verdict.status == status]
        text.folded(status, lines)
    warned = [
        f"- {code(verdict.nodeid)}: {prose(warning)}\n"
        for verdict in run.verdicts
        for warning in verdict.warnings
    ]
    text.folded("warnings", warned)
    without = [f"- {code(t.nodeid)}: {t.reason}\n" for t in run.unmeasured if t.baselines]
    text.folded("not measured, with a baseline", without)
    lost = [test for test in run.unmeasured if test.is_lost]
    text.folded("not measured", [f"- {code(test.nodeid)}: {prose(test.reason)}\n" for test in lost])
    gone = [orphan for orphan in run.orphans if not orphan.is_unmarked]
    text.folded("baselines without a test", [_orphan(orphan) for orphan in gone])
    text.folded("notes", [f"- {prose(note)}\n" for note in run.notes])
    recordings = _recordings(run.verdicts)
    text.folded("recordings", recordings if len(recordings) > 1 else [])
    for table in tables:
        _add_other_figures(text, table)
    return str(text)


def _said(run: RunReport, lines_of: Callable[[Verdict], Iterable[str]]) -> list[str]:
    """A list's line for each that a function has to say of a test."""
    return [
        f"- {code(verdict.nodeid)}: {prose(line)}\n"
        for verdict in run.verdicts
        for line in lines_of(verdict)
    ]


_FIGURE_TITLES: Mapping[Shown, str] = {"test": "Figures", "server": "Servers", "work": "Work"}


def _add_figures(text: _Text, table: FigureTable) -> None:
    """The table that the terminal shows; of many rows those that tell most."""
    head, lines = _figure_rows(table)
    first = [lines[row.nodeid, row.window] for row in told(table.rows, _FIGURES)]
    text.section(f"### {_FIGURE_TITLES[table.shown]}", first, "rows", head)


def _add_other_figures(text: _Text, table: FigureTable) -> None:
    """The other rows, where there are more."""
    head, lines = _figure_rows(table)
    first = {(row.nodeid, row.window) for row in told(table.rows, _FIGURES)}
    what = f"other rows: {_FIGURE_TITLES[table.shown].lower()}"
    text.folded(what, [line for row, line in lines.items() if row not in first], head)


def _figure_rows(table: FigureTable) -> tuple[str, dict[tuple[str, str], str]]:
    """The head of a table, and its lines by test and window."""
    shown = cells(table, table.rows, detail=2)
    texts = zip(*(one.texts for one in shown), strict=True)
    windows = any(row.window != MAIN for row in table.rows)
    names = ["test", *(["window"] if windows else []), *(prose(one.head) for one in shown), ""]
    start = [names, [":---"] * (1 + windows) + ["---:"] * len(shown) + [":---"]]
    lines = {}
    for row, found in zip(table.rows, texts, strict=True):
        window = [("" if row.window == MAIN else code(row.window))] if windows else []
        status = "" if row.status == "ok" else row.status
        line = [code(row.nodeid), *window, *found, status]
        lines[row.nodeid, row.window] = markdown_row(line) + "\n"
    return "".join(f"{markdown_row(line)}\n" for line in start), lines


def _recordings(verdicts: Iterable[Verdict]) -> list[str]:
    """A list's line for each recording: the device, and the tests that are from it."""
    tests: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for name in verdict.measurement.recordings:
            of = tests.setdefault((name, verdict.measurement.device), [])
            of.append(verdict.measurement.nodeid)
    lines = []
    for (name, device), nodeids in tests.items():
        shown = ", ".join(map(code, nodeids[:_TESTS]))
        more = f" and {len(nodeids) - _TESTS} more" if len(nodeids) > _TESTS else ""
        lines.append(f"- {code(name)} ({prose(device)}): {shown}{more}\n")
    return lines


def _orphan(orphan: Orphan) -> str:
    like = f": it looks like {code(orphan.looks_like)}" if orphan.looks_like else ""
    return f"- {code(orphan.head.nodeid)} ({prose(orphan.head.device)}){like}\n"


class _Text:
    """A text that grows up to its limit, and then says how much is missing."""

    def __init__(self, head: str) -> None:
        self._parts = [head]
        self._left = LIMIT - len(head.encode()) - _RESERVED

    def __str__(self) -> str:
        return "".join(self._parts)

    def _add(self, text: str, needed: str = "") -> bool:
        """Whether there was room for the text, and for what will be ``needed`` after it."""
        size = len(text.encode())
        if size + len(needed) > self._left:
            return False
        self._parts.append(text)
        self._left -= size
        return True

    def section(self, title: str, blocks: Sequence[str], what: str, head: str = "") -> None:
        """Blocks under a title, and a head of theirs, as many as there is room for."""
        self._enclosed(f"\n{title}\n\n{head}", blocks, "", what)

    def folded(self, what: str, lines: Sequence[str], head: str = "") -> None:
        """Lines that open on a click, as many as there is room for."""
        title = f"{len(lines)} {what}"
        start = f"\n<details><summary>{title}</summary>\n\n{head}"
        self._enclosed(start, lines, "\n</details>\n", what)

    def _enclosed(self, start: str, blocks: Sequence[str], end: str, what: str) -> None:
        if not blocks:
            return
        reserve = f"\nand {len(blocks)} more {what}\n{end}"
        if not self._add(start, reserve):
            self._parts.append(f"\n{len(blocks)} {what}: left out, this text is long enough\n")
            return
        for number, block in enumerate(blocks):
            if not self._add(block, reserve):
                self._add(f"\nand {len(blocks) - number} more {what}\n")
                break
        self._add(end)


def _head(run: RunReport, url: str | None) -> Iterator[str]:
    failed = sum(verdict.failed for verdict in run.verdicts)
    yield marker(run.name)
    title = f"GPU performance of {prose(run.name)}" if run.name else "GPU performance"
    yield f"## {title}: {run.told_counts()}"
    yield ""
    if failed:
        yield f"**{failed} of {len(run.verdicts)} measured tests failed by it.**"
        yield ""
    gpus = dict.fromkeys(verdict.measurement.environment.gpu for verdict in run.verdicts)
    facts = [prose(gpu) for gpu in gpus if gpu][:3]
    if run.command:
        facts.append(code(run.command, _COMMAND))
    if run.changes:
        new = sum(change.before is None for change in run.changes)
        facts.append(f"baselines written: {new} new, {len(run.changes) - new} updated")
    address = _address(url or "")
    if 0 < len(address) <= _URL:
        facts.append(f"[full report](<{address}>)")
    yield " · ".join(facts)


def _address(url: str) -> str:
    """An address as a link's target in angle brackets: nothing in it can end that."""
    return re.sub(
        r"[^A-Za-z0-9:/?&=#%._~+,;-]",
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")),
        url,
    )


@dataclass(frozen=True)
class _TableRow:
    """One metric of a table; its cells are Markdown."""

    window: str
    metric: str
    baseline: str
    current: str
    change: str
    limit: str
    culprits: str

    @classmethod
    def of(cls, part: Comparison) -> _TableRow:
        unit, then, now = part.metric.unit, part.baseline, part.current
        known = then is not None and now is not None
        named = notable(part)[0][:_CULPRITS]
        return cls(
            window="" if part.window == MAIN else code(part.window),
            metric=code(part.metric.key),
            baseline="-" if then is None else format_amount(then, unit),
            current="-" if now is None else format_amount(now, unit),
            change=format_change(then or 0.0, now or 0.0, unit) if known else "",
            limit=format_limit(part),
            culprits="<br>".join(code(describe_contribution(part, one)) for one in named),
        )


def _regression(verdict: Verdict) -> str:
    lines = [f"**{code(verdict.nodeid)}**: {prose(headline(verdict))}"]
    rows = [_TableRow.of(part) for part in verdict.worse[:_ROWS]]
    if rows:
        lines += ["", *_table(rows)]
        more = len(verdict.worse) - len(rows)
        lines += ["", f"and {more} more metrics"] if more else []
    if verdict.unmet:
        lines += ["", *(f"- {prose(one.text)}" for one in verdict.unmet[:_ROWS])]
    if len(verdict.unmet) > _ROWS:
        lines.append(f"- and {len(verdict.unmet) - _ROWS} more requirements")
    command = reproduce(verdict)
    if len(command) <= _COMMAND and visible(command) == command and "\n" not in command:
        lines += ["", f"Measure it again: {code(command, _COMMAND)}"]
    return "\n".join(lines) + "\n\n"


def _table(rows: Iterable[_TableRow]) -> Iterator[str]:
    rows = list(rows)
    columns = [
        ("window", ":---"),
        ("metric", ":---"),
        ("baseline", "---:"),
        ("current", "---:"),
        ("change", "---:"),
        ("limit", "---:"),
        ("culprits", ":---"),
    ]
    shown = [(name, rule) for name, rule in columns if any(getattr(row, name) for row in rows)]
    yield markdown_row(name for name, _ in shown)
    yield markdown_row(rule for _, rule in shown)
    for row in rows:
        yield markdown_row(getattr(row, name) for name, _ in shown)


def _line(verdict: Verdict) -> str:
    fails = " (fails)" if verdict.failed else ""
    said = headline(verdict)
    return f"- {code(verdict.nodeid)}{fails}" + ("\n" if said == "new" else f": {prose(said)}\n")
