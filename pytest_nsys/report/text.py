"""Verdicts as lines of text that fit an 80-column terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby

from pytest_nsys.catalogue import Metric, default_gates, lookup, parse_family, parse_range
from pytest_nsys.measure.measurement import WindowMeasurement, process_medians
from pytest_nsys.report.run import RunReport, sides_of
from pytest_nsys.storage.baselines import Change
from pytest_nsys.storage.baselines.orphans import Orphan
from pytest_nsys.support.text import WIDTH, cut, table, wrapped
from pytest_nsys.support.units import format_amount, format_change
from pytest_nsys.verdict.changes import below_limit_lines, improvement_lines
from pytest_nsys.verdict.culprit import contributions
from pytest_nsys.verdict.knob import knob_sentences
from pytest_nsys.verdict.verdict import Comparison, Verdict
from pytest_nsys.verdict.why import why_lines
from pytest_nsys.verdict.wording import (
    accept,
    brief,
    demand,
    describe_contribution,
    find_out,
    format_limit,
    headline,
    notable,
    place,
    recording_command,
    rename_command,
    reproduce,
    told_of,
)
from pytest_nsys.windows.record import MAIN

_CULPRITS_UPDATED = 3
_PROCESSES = 5
_LOST = 10
_SKIPPED = 10
_ORPHANS = 10
_FAILED = 30
_TESTS = 10
_METRICS = 4
_SIGNS = {"<- worse": "!", "better": "*", "": " "}
_Sides = tuple[str, str]
_MEASURED: _Sides = ("baseline", "current")
_STORED: _Sides = ("before", "after")
"""Two stored captures, neither of which is a baseline."""


def verdict_lines(verdict: Verdict) -> list[str]:
    """What stands under the headline of a failed test: all else there is, and how to repeat it."""
    told = headline(verdict, private=True)
    lines = [*_tables(verdict), *_unmet(verdict, told)]
    notes = (note for note in (*verdict.notes, *verdict.warnings) if not told.endswith(note))
    lines += [f"note: {note}" for note in notes]
    where = " (where its GPU is)" if verdict.measurement.recordings else ""
    lines += ["", *_to_do(f"to measure it again{where}:", reproduce(verdict))]
    if accept(verdict):
        lines += _to_do("to accept it:", accept(verdict))
    if find_out(verdict):
        lines += _to_do("to see what is too noisy to tell:", find_out(verdict))
    return lines


def _to_do(what: str, command: str) -> list[str]:
    """A command, whole on a line, so that it can be copied."""
    line = f"{what} {command}"
    return [line] if len(line) <= WIDTH else [what, f"  {command}"]


def comparison_lines(verdict: Verdict) -> list[str]:
    """A verdict on a stored capture: its name, the headline, what to know of it, the tables."""
    notes = [line for note in verdict.notes for line in wrapped(note, "note: ", "  ")]
    first = wrapped(f"{verdict.nodeid}: {headline(verdict)}", "", "  ", whole=True)
    return [*first, *notes, *_tables(verdict, _STORED), ""]


def worse_line(verdicts: Sequence[Verdict]) -> str:
    """The last of a comparison of stored captures: how many are worse, and which; and of how many
    nothing is known."""
    worse = [one.nodeid.partition("::")[2] or one.nodeid for one in verdicts if one.failed]
    named = ", ".join(worse[:_TESTS])
    more = f" and {len(worse) - _TESTS} more" if len(worse) > _TESTS else ""
    apart = sum(verdict.status == "incomparable" for verdict in verdicts)
    unknown = f", {apart} incomparable" if apart else ""
    return f"{len(worse)} of {len(verdicts)} worse{unknown}{named and ': '}{named}{more}"


def _unmet(verdict: Verdict, told: str) -> list[str]:
    """The requirements that do not hold, but for one that is the whole headline."""
    lines = [f"{place(one.window)}{demand(one)}" for one in verdict.unmet]
    if lines in ([], [told]):
        return []
    return ["", "requirements that do not hold:", *(f"  {line}" for line in lines)]


def _tables(verdict: Verdict, sides: _Sides = _MEASURED) -> list[str]:
    lines = []
    shown = [part for part in verdict.comparisons if part.gated]
    for window, parts in groupby(shown, key=lambda part: part.window):
        rows = list(parts)
        lines += ["", f"window {window!r}:" if window != MAIN else "the test's body:"]
        header = ("metric", *sides, "change", "limit", "")
        lines += _table([header, *(_row(part) for part in rows if _says_something(part))])
        notes = dict.fromkeys(part.note for part in rows if part.note)
        lines += [f"  {note}" for note in notes if note not in verdict.notes]
    for part in shown:
        lines += _by_process(verdict, part, sides)
    told: set[tuple[str, str]] = set()
    for part in verdict.worse:
        named = {(part.window, culprit.label) for culprit in notable(part)[0]}
        if not named <= told:  # or it would say the same once more, in another unit
            lines += _culprits(part)
        told |= named
    why = why_lines(verdict)
    if why:
        lines += ["", "counted by ncu:"]
        lines += [line for one in why for line in wrapped(one, "  ", "    ", WIDTH)]
    return lines


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The table; if it is too wide, with a sign before each row in the place of a word behind."""
    lines = table(rows)
    if max(map(len, lines)) > WIDTH:
        signs = [_SIGNS.get(row[-1], "?") for row in rows]
        lines = [
            f"{sign}{line[1:]}"
            for sign, line in zip(signs, table([(*row[:-1], "") for row in rows]), strict=True)
        ]
    return lines


def _by_process(verdict: Verdict, part: Comparison, sides: _Sides) -> list[str]:
    """The processes of a timed metric that is not simply ok, where it was measured in several."""
    now, then = sides_of(verdict, part.window)
    if part.noise is None or part.status == "ok" or now is None or then is None:
        return []
    rows = [process_medians(window.by_process(part.metric.key)) for window in (then, now)]
    if len(rows[1]) < 2:
        return []
    lines = ["", f"{place(part.window)}{part.metric.key} by process:"]
    for name, medians in zip(sides, rows, strict=True):
        shown = [format_amount(median, part.metric.unit) for median in medians[:_PROCESSES]]
        more = [f"and {len(medians) - _PROCESSES} more"] if len(medians) > _PROCESSES else []
        lines.append(f"  {name:8}  {', '.join(shown + more)}")
    return lines


def _culprits(part: Comparison) -> list[str]:
    if not part.culprits:
        return []
    lines = ["", f"{place(part.window)}{part.metric.key} changed by:"]
    named, rest = notable(part)
    for culprit in named:
        first, *more = told_of(part, culprit)
        lines.append(f"  {first}")
        for text in more:
            lines += wrapped(text, "    ", "    ")
    others = len(part.culprits) - len(named)
    if others:
        sign = "+" if rest >= 0 else "-"
        amount = format_amount(abs(rest), part.metric.unit)
        lines.append(f"  {others} other{'s' * (others > 1)} {sign}{amount}")
    return lines


def _says_something(part: Comparison) -> bool:
    """Whether a row is worth a line: what is zero on both sides is not."""
    return part.current is not None and (part.status != "ok" or bool(part.current or part.baseline))


def _row(part: Comparison) -> tuple[str, ...]:
    unit = part.metric.unit
    baseline = "-" if part.baseline is None else format_amount(part.baseline, unit)
    current = "-" if part.current is None else format_amount(part.current, unit)
    change = (
        ""
        if part.baseline is None or part.current is None
        else format_change(part.baseline, part.current, unit)
    )
    return (part.metric.key, baseline, current, change, format_limit(part), _mark(part))


def _mark(part: Comparison) -> str:
    return {"regressed": "<- worse", "improved": "better", "ok": ""}.get(part.status, part.status)


def summary_lines(
    run: RunReport, width: int = WIDTH, told: Collection[str] = (), *, tabled: bool = False
) -> list[str]:
    """The summary section: counts, what got worse, what could not be compared, what changed.

    Args:
        run: what was found.
        width: characters of a line; names and commands may take more.
        told: tests whose failure is told elsewhere, in a line each.
        tabled: whether there is a table of all tests besides.
    """
    lines = [run.told_counts()]
    failed = [one for one in run.verdicts if one.failed and one.nodeid not in told]
    for verdict in failed[:_FAILED]:
        lines.append(f"FAILED {verdict.nodeid}")
        lines.append(_fitting(brief(verdict, private=True), width))
    if len(failed) > _FAILED:
        lines.append(f"  and {len(failed) - _FAILED} more FAILED")
    if run.mode != "update":  # there, what was updated says by how much
        lines += _others(run, width)
        lines += _changed(run.verdicts, width)
    lines += _warnings(run)
    lost = [test for test in run.unmeasured if test.is_lost]
    lines += [f"not measured: {test.nodeid}: {test.reason}" for test in lost[:_LOST]]
    if len(lost) > _LOST:
        lines.append(f"  and {len(lost) - _LOST} more not measured")
    without = [test for test in run.unmeasured if test.baselines]
    lines += [f"{test.reason}, with a baseline: {test.nodeid}" for test in without[:_SKIPPED]]
    if len(without) > _SKIPPED:
        lines.append(f"  and {len(without) - _SKIPPED} more with a baseline")
    for note in run.notes:
        lines += wrapped(f"note: {note}", "", "  ", width, whole=True)
    lines += _changes(run.changes, tabled=tabled)
    lines += _orphans(run.orphans)
    if run.kept:
        lines.append(
            f"raw reports are in {run.kept}; they hold environments, command lines and output: "
            "do not publish them"
        )
    return lines


def _fitting(text: str, width: int) -> str:
    """A line below a test's name, cut off at its end where it is too long."""
    return "  " + cut(text, width - 2, width - 5)


def _others(run: RunReport, width: int) -> Iterator[str]:
    """What did not fail, and is neither well nor better."""
    others = [v for v in run.verdicts if not v.failed and v.status not in ("ok", "improved")]
    for status, group in groupby(sorted(others, key=lambda v: v.status), key=lambda v: v.status):
        verdicts = list(group)
        # Where all are new, the counts say so.
        named = [] if status == "new" and len(verdicts) == len(run.verdicts) else verdicts
        for verdict in named[:_TESTS]:
            yield f"{status}: {verdict.nodeid}"
            if status in ("inconclusive", "expected"):
                yield from wrapped(headline(verdict, private=True), "  ", "    ", width)
                if find_out(verdict):
                    yield f"  what would tell: {find_out(verdict)}"
            elif status != "new":  # it may hold a command, which is to be copied
                yield f"  {headline(verdict, private=True)}"
        if len(named) > _TESTS:
            yield f"  and {len(verdicts) - _TESTS} more {status}"
        if status == "new" and any(not verdict.against for verdict in verdicts):
            recordings = (name for one in verdicts for name in one.measurement.recordings)
            command = recording_command(dict.fromkeys(recordings), "--nsys-update-new")
            yield f"  record their baselines with: {command}"


def _changed(verdicts: Iterable[Verdict], width: int) -> Iterator[str]:
    """What got better, and what changed within its limits, whatever else the tests are."""
    for what, lines_of in (
        ("started otherwise: ", knob_sentences),
        ("improved: ", improvement_lines),
        ("", below_limit_lines),
    ):
        found = [(verdict.nodeid, lines) for verdict in verdicts if (lines := lines_of(verdict))]
        for nodeid, lines in found[:_TESTS]:
            yield f"{what}{nodeid}"
            for line in lines[:_METRICS]:
                yield from wrapped(line, "  ", "    ", width)
            if len(lines) > _METRICS:
                yield f"  and {len(lines) - _METRICS} more"
        if len(found) > _TESTS:
            yield f"  and {len(found) - _TESTS} more tests"


def _warnings(run: RunReport) -> Iterator[str]:
    """What is to be known of tests that passed; those that failed say it where they do."""
    warned = [one for one in run.verdicts if one.warnings and not one.failed]
    for verdict in warned[:_TESTS]:
        yield f"warning: {verdict.nodeid}"
        yield from (f"  {warning}" for warning in verdict.warnings)
    if len(warned) > _TESTS:
        yield f"  and {len(warned) - _TESTS} more with a warning"


def _orphans(orphans: Sequence[Orphan]) -> Iterator[str]:
    """The baselines whose tests are gone, and what to do about them."""
    for orphan in orphans[:_ORPHANS]:
        yield f"baseline without a test: {orphan.head.nodeid} ({orphan.head.device})"
        if orphan.is_unmarked:
            yield "  the test is there, and is not measured: has it lost its marker?"
        elif orphan.looks_like:
            yield f"  it looks like {orphan.looks_like}, which is new; if it was renamed:"
            yield f"  {rename_command(orphan.head.nodeid, orphan.looks_like)}"
    if len(orphans) > _ORPHANS:
        yield f"  and {len(orphans) - _ORPHANS} more baselines without a test"
    if any(not orphan.is_unmarked for orphan in orphans):
        yield "  remove what is left behind with: pytest-nsys baselines prune"


def _changes(changes: Sequence[Change], *, tabled: bool) -> list[str]:
    """What was recorded, unless a table has it, and what was updated with what that changed."""
    lines = []
    new = [change.after.nodeid for change in changes if change.before is None and not tabled]
    lines += [f"recorded {nodeid}" for nodeid in new[:_TESTS]]
    if len(new) > _TESTS:
        lines.append(f"  and {len(new) - _TESTS} more recorded")
    updated = [change for change in changes if change.before is not None]
    for change in updated[:_TESTS]:
        lines.append(f"updated {change.after.nodeid}")
        lines += [f"  {line}" for line in _moved(change)]
    if len(updated) > _TESTS:
        lines.append(f"  and {len(updated) - _TESTS} more updated")
    return lines


def _moved(change: Change) -> Iterator[str]:
    """Windows that came or went, and gated metrics that moved, with what they moved by."""
    assert change.before is not None
    then_windows, now_windows = change.before.windows, change.after.windows
    for name in dict.fromkeys((*now_windows, *then_windows)):
        if name not in then_windows or name not in now_windows:
            yield f"window {name!r} is {'new' if name in now_windows else 'gone'}"
        else:
            yield from _moved_window(name, then_windows[name], now_windows[name])


def _moved_window(name: str, before: WindowMeasurement, after: WindowMeasurement) -> Iterator[str]:
    named: set[str] = set()
    for metric in _updated_metrics(before, after):
        unit = metric.unit
        then, now = before.get(metric.key), after.get(metric.key)
        if then is None or now is None:
            found = "new" if then is None else "gone"
            yield f"{place(name)}{metric.key} is {found}"
        elif then != now:
            yield (
                f"{place(name)}{metric.key} {format_amount(then, unit)} -> "
                f"{format_amount(now, unit)} ({format_change(then, now, unit)})"
            )
            if metric.tolerance is None or abs(now - then) <= metric.tolerance.limit(then):
                continue
            culprits = contributions(metric, before, after)
            part = Comparison(name, metric, "ok", True, then, now, culprits=culprits)
            for culprit in notable(part)[0][:_CULPRITS_UPDATED]:
                if culprit.label not in named:
                    named.add(culprit.label)
                    yield f"  {describe_contribution(part, culprit)}"


def _updated_metrics(*windows: WindowMeasurement) -> list[Metric]:
    """What is gated by default, and the parametrised ones, that a marker asked for."""
    asked = dict.fromkeys(
        key for window in windows for key in window.samples if parse_family(key) or parse_range(key)
    )
    keys = {key for window in windows for key in window.samples}
    gates = dict.fromkeys(metric for window in windows for metric in default_gates(window.gates))
    return [*(metric for metric in gates if metric.key in keys), *map(lookup, asked)]
