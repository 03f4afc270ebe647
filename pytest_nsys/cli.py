"""The ``pytest-nsys`` command: what can be done with stored captures, without pytest."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_nsys import __version__
from pytest_nsys.errors import NsysError

SAME_OR_BETTER, WORSE, CANNOT_COMPARE = 0, 1, 2

_CAPTURE = "a .nsys-rep (where nsys is installed), an .sqlite, or a recording"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except NsysError as error:
        print(f"pytest-nsys: {error}", file=sys.stderr)
        return CANNOT_COMPARE
    return code


def _show(text: str) -> None:
    """Print; a reader that has seen enough (``| head``) changes nothing."""
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-nsys", description="Numbers from stored NVIDIA Nsight Systems captures."
    )
    parser.add_argument("--version", action="version", version=f"pytest-nsys {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    stats = commands.add_parser("stats", help="metrics, kernels and NVTX ranges of a capture")
    stats.add_argument("report", type=Path, help=_CAPTURE)
    stats.add_argument("--range", metavar="NAME", help="only the NVTX ranges with this text")
    _common(stats)
    stats.set_defaults(run=_stats)

    diff = commands.add_parser(
        "diff",
        help="compare two captures, or two recordings test by test",
        description="Exit code: 0 same or better, 1 worse, 2 could not compare.",
    )
    diff.add_argument("before", type=Path, help=_CAPTURE)
    diff.add_argument("after", type=Path, help=_CAPTURE)
    diff.add_argument("--range", metavar="NAME", help="only the NVTX ranges with this text")
    diff.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="METRIC=TOLERANCE",
        help="as the option --nsys-tolerance of pytest",
    )
    _common(diff)
    diff.set_defaults(run=_diff)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--nsys-executable", metavar="FILE", help="the nsys that exports reports")


def _stats(arguments: argparse.Namespace) -> int:
    from pytest_nsys.report.stats import stats_document, stats_lines
    from pytest_nsys.stored import load_stored

    trace = load_stored(arguments.report, arguments.nsys_executable)
    document = stats_document(trace, arguments.range)
    if arguments.format == "json":
        _show(json.dumps(document, indent=1))
    else:
        _show("\n".join(stats_lines(document)))
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from pytest_nsys.comparing import compare_stored
    from pytest_nsys.config.settings import read_tolerances
    from pytest_nsys.report.json import report_document
    from pytest_nsys.report.run import RunReport
    from pytest_nsys.report.text import comparison_lines

    compared = compare_stored(
        arguments.before,
        arguments.after,
        range_name=arguments.range,
        tolerance=dict(read_tolerances(arguments.tolerance)),
        executable=arguments.nsys_executable,
    )
    only = {"only_before": compared.only_before, "only_after": compared.only_after}
    if arguments.format == "json":
        document = report_document(RunReport(mode="profile", verdicts=compared.verdicts))
        _show(json.dumps({**document, **only}, indent=1))
    else:
        lines = [line for verdict in compared.verdicts for line in comparison_lines(verdict)]
        lines += [f"only in {arguments.before}: {nodeid}" for nodeid in compared.only_before]
        lines += [f"only in {arguments.after}: {nodeid}" for nodeid in compared.only_after]
        _show("\n".join(lines))
    if any(verdict.failed for verdict in compared.verdicts):
        return WORSE
    apart = any(verdict.status == "incomparable" for verdict in compared.verdicts)
    return CANNOT_COMPARE if apart or any(only.values()) else SAME_OR_BETTER
