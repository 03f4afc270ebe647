"""``pytest-nsys judge``: the gate for a recording, without the modules of its tests.

It is a run of pytest like any replay, with the recording's tests in the place of collected ones,
its marks in the place of theirs, and its options in the place of an ini file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from pathlib import Path
from typing import TextIO, cast

from pytest_nsys.cli.common import Patient, complain
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import NsysError
from pytest_nsys.plan.options import GROUPS, OPTIONS, Option

_ABOUT = (
    "Gates recordings as 'pytest --nsys-baseline --nsys-replay=RECORDING' does, with the same "
    "verdicts, reports and exit code, but imports neither test modules nor conftest.py: a "
    "recording keeps the tests' marks, and the options that say how to judge. A test whose mark "
    "has check=, which is code, is not judged, and fails. Several recordings, such as those of "
    "an array job, are judged as one."
)

_DEFAULT = re.compile(r" \(default\b[^)]*\)")
_DROPPED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def add_judge(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        _ABOUT,
        examples=[
            "pytest-nsys judge recording --html report.html --markdown comment.md",
            "pytest-nsys judge recordings/*",
        ],
        codes={0: "passed", 1: "a test failed", 2: "interrupted", 4: "it cannot be judged"},
    )
    parser.add_argument(
        "recordings",
        type=_folder,
        nargs="+",
        metavar="RECORDING",
        help="a folder that --nsys-record wrote, or one with several of them in it",
    )
    for option in filter(lambda one: one.judging, OPTIONS):
        title = GROUPS[option.group].removeprefix("nsys: ")
        parser.section(title).add_argument(
            _flag(option),
            dest=option.name,
            action="append" if option.is_list else "store",
            metavar=option.metavar,
            help=_about(option),
        )
    reports = parser.section(GROUPS["reports"].removeprefix("nsys: "))
    reports.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
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


def _about(option: Option) -> str:
    """What is said of it here: a rule that is not given is as it was in force when recorded."""
    if option.judging != "rule":
        return option.help
    return _DEFAULT.sub("", option.help) + " (default: as recorded)"


def _folder(text: str) -> Path:
    if not text:  # Path takes it for the current folder
        raise argparse.ArgumentTypeError("it is empty (is a variable not set?)")
    return Path(text)


def _flag(option: Option) -> str:
    return "--" + option.name.removeprefix("nsys_").replace("_", "-")


def _words(option: Option, value: str) -> tuple[str, ...]:
    """How pytest is told."""
    return ("-o", f"{option.name}={value}") if option.ini_only else (f"{option.flag}={value}",)


def _run(arguments: argparse.Namespace) -> int:
    import pytest

    from pytest_nsys.controller.recorded import RecordedTests
    from pytest_nsys.plan.privacy import published_value
    from pytest_nsys.storage.baselines.location import check_folder
    from pytest_nsys.storage.recordings.together import recordings_in

    options = {
        option: values if isinstance(values, list) else [values]
        for option in OPTIONS
        if option.judging and (values := getattr(arguments, option.name)) is not None
    }
    given = [(option, value) for option, values in options.items() for value in values]
    shown = (f"{_flag(option)}={published_value(option, value)}" for option, value in given)
    command = " ".join(["pytest-nsys judge ...", *shown])
    try:
        folders = recordings_in(arguments.recordings)
        named = {option.name for option in options}
        tests = RecordedTests(folders, command, named)
        baselines = arguments.nsys_baseline_dir
        check_folder(Path("baselines" if baselines is None else baselines))
    except NsysError as error:
        complain(error)
        return int(pytest.ExitCode.USAGE_ERROR)
    words = [
        *("--rootdir=.", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"),
        *("-p", "nsys", "--assert=plain", "--no-header"),
        *(part for plugin in arguments.plugins for part in ("-p", plugin)),
        *(part for pair in tests.options.items() for part in ("-o", "=".join(pair))),
        "--nsys-baseline",
        *(f"--nsys-replay={folder}" for folder in folders),
        *(word for option, value in given for word in _words(option, value)),
    ]
    words.append("-v" if arguments.verbose else "-q")
    if arguments.junit is not None:
        words.append(f"--junitxml={arguments.junit}")
    for name in _DROPPED:
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with contextlib.redirect_stdout(cast("TextIO", Patient())):
        return int(pytest.main(words, [tests]))
