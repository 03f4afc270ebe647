"""``pytest-nsys doctor``: whether captures can be made on this machine, and what to do if not."""

from __future__ import annotations

import argparse
import io

from pytest_nsys.cli.common import show


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = (
        "Looks at nsys, GPUs, driver, rights, limits and folders, then makes a capture of a few "
        "seconds and checks it. Exit code: 0 captures can be made, 1 they will fail or be wrong."
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="as --format=json"
    )
    parser.add_argument("--nsys-executable", metavar="FILE", help="the nsys to examine")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.doctor.run import run_doctor

    out = io.StringIO()
    code = run_doctor(arguments.nsys_executable, arguments.format == "json", out)
    show(out.getvalue(), end="")
    return code
