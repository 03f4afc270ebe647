"""A verdict as the representation of a failed test: what pytest prints under its name."""

from __future__ import annotations

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from pytest_nsys.gate.verdict import Verdict
from pytest_nsys.gate.wording import headline
from pytest_nsys.report.text import verdict_lines


class VerdictRepr(TerminalRepr):
    """Shows a verdict: the culprit in the first line, then the table, then how to repeat it.

    ``reprcrash`` is where pytest's short summary and junitxml find the first line.
    """

    def __init__(self, verdict: Verdict, location: tuple[str, int | None, str]) -> None:
        path, line, _ = location
        self.headline = headline(verdict)
        self.reprcrash = ReprFileLocation(path, (line or 0) + 1, self.headline)
        self._lines = verdict_lines(verdict)

    def toterminal(self, tw: TerminalWriter) -> None:
        """Print it."""
        tw.line(self.headline, bold=True, red=True)
        for line in self._lines:
            tw.line(line)

    def __str__(self) -> str:
        return "\n".join([self.headline, *self._lines])
