"""``pytest-nsys power``: how many processes and rounds would resolve a tolerance."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pytest_nsys.cli.common import CANNOT_COMPARE, SAME_OR_BETTER, show, show_lines


def add_power(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = (
        "Reads the samples of a test's baseline. Exit code: 0, or 2 if there is no such baseline."
    )
    parser.add_argument("test", help="a test's node id, a part of it, or a shell pattern")
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR", help="(baselines)"
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="METRIC",
        help="a timed metric, such as wall.time; again for more (those that gate by default)",
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[METRIC=]TOLERANCE",
        help="what is to be resolved, such as 1%% (the metric's default)",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.power import power_document, power_lines, powers
    from pytest_nsys.plan.settings import read_tolerances
    from pytest_nsys.storage.baselines import BaselineStore

    tolerances = dict(read_tolerances(arguments.tolerance))
    found = [
        power
        for measurement in BaselineStore(arguments.baselines).matching(arguments.test)
        for power in powers(measurement, tolerances, arguments.metric)
    ]
    if arguments.format == "json":
        show(json.dumps([power_document(power) for power in found], indent=1))
    else:
        show_lines(line for power in found for line in power_lines(power))
    if not found:
        show(f"no baseline in {arguments.baselines} has such a metric of {arguments.test!r}")
        return CANNOT_COMPARE
    return SAME_OR_BETTER
