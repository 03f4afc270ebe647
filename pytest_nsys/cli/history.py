"""``pytest-nsys history``: trends of measured tests, and where they changed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pytest_nsys.cli.common import (
    SAME_OR_BETTER,
    WORSE,
    add_pattern,
    add_tolerance,
    complain,
    show,
    whole_number,
)
from pytest_nsys.support.text import one_line


def add_history(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = (
        "Exit code: 0, or with --fail-on-change 1 where a test got worse; 2 for a history that "
        "cannot be read."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of --nsys-history")
    add_pattern(parser)
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="METRIC",
        help="these metrics (* and ? are wild) in the place of those that are gated by default",
    )
    parser.add_argument(
        "--last", type=whole_number(1), metavar="N", help="only the newest N runs of each"
    )
    add_tolerance(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
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
    for one in torn:
        complain(
            f"{one.path}:{one.line}: the line breaks off and is left out: a run was "
            "killed while it wrote it"
        )
    trends = [trend for test in tests for trend in test.trends]
    if arguments.fail_on_change and not all(trend.searched for trend in trends):
        raise HistoryError(MISSING, remedy=REMEDY)
    if arguments.format == "json":
        show(json.dumps(history_document(tests), indent=1))
    else:
        encoding = sys.stdout.encoding or "ascii"
        text = "\n".join(map(one_line, history_lines(tests, levels_for(encoding))))
        show(text.encode(encoding, "backslashreplace").decode(encoding), end="")
    failed = arguments.fail_on_change and any(trend.got_worse for trend in trends)
    return WORSE if failed else SAME_OR_BETTER
