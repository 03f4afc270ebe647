"""A run's results as one HTML page: one file, no script, nothing fetched."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_nsys.report.json import write_report
from pytest_nsys.report.run import RunReport
from pytest_nsys.report.view import page

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and newline
    "\u00ad\u200b\u2060-\u2064\ufeff"  # characters without width
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction of writing
    "\u2028\u2029\ufff9-\ufffb\ufffe\uffff"  # separators, annotations, no characters
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of a pair, tags
)


def write_html(run: RunReport, path: Path) -> None:
    """Write the page; a reader sees the old file or the new, never a part.

    Raises:
        ReportError: the file cannot be written.
    """
    write_report(path, render_html(run))


def render_html(run: RunReport) -> str:
    """The page."""
    return _environment().get_template("page.html").render(page=page(run))


def visible(value: Any) -> Any:
    """Text with its invisible characters, and those that reorder what is read, spelled out."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", value)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pytest_nsys.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
