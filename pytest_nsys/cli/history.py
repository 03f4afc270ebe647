"""``pytest-nsys history``: trends of measured tests, and where they changed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_nsys.cli.common import (
    SAME_OR_BETTER,
    SELECTION,
    WORSE,
    add_format,
    add_html,
    add_pattern,
    add_tolerance,
    complain,
    show_as,
    whole_number,
)
from pytest_nsys.cli.parser import Parser
from pytest_nsys.support.text import without_folders


def add_history(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Shows how measured tests changed over their runs: levels, change points and drifts.",
        examples=[
            "pytest-nsys history perf-history test_gemm --last 90",
            "pytest-nsys history perf-history --html history.html",
            "pytest-nsys history perf-history --fail-on-change",
        ],
        codes={
            0: "it was shown",
            1: "with --fail-on-change: a test got worse",
            2: "the history cannot be read",
        },
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of --nsys-history")
    add_pattern(parser)
    parser.section(SELECTION).add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="METRIC",
        help="these metrics (* and ? are wild) in the place of those that are gated by default",
    )
    parser.section(SELECTION).add_argument(
        "--last", type=whole_number(1), metavar="N", help="only the newest N runs of each"
    )
    add_tolerance(parser)
    add_format(parser)
    add_html(parser)
    parser.add_argument(
        "--fail-on-change",
        action="store_true",
        help="exit code 1 where the level of a metric changed for the worse, or it drifted for "
        "the worse by more than its tolerance",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.errors import HistoryError
    from pytest_nsys.plan.settings import read_tolerances
    from pytest_nsys.storage.history.json import history_document
    from pytest_nsys.storage.history.store import read
    from pytest_nsys.storage.history.text import MISSING, REMEDY, history_lines, levels_for
    from pytest_nsys.storage.history.trend import select, trends_of

    series, torn = read(arguments.folder)
    tests = trends_of(
        select(series, arguments.pattern),
        metrics=arguments.metric,
        last=arguments.last,
        tolerance=dict(read_tolerances(arguments.tolerance)),
    )
    left_out = [
        f"{one.path}:{one.line}: the line breaks off and is left out: a run was killed while it "
        "wrote it"
        for one in torn
    ]
    for line in left_out:
        complain(line)
    trends = [trend for test in tests for trend in test.trends]
    if arguments.fail_on_change and not all(trend.searched for trend in trends):
        raise HistoryError(MISSING, remedy=REMEDY)
    show_as(
        arguments.format,
        lambda: history_lines(tests, levels_for(sys.stdout.encoding or "ascii")),
        lambda: history_document(tests),
    )
    if arguments.html is not None:
        from pytest_nsys.report.html.history.render import write_history

        write_history(tests, arguments.html, map(without_folders, left_out))
    failed = arguments.fail_on_change and any(trend.got_worse for trend in trends)
    return WORSE if failed else SAME_OR_BETTER
