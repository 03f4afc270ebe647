"""``pytest-nsys power``: how many processes and rounds would resolve a tolerance."""

from __future__ import annotations

import argparse

from pytest_nsys.cli.common import (
    CANNOT_COMPARE,
    SAME_OR_BETTER,
    add_baseline_dir,
    add_format,
    complain,
    show_as,
)
from pytest_nsys.cli.parser import Parser


def add_power(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Reads the samples of a test's baseline, and says how many processes and rounds would see "
        "a change of a given size.",
        examples=[
            "pytest-nsys power test_gemm",
            "pytest-nsys power test_serving --metric=client.ttft_p50 --tolerance=5%",
        ],
        codes={0: "it was found out", 2: "there is no such baseline"},
    )
    parser.add_argument(
        "test", metavar="TEST", help="a test's node id, a part of it, or a shell pattern"
    )
    add_baseline_dir(parser)
    parser.add_argument(
        "--metric",
        action="append",
        metavar="METRIC",
        help="a timed metric, such as wall.time; again for more (default: those that gate unless "
        "others are named)",
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[METRIC=]TOLERANCE",
        help="what is to be resolved, such as 1%% (default: the metric's)",
    )
    add_format(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.power import power_document, power_lines, powers
    from pytest_nsys.plan.settings import read_tolerances
    from pytest_nsys.storage.baselines import BaselineStore

    tolerances = dict(read_tolerances(arguments.tolerance))
    found = [
        power
        for measurement in BaselineStore(arguments.baseline_dir).matching(arguments.test)
        for power in powers(measurement, tolerances, arguments.metric)
    ]
    if not found:
        complain(f"no baseline in {arguments.baseline_dir} has such a metric of {arguments.test!r}")
        return CANNOT_COMPARE
    show_as(
        arguments.format,
        lambda: [line for power in found for line in ("", *power_lines(power))][1:],
        lambda: [power_document(power) for power in found],
    )
    return SAME_OR_BETTER
