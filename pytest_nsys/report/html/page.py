"""The HTML page as a whole: the overview of a run, and its tests one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pytest_nsys import __version__
from pytest_nsys.catalogue import lookup
from pytest_nsys.measure.measurement import Measurement
from pytest_nsys.plan.options import Mode
from pytest_nsys.report.html.measured_test import test_of
from pytest_nsys.report.html.model import BADGES, Badge, Page, Row, Stored, Told
from pytest_nsys.report.html.overview import overviews
from pytest_nsys.report.html.shown import KERNEL_TIME, shown_amount, shown_change
from pytest_nsys.report.html.sides import sides
from pytest_nsys.report.run import RunReport
from pytest_nsys.storage.baselines import Change
from pytest_nsys.support.units import format_count
from pytest_nsys.verdict.changes import below_limit_lines, improvement_lines
from pytest_nsys.verdict.knob import knob_sentences
from pytest_nsys.verdict.verdict import SEVERITY, Verdict

FULL = 40
"""Runs of up to so many tests are shown in full."""

FULL_FAILURES = 20
"""Of larger runs so many tests that failed, the worst first; of the others what is gated."""

_TOLD = 12
_STARTED = Badge("\N{RIGHTWARDS ARROW}", "started otherwise", "info")
_DRAWN = 5_000
_MOST_DRAWN = 800

_MODES: Mapping[Mode, str] = {
    "idle": "",
    "profile": "Compared with baselines where there are any (--nsys).",
    "gate": "A gate: tests that cannot be compared fail too (--nsys-baseline).",
    "update": "Every measured test was to become its own baseline (--nsys-update).",
    "update-new": "Missing baselines were to be recorded (--nsys-update-new).",
}

_WITH = ", with a baseline"


def page(run: RunReport, stored: Stored | None = None) -> Page:
    """Everything the page says about a run; failures come first, the worst of them first.

    Args:
        run: the run, or the verdicts on two stored captures.
        stored: what these are, if so.
    """
    order = sorted(
        enumerate(run.verdicts, start=1),
        key=lambda pair: (not pair[1].failed, -SEVERITY[pair[1].status]),
    )
    failed = sum(verdict.failed for verdict in run.verdicts)
    tests = []
    whole = len(order) if len(order) <= FULL else min(failed, FULL_FAILURES)
    for rank, (number, verdict) in enumerate(order):
        full = rank < whole
        most = _most_drawn(verdict, min(failed, whole), whole) if full else 0
        tests.append(test_of(verdict, number, full=full, most=most, stored=stored))
    if len(tests) == 1:
        tests = [replace(tests[0], open=True)]
    counts = run.counts()
    both = sides(run.verdicts)
    told = (
        *_told(order, knob_sentences, _STARTED),
        *_told(order, improvement_lines, BADGES["improved"]),
        *_told(order, below_limit_lines),
    )
    return Page(
        title=_title(run, stored),
        mode=_subject(run, stored),
        brief=_brief(len(tests), whole),
        notes=(*run.notes, *_apart(stored)),
        counts=tuple(
            (BADGES[status], str(counts[status]))
            for status in (*reversed([*SEVERITY]), "unmeasured")
            if counts[status]
        ),
        sides=both.rows if run.verdicts else (),
        alike=both.alike,
        told=told[:_TOLD],
        untold=f"and {len(told) - _TOLD} more" if len(told) > _TOLD else "",
        overviews=overviews(order, full=len(tests) == whole, columns=run.columns),
        failures=tuple(tests[:failed]),
        others=tuple(tests[failed:]),
        unmeasured=tuple(
            Row(test.nodeid, now=test.reason + _WITH * bool(test.baselines))
            for test in run.unmeasured
        ),
        written=tuple(_written(change) for change in run.changes),
        facts=tuple(_facts(run)),
        glossary=_glossary(run.verdicts),
        footer=f"pytest-nsys {__version__}",
    )


def _told(
    numbered: Iterable[tuple[int, Verdict]],
    lines: Callable[[Verdict], Iterable[str]],
    badge: Badge | None = None,
) -> Iterator[Told]:
    for number, verdict in numbered:
        for line in lines(verdict):
            yield Told(f"test-{number}", verdict.nodeid, badge, line)


def _subject(run: RunReport, stored: Stored | None) -> str:
    if stored is not None:
        return f"Two stored captures: {stored.before} is the baseline, {stored.after} is current."
    against = next((verdict.against for verdict in run.verdicts if verdict.against), "")
    if against:
        return f"The baseline is {against}, measured in the same run (--nsys-against)."
    return _MODES[run.mode]


def _apart(stored: Stored | None) -> Iterator[str]:
    if stored is not None:
        yield from (f"Only in the baseline: {nodeid}" for nodeid in stored.only_before)
        yield from (f"Only in the current one: {nodeid}" for nodeid in stored.only_after)


def _brief(tests: int, whole: int) -> str:
    if tests == whole:
        return ""
    which = "No test is" if not whole else "1 test is" if whole == 1 else f"{whole} tests are"
    return (
        f"{which} shown in full: in a run of more than {FULL} tests those that failed, up to "
        f"{FULL_FAILURES}; of the others the gated metrics. The JSON report (--nsys-json) has "
        "everything of all."
    )


def _most_drawn(verdict: Verdict, failed: int, tests: int) -> int:
    """Elements of a timeline's drawing, so that many tests still make a page that opens at once."""
    if verdict.failed:
        return max(60, min(_MOST_DRAWN, _DRAWN // failed))
    most = min(_MOST_DRAWN, _DRAWN // 3 // (tests - failed))
    return most if most >= 60 else 0


def _title(run: RunReport, stored: Stored | None) -> str:
    failed = sum(verdict.failed for verdict in run.verdicts)
    if stored is not None:
        several = f"{failed} of {len(run.verdicts)} tests {'is' if failed == 1 else 'are'}"
        alone = "This is" if failed and len(run.verdicts) == 1 else several
        return f"{alone if failed else 'Nothing is'} worse than the baseline"
    tests = format_count(len(run.verdicts) + len(run.unmeasured), "test")
    title = f"{failed} of {tests} failed" if failed else f"{tests}, no performance failure"
    return title + (f", {len(run.unmeasured)} not measured" if run.unmeasured else "")


def _written(change: Change) -> Row:
    """A baseline that was written; the change is that of its first window's kernel time."""
    then, now = _kernel_time(change.before), _kernel_time(change.after)
    return Row(
        change.after.nodeid,
        then=shown_amount(then, "ns"),
        now=shown_amount(now, "ns"),
        change=shown_change(then, now, "ns"),
        kind=str(change.path),
        tag="new" if change.before is None else "updated",
    )


def _kernel_time(measurement: Measurement | None) -> float | None:
    for window in measurement.windows.values() if measurement else ():
        return window.get(KERNEL_TIME)
    return None


def _facts(run: RunReport) -> Iterator[Row]:
    if run.command:
        yield Row("Command", now=run.command)
    if run.seconds:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.seconds.items())
        yield Row("Time spent", now=spent)
    if run.kept:
        yield Row("Raw reports kept in", now=Path(run.kept).name)


def _glossary(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    windows = [window for verdict in verdicts for window in verdict.measurement.windows.values()]
    keys = dict.fromkeys(key for window in windows for key in window.samples)
    return tuple(Row(key, now=lookup(key).about) for key in keys)
