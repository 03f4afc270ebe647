"""``pytest-nsys diff``: two stored captures compared, or two recordings test by test."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nsys.cli.common import (
    CANNOT_COMPARE,
    CAPTURE,
    SAME_OR_BETTER,
    WORSE,
    add_format,
    add_html,
    add_nsys,
    add_range,
    add_tolerance,
    selecting,
    selection_of,
    show_as,
)
from pytest_nsys.cli.parser import Parser

if TYPE_CHECKING:
    from pytest_nsys.offline.diff import Diff


def add_diff(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Compares two captures as the gate does, or two recordings test by test.",
        examples=[
            "pytest-nsys diff before.nsys-rep after.nsys-rep",
            "pytest-nsys diff main/recording pr/recording --html diff.html",
        ],
        codes={0: "same or better", 1: "worse", 2: "could not compare"},
    )
    parser.add_argument("before", type=Path, metavar="BEFORE", help=CAPTURE)
    parser.add_argument("after", type=Path, metavar="AFTER", help=CAPTURE)
    add_range(parser, windows=True)
    add_tolerance(parser)
    add_format(parser)
    add_html(parser)
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.diff import diff
    from pytest_nsys.plan.settings import read_tolerances
    from pytest_nsys.report.json import report_document
    from pytest_nsys.report.markdown import render_markdown
    from pytest_nsys.report.run import RunReport
    from pytest_nsys.report.text import comparison_lines, worse_line
    from pytest_nsys.support.text import wrapped

    found = diff(
        arguments.before,
        arguments.after,
        selection=selection_of(arguments),
        tolerance=dict(read_tolerances(arguments.tolerance)),
        executable=arguments.nsys_executable,
        in_full=arguments.html is not None or arguments.format != "table",
    )
    only = {"only_before": found.only_before, "only_after": found.only_after}
    run = RunReport(mode="profile", verdicts=found.verdicts)
    alone = [f"only in {arguments.before}: {nodeid}" for nodeid in found.only_before]
    alone += [f"only in {arguments.after}: {nodeid}" for nodeid in found.only_after]
    show_as(
        arguments.format,
        lambda: [
            *(line for verdict in found.verdicts for line in comparison_lines(verdict)),
            *alone,
            *wrapped(worse_line(found.verdicts), "", "  ", whole=True),
        ],
        lambda: {**report_document(run, samples=True), **only},
        lambda: render_markdown(replace(run, notes=(*alone,))),
    )
    if arguments.html is not None:
        _write_page(arguments, found)
    if any(verdict.failed for verdict in found.verdicts):
        return WORSE
    apart = any(verdict.status == "incomparable" for verdict in found.verdicts)
    return CANNOT_COMPARE if apart or any(only.values()) else SAME_OR_BETTER


def _write_page(arguments: argparse.Namespace, found: Diff) -> None:
    from pytest_nsys.report.html.model import Stored
    from pytest_nsys.report.html.render import write_html
    from pytest_nsys.report.run import RunReport

    command = ["pytest-nsys", "diff", str(arguments.before), str(arguments.after)]
    command += selecting(selection_of(arguments))
    command += [f"--tolerance={tolerance}" for tolerance in arguments.tolerance]
    stored = Stored(
        before=str(arguments.before),
        after=str(arguments.after),
        command=shlex.join(command),
        only_before=found.only_before,
        only_after=found.only_after,
    )
    run = RunReport(mode="profile", verdicts=found.verdicts, command=stored.command)
    write_html(run, arguments.html, stored)
