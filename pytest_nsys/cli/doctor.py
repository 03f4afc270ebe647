"""``pytest-nsys doctor``: whether captures can be made on this machine, and what to do if not."""

from __future__ import annotations

import argparse

from pytest_nsys.cli.common import add_format, show_as
from pytest_nsys.cli.parser import Parser

HEALTHY, ILL = 0, 1


def add_doctor(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Looks at nsys, GPUs, driver, rights, limits and folders, then makes a capture of a few "
        "seconds and checks it.",
        examples=["pytest-nsys doctor", "pytest-nsys doctor --format=json > doctor.json"],
        codes={0: "captures can be made", 1: "they will fail or be wrong"},
    )
    add_format(parser)
    parser.add_argument("--nsys-executable", metavar="FILE", help="the nsys to examine")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.doctor.run import checkup_document, checkup_lines, examine_here

    checkup = examine_here(arguments.nsys_executable)
    show_as(arguments.format, lambda: checkup_lines(checkup), lambda: checkup_document(checkup))
    return HEALTHY if checkup.healthy else ILL
