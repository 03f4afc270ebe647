"""A run's results as one HTML page: one file, nothing fetched, complete without its script.

The page allows only its own script, by its hash, and its own style sheet. Where a viewer forbids
these too, it is plain but whole: drawings are in attributes, and everything folded is in
``details``.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_nsys.report.html.model import Stored
from pytest_nsys.report.html.page import page
from pytest_nsys.report.run import RunReport, write_report
from pytest_nsys.support.text import visible


def write_html(run: RunReport, path: Path, stored: Stored | None = None) -> None:
    """Write the page; a reader sees the old file or the new, never a part.

    Args:
        run: the run, or the verdicts on two stored captures.
        path: the file.
        stored: what these captures are, if so.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, render_html(run, stored))


def render_html(run: RunReport, stored: Stored | None = None) -> str:
    """The page."""
    environment = _environment()
    source, _, _ = PackageLoader("pytest_nsys.report.html", "templates").get_source(
        environment, "page.js"
    )
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        page=page(run, stored), script=Markup(source), script_hash=digest
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pytest_nsys.report.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
