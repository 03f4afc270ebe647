"""What a search found, for a terminal and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_nsys.bisection.record import Change, Record, Step
from pytest_nsys.bisection.search import Outcome, Range
from pytest_nsys.bisection.sides import Target
from pytest_nsys.support.json_values import written
from pytest_nsys.support.text import cut, wrapped
from pytest_nsys.support.units import format_amount, format_change, format_count

SCHEMA = 1
_SHORT = 10
_SUBJECT = 34
_LINE = 68
_MOST_SUSPECTS = 20
_CHANCE = "noise alone leads such a search astray in 1 % of cases at most"


@dataclass(frozen=True)
class Commit:
    """What git says of a commit.

    Attributes:
        hash: in full.
        author: name and address.
        date: as ISO 8601.
        subject: the first line of its message.
        files: its diffstat, line by line.
    """

    hash: str
    author: str
    date: str
    subject: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a search found.

    Attributes:
        span: what was searched.
        outcome: what was found.
        record: how.
        describe: what git says of a commit.
        command: how to measure the test anew, without the other commit.
    """

    span: Range
    outcome: Outcome
    record: Record
    describe: Callable[[str], Commit]
    command: Sequence[str]


def report_lines(report: Report) -> Iterator[str]:
    """What was found, for 80 columns."""
    outcome, total = report.outcome, report.record.total
    if outcome.why_not or total is None:
        good, bad = report.span.good[:_SHORT], report.span.bad[:_SHORT]
        yield f"BAD ({bad}) is not worse than GOOD ({good}), as far as can be told:"
        for line in outcome.why_not:
            yield from wrapped(line, "  ", "    ", whole=True)
        yield "nothing was searched; more processes see smaller changes: -- --nsys-processes=5"
        return
    yield from _verdict(report, total)
    yield ""
    yield from _table(report)
    yield ""
    runs = format_count(report.record.runs, "run")
    yield f"{runs} of pytest, {_duration(report.record.seconds)}"
    if total.target.kind == "timed":
        yield _CHANCE
    yield from _more(report)


def _verdict(report: Report, total: Change) -> Iterator[str]:
    outcome, target = report.outcome, total.target
    if len(outcome.suspects) == 1:
        commit = report.describe(outcome.suspects[0])
        short = commit.hash[:_SHORT]
        if outcome.is_found:
            yield from wrapped(
                f"{short} is the first commit that made {_name(target)} worse", "", "  "
            )
        else:
            yield f"{short} is where the search came to its end, and that is not certain"
        yield ""
        for head, text in (
            ("commit", commit.hash),
            ("author", commit.author),
            ("date", commit.date),
            ("subject", commit.subject),
        ):
            yield f"  {head:8} {text}"
        yield from _made(outcome, total)
    else:
        count = len(outcome.suspects)
        yield from wrapped(
            f"one of these {count} commits is the first that made {_name(target)} worse; those of "
            "them that were skipped could not be told",
            "",
            "  ",
        )
        yield ""
        for one in outcome.suspects[:_MOST_SUSPECTS]:
            yield f"  {one[:_SHORT]}  {report.describe(one).subject}"
        if count > _MOST_SUSPECTS:
            yield f"  and {count - _MOST_SUSPECTS} more"
    yield f"  {'GOOD-BAD':8} {_change(total)}"
    if total.culprit and outcome.change is not total:
        yield f"  {'':8} {_short(total.culprit)}"
    if len(outcome.suspects) == 1:
        for number, line in enumerate(commit.files):
            yield f"  {'files' * (not number):8} {line}"
    for number, other in enumerate(total.others):
        yield f"  {'also' * (not number):8} {other} is worse at BAD; it was not searched for"


def _made(outcome: Outcome, total: Change) -> Iterator[str]:
    """What the commit changed, beside its parent."""
    change, parent = outcome.change, outcome.parent[:_SHORT]
    if change is None:
        yield f"  {'change':8} it could not be measured beside its parent {parent}".rstrip()
        return
    yield f"  {'change':8} {_change(change)}, beside its parent {parent}"
    low, high = (_relative(change, end) for end in (change.low, change.high))
    if low != high:
        yield f"  {'':8} 95 % confidence: {low} to {high}"
    if change.culprit:
        yield f"  {'culprit':8} {_short(change.culprit)}"
    if not change.is_certain:
        yield f"  {'':8} which noise explains: several commits may each have made a part"
    elif change is not total and change.amount < 0.75 * total.amount:
        yield f"  {'':8} a part of what BAD lost; search the rest with GOOD = this commit"


def _table(report: Report) -> Iterator[str]:
    total = report.record.total
    assert total is not None
    rows = [("", report.span.good, "GOOD", "", ""), ("", report.span.bad, "BAD", "", "")]
    rows[1] = ("", report.span.bad, "BAD", _ratio(total.here / total.good if total.good else 0), "")
    for number, step in enumerate(report.record.steps, 1):
        rows.append((str(number), step.commit, step.verdict, _figure(step, total), step.why))
    yield f"  {'step':4}  {'commit':{_SHORT}}  {'verdict':7}  {'ratio':>7}  subject"
    for place, commit, verdict, figure, why in rows:
        subject = cut(report.describe(commit).subject, _SUBJECT, _SUBJECT - 3)
        line = f"  {place:>4}  {commit[:_SHORT]}  {verdict:7}  {figure:>7}  {subject}"
        yield line.rstrip()
        if why:
            yield from wrapped(why, " " * 8, " " * 8, whole=True)


def _more(report: Report) -> Iterator[str]:
    if len(report.outcome.suspects) != 1:
        yield "look further: mend what was skipped (--setup), or measure longer"
        yield "  (-- --nsys-processes=5), and search between the last good and the first bad one"
        return
    short, parent = report.outcome.suspects[0][:_SHORT], report.outcome.parent[:_SHORT]
    yield f"look further: git show {short}"
    if parent:
        yield "  and with the commit checked out, as a page with both timelines:"
        options = [f"--nsys-against={parent}", "--nsys-html=why.html"]
        yield f"  {shlex.join([*report.command, *options])}"


def _name(target: Target) -> str:
    place = "" if target.window == "test" else f", {target.window}"
    return f"{target.nodeid} ({target.key}{place})"


def _short(culprit: str) -> str:
    """A culprit for a line; how much of the change is of it stands at its end."""
    return cut(culprit, _LINE, _LINE // 2)


def _change(change: Change) -> str:
    unit = change.target.unit
    values = f"{format_amount(change.good, unit)} -> {format_amount(change.here, unit)}"
    return f"{change.target.key} {format_change(change.good, change.here, unit)} ({values})"


def _relative(change: Change, amount: float) -> str:
    sign = 1 if change.target.worse == "up" else -1
    return format_change(change.good, change.good + sign * amount, change.target.unit)


def _figure(step: Step, total: Change) -> str:
    if step.verdict == "skip":
        return "-"
    return _ratio(step.ratio) if step.ratio else format_amount(step.amount, total.target.unit)


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio else "-"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def report_document(report: Report) -> dict[str, Any]:
    """What was found, as JSON values: times in ns, sizes in bytes, changes in the metric's unit."""
    outcome, record = report.outcome, report.record
    return {
        "schema": SCHEMA,
        "good": report.span.good,
        "bad": report.span.bad,
        "found": outcome.is_found,
        "suspects": [written(report.describe(one)) for one in outcome.suspects],
        "change": written(outcome.change) if outcome.change else None,
        "parent": outcome.parent or None,
        "total": written(record.total) if record.total else None,
        "not_worse": [*outcome.why_not],
        "steps": [written(step) for step in record.steps],
        "runs": record.runs,
        "seconds": round(record.seconds, 1),
    }
