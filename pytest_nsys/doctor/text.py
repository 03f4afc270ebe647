"""A diagnosis as text for a terminal of 80 columns, what is wrong first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pytest_nsys.doctor.diagnosis import Diagnosis
from pytest_nsys.doctor.finding import Finding, Status

_WIDTH = 80
_LABELS: dict[Status, str] = {
    "problem": "PROBLEM",
    "warning": "warning",
    "skipped": "skipped",
    "ok": "ok",
}
_LABEL_WIDTH = 9
_CHECK_WIDTH = 17


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """The lines to print: a verdict, the findings from bad to good, the trial's times."""
    lines = [_verdict(diagnosis), ""]
    for status in _LABELS:
        found = [finding for finding in diagnosis.findings if finding.status == status]
        for finding in found:
            lines += _full(finding) if status in ("problem", "warning") else _short(finding)
        if found and status in ("problem", "warning"):
            lines.append("")
    if diagnosis.steps:
        lines += ["", "The trial capture took:"]
        lines += [f"  {step.seconds:6.2f} s  {step.name}" for step in diagnosis.steps]
    return lines


def _verdict(diagnosis: Diagnosis) -> str:
    problems, warnings = diagnosis.count("problem"), diagnosis.count("warning")
    good = "captures can be made here" if diagnosis.healthy else "captures will fail or be wrong"
    return f"pytest-nsys doctor: {good} ({_counted(problems, 'problem')}, " + (
        f"{_counted(warnings, 'warning')})"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _full(finding: Finding) -> Iterator[str]:
    yield from _wrapped(f"{finding.check}: {finding.what}", _LABELS[finding.status], _LABEL_WIDTH)
    for line in finding.evidence.splitlines():
        yield from _wrapped(line, "", _LABEL_WIDTH + 2)
    if finding.remedy:
        yield from _wrapped(f"What to do: {finding.remedy}", "", _LABEL_WIDTH)


def _short(finding: Finding) -> Iterator[str]:
    label = f"{_LABELS[finding.status]:{_LABEL_WIDTH}}{finding.check}"
    indent = _LABEL_WIDTH + _CHECK_WIDTH
    yield from _wrapped(finding.what, label, indent)
    for line in finding.evidence.splitlines():
        yield from _wrapped(line, "", _LABEL_WIDTH + 2)
    if finding.remedy:
        yield from _wrapped(f"({finding.remedy})", "", _LABEL_WIDTH + 2)


def _wrapped(text: str, label: str, indent: int) -> Iterator[str]:
    """The text behind a label; words are kept whole, for paths and commands are to be copied."""
    lines = textwrap.wrap(
        text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False
    ) or [""]
    yield f"{label:{indent}}{lines[0]}".rstrip()
    for line in lines[1:]:
        yield " " * indent + line
