"""A history as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_nsys.report.html.history.page import history_page
from pytest_nsys.report.html.template import fill
from pytest_nsys.report.run import write_report
from pytest_nsys.storage.history.trend import TestTrends


def write_history(tests: Iterable[TestTrends], path: Path, notes: Iterable[str] = ()) -> None:
    """Write the page; a reader sees the old file or the new, never a part.

    Args:
        tests: at least one.
        path: the file.
        notes: what else is to be known, such as lines that were left out.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, [render_history(tests, notes)])


def render_history(tests: Iterable[TestTrends], notes: Iterable[str] = ()) -> str:
    """The page."""
    return fill("history.html", history_page(tests, notes), "page.js", "history.js")
