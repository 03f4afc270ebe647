"""What pytest prints under the name of a test that a capture failed."""

from __future__ import annotations

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from pytest_nsys.report.text import verdict_lines
from pytest_nsys.support.text import one_line, wrapped
from pytest_nsys.verdict.verdict import Verdict
from pytest_nsys.verdict.wording import brief, headline

Location = tuple[str, int | None, str]


class Explained(TerminalRepr):
    """A headline, and what explains it.

    ``reprcrash`` is where pytest's short summary and junitxml find what it is in brief.
    """

    def __init__(
        self,
        headline: str,
        lines: list[str],
        location: Location,
        *,
        brief: str = "",
        wraps: bool = False,
    ) -> None:
        path, line, _ = location
        self._headline = one_line(headline)
        self._wraps = wraps
        self._lines = [one_line(one) for one in lines]
        self.reprcrash = ReprFileLocation(path, (line or 0) + 1, one_line(brief or headline))

    def toterminal(self, tw: TerminalWriter) -> None:
        """Print it."""
        # What may hold paths or commands stays on one line, to be copied.
        first = wrapped(self._headline, "", "  ", tw.fullwidth) if self._wraps else [self._headline]
        for line in first:
            tw.line(line, bold=True, red=True)
        for line in self._lines:
            tw.line(line)

    def __str__(self) -> str:
        return "\n".join([self._headline, *self._lines])


def explain_verdict(verdict: Verdict, location: Location) -> Explained:
    """The culprit in the first line, then the tables, then how to repeat it."""
    first, short = headline(verdict, private=True), brief(verdict, private=True)
    wraps = bool(verdict.worse)
    return Explained(first, verdict_lines(verdict), location, brief=short, wraps=wraps)


def explain_text(text: str, location: Location) -> Explained:
    """What happened in the first line, then the evidence and what to do."""
    first, *lines = text.splitlines() or [""]
    return Explained(first, lines, location)
