"""Findings as lines of text that fit an 80-column terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from pytest_nsys.insights.bottlenecks.finding import Finding

WIDTH = 80


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Per finding: its name and sentence, the evidence below it, and what to try."""
    lines = []
    for finding in findings:
        lines += _wrapped(f"{finding.name}: {finding.summary}", "", "  ")
        for line in finding.evidence:
            lines += _wrapped(line, "  - ", "    ")
        lines += _wrapped(finding.advice, "  try: ", "       ")
    return lines


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    # Kernel names have no spaces for hundreds of characters: they are broken, not cut off.
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
