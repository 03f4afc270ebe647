"""Examining this machine, and what is said of it: as text, and as a document.

The document, for tools, has the schema 1. A later version of this package may add keys and checks;
it raises ``schema`` when a key goes or changes its meaning. ::

    {"schema": 1,
     "tool": {"name": "pytest-nsys", "version": "..."},
     "healthy": bool,                             no finding is a problem
     "counts": {"ok", "warning", "problem", "skipped": findings},
     "findings": [{"check": text, "status": "ok" | "warning" | "problem" | "skipped",
                   "what", "evidence", "remedy": text}, ...],
     "trial": [{"step": text, "seconds": number}, ...]}        empty if none was made
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, get_args

from pytest_nsys import __version__
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.checkup import Checkup, examine
from pytest_nsys.doctor.context import CheckResult, Status
from pytest_nsys.doctor.machine import Machine
from pytest_nsys.doctor.this_machine import ThisMachine
from pytest_nsys.doctor.trial import Trial, run_trial

SCHEMA = 1

_WIDTH = 80
_LABELS: dict[Status, str] = {
    "problem": "PROBLEM",
    "warning": "warning",
    "skipped": "skipped",
    "ok": "ok",
}
_LABEL_WIDTH = 9
_CHECK_WIDTH = 17


def examine_here(executable: str | None, machine: Machine | None = None) -> Checkup:
    """Examine, and make a trial capture.

    Args:
        executable: the nsys that the user asked for, if any.
        machine: what to examine; this machine if None.
    """
    return examine(ThisMachine() if machine is None else machine, executable, _try)


def _try(nsys: NsysTool, needs_gpu: bool) -> Trial:
    return run_trial(nsys, needs_gpu=needs_gpu)


def checkup_document(checkup: Checkup) -> dict[str, Any]:
    """The document, as JSON values."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "pytest-nsys", "version": __version__},
        "healthy": checkup.healthy,
        "counts": {status: checkup.count(status) for status in get_args(Status)},
        "findings": [asdict(result) for result in checkup.results],
        "trial": [{"step": step.name, "seconds": round(step.seconds, 3)} for step in checkup.steps],
    }


def checkup_lines(checkup: Checkup) -> list[str]:
    """The text, for 80 columns: a verdict, what was found from bad to good, the trial's times."""
    lines = [_verdict(checkup), "", *result_lines(checkup.results)]
    if checkup.steps:
        lines += ["", "The trial capture took:"]
        lines += [f"  {step.seconds:6.2f} s  {step.name}" for step in checkup.steps]
    return lines


def result_lines(results: Sequence[CheckResult]) -> list[str]:
    """What was found, from bad to good, for 80 columns."""
    lines: list[str] = []
    for status in _LABELS:
        found = [result for result in results if result.status == status]
        for result in found:
            lines += _full(result) if status in ("problem", "warning") else _short(result)
        if found and status in ("problem", "warning"):
            lines.append("")
    return lines


def _verdict(checkup: Checkup) -> str:
    problems, warnings = checkup.count("problem"), checkup.count("warning")
    good = "captures can be made here" if checkup.healthy else "captures will fail or be wrong"
    return f"pytest-nsys doctor: {good} ({_counted(problems, 'problem')}, " + (
        f"{_counted(warnings, 'warning')})"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _full(result: CheckResult) -> Iterator[str]:
    yield from _wrapped(f"{result.check}: {result.what}", _LABELS[result.status], _LABEL_WIDTH)
    for line in result.evidence.splitlines():
        yield from _wrapped(line, "", _LABEL_WIDTH + 2)
    if result.remedy:
        yield from _wrapped(f"What to do: {result.remedy}", "", _LABEL_WIDTH)


def _short(result: CheckResult) -> Iterator[str]:
    label = f"{_LABELS[result.status]:{_LABEL_WIDTH}}{result.check}"
    indent = _LABEL_WIDTH + _CHECK_WIDTH
    yield from _wrapped(result.what, label, indent)
    for line in result.evidence.splitlines():
        yield from _wrapped(line, "", _LABEL_WIDTH + 2)
    if result.remedy:
        yield from _wrapped(f"({result.remedy})", "", _LABEL_WIDTH + 2)


def _wrapped(text: str, label: str, indent: int) -> Iterator[str]:
    """The text behind a label; words are kept whole, for paths and commands are to be copied."""
    lines = textwrap.wrap(
        text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False
    ) or [""]
    yield f"{label:{indent}}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield " " * indent + line
