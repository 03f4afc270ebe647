"""A run's results as one HTML page."""

from __future__ import annotations

from pathlib import Path

from pytest_nsys.report.html.model import Stored
from pytest_nsys.report.html.page import page
from pytest_nsys.report.html.template import fill
from pytest_nsys.report.run import RunReport, write_report


def write_html(run: RunReport, path: Path, stored: Stored | None = None) -> None:
    """Write the page; a reader sees the old file or the new, never a part.

    Args:
        run: the run, or the verdicts on two stored captures.
        path: the file.
        stored: what these captures are, if so.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, [render_html(run, stored)])


def render_html(run: RunReport, stored: Stored | None = None) -> str:
    """The page."""
    return fill("page.html", page(run, stored), "page.js")
