"""``pytest-nsys judge``: the gate for a recording, without the modules of its tests.

It is a run of pytest like any replay, with the recording's tests in the place of collected ones,
its marks in the place of theirs, and its options in the place of an ini file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import TextIO, cast

from pytest_nsys.cli.common import Patient, complain
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import NsysError
from pytest_nsys.plan.options import OPTIONS, Option

_ABOUT = (
    "Gates a recording as 'pytest --nsys-baseline --nsys-replay=RECORDING' does, with the same "
    "verdicts, reports and exit code, but imports neither test modules nor conftest.py: the "
    "recording keeps the tests' marks, and the options that say how to judge. A test whose mark "
    "has check=, which is code, is not judged, and fails."
)

_OWN = {"nsys_baseline_dir": "folder of the baselines (baselines)"}
_DROPPED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def add_judge(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        _ABOUT,
        examples=["pytest-nsys judge recording --html report.html --markdown comment.md"],
        codes={0: "passed", 1: "a test failed", 2: "interrupted", 4: "it cannot be judged"},
    )
    parser.add_argument(
        "recording", type=Path, metavar="RECORDING", help="a folder that --nsys-record wrote"
    )
    for option in filter(lambda one: one.judging, OPTIONS):
        recorded = "; as recorded if not given" if option.judging == "rule" else ""
        parser.add_argument(
            _flag(option),
            dest=option.name,
            action="append" if option.kind == "lines" else "store",
            metavar=option.metavar,
            help=_OWN.get(option.name, option.about) + recorded,
        )
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument(
        "-p",
        dest="plugins",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="a plugin of pytest with hooks of pytest-nsys; no others are loaded",
    )
    parser.add_argument("-v", dest="verbose", action="store_true", help="name each test")
    parser.set_defaults(run=_run)


def _flag(option: Option) -> str:
    return "--" + option.name.removeprefix("nsys_").replace("_", "-")


def _run(arguments: argparse.Namespace) -> int:
    import pytest

    from pytest_nsys.controller.recorded import RecordedTests
    from pytest_nsys.plan.privacy import published_command

    folder: Path = arguments.recording
    given = [
        f"{option.flag}={value}"
        for option in OPTIONS
        if option.judging and (values := getattr(arguments, option.name)) is not None
        for value in (values if isinstance(values, list) else [values])
    ]
    shown = published_command([f"--nsys-replay={folder}", *given]).removeprefix("pytest ")
    command = "pytest-nsys judge " + shown.removeprefix("--nsys-replay=").replace("--nsys-", "--")
    try:
        tests = RecordedTests(folder, command)
    except NsysError as error:
        complain(error)
        return int(pytest.ExitCode.USAGE_ERROR)
    options = [
        *("--rootdir=.", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"),
        *("-p", "nsys", "--assert=plain", "--no-header"),
        *(part for plugin in arguments.plugins for part in ("-p", plugin)),
        *(part for pair in tests.recording.options.items() for part in ("-o", "=".join(pair))),
        "--nsys-baseline",
        f"--nsys-replay={folder}",
        *given,
    ]
    options.append("-v" if arguments.verbose else "-q")
    if arguments.junit is not None:
        options.append(f"--junitxml={arguments.junit}")
    for name in _DROPPED:
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with contextlib.redirect_stdout(cast("TextIO", Patient())):
        return int(pytest.main(options, [tests]))
