"""What pytest prints under the name of a test that a capture failed."""

from __future__ import annotations

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from pytest_nsys.report.text import verdict_lines
from pytest_nsys.support.text import one_line
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import headline

Location = tuple[str, int | None, str]


class Explained(TerminalRepr):
    """A headline, and what explains it.

    ``reprcrash`` is where pytest's short summary and junitxml find the headline.
    """

    def __init__(self, headline: str, lines: list[str], location: Location) -> None:
        path, line, _ = location
        self._headline = one_line(headline)
        self._lines = [one_line(one) for one in lines]
        self.reprcrash = ReprFileLocation(path, (line or 0) + 1, self._headline)

    def toterminal(self, tw: TerminalWriter) -> None:
        """Print it."""
        tw.line(self._headline, bold=True, red=True)
        for line in self._lines:
            tw.line(line)

    def __str__(self) -> str:
        return "\n".join([self._headline, *self._lines])


def explain_verdict(verdict: Verdict, location: Location) -> Explained:
    """The culprit in the first line, then the tables, then how to repeat it."""
    return Explained(headline(verdict, private=True), verdict_lines(verdict), location)


def explain_text(text: str, location: Location) -> Explained:
    """What happened in the first line, then the evidence and what to do."""
    first, *lines = text.splitlines() or [""]
    return Explained(first, lines, location)
