"""The ``pytest-nsys`` command: what can be done without a pytest session."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_nsys import __version__
from pytest_nsys.cli.baselines import add_baselines
from pytest_nsys.cli.bisect import add_bisect
from pytest_nsys.cli.capture import add_capture
from pytest_nsys.cli.common import CANNOT_COMPARE, INTERRUPTED, complain
from pytest_nsys.cli.compare import add_compare
from pytest_nsys.cli.completion import add_completion
from pytest_nsys.cli.diff import add_diff
from pytest_nsys.cli.doctor import add_doctor
from pytest_nsys.cli.export import add_export
from pytest_nsys.cli.history import add_history
from pytest_nsys.cli.judge import add_judge
from pytest_nsys.cli.metrics import add_metrics
from pytest_nsys.cli.ncu import add_ncu
from pytest_nsys.cli.parser import Parser
from pytest_nsys.cli.power import add_power
from pytest_nsys.cli.scrub import add_scrub
from pytest_nsys.cli.stats import add_stats
from pytest_nsys.errors import NsysError

_COMMANDS = {
    "measure": (
        (
            "capture",
            "run a command under nsys, here or somewhere else, and keep its capture",
            add_capture,
        ),
        ("bisect", "find the commit that made a test worse", add_bisect),
        ("ncu", "count the kernels of a recorded test with Nsight Compute", add_ncu),
        ("doctor", "find out whether captures can be made here, and what to do if not", add_doctor),
    ),
    "judge, and what is kept for it": (
        ("judge", "gate recordings, without their test modules", add_judge),
        ("baselines", "list, show, rename, prune and merge baselines", add_baselines),
        (
            "power",
            "find out how much has to be measured to see a change of a given size",
            add_power,
        ),
        ("history", "show how measured tests changed over their runs", add_history),
    ),
    "read captures and recordings": (
        ("stats", "show all there is to say of one", add_stats),
        ("diff", "compare two, recordings test by test", add_diff),
        ("compare", "show several side by side, each against the first", add_compare),
        ("export", "write one as a trace that Perfetto opens", add_export),
        ("scrub", "copy a capture without what nsys stores of the machine", add_scrub),
    ),
    "help": (
        ("metrics", "list the metrics there are", add_metrics),
        (
            "completion",
            "let a shell complete these commands and their options",
            add_completion,
        ),
    ),
}
"""By what they are for: names, what the list says of them, and what adds their arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except NsysError as error:
        complain(error)
        return CANNOT_COMPARE
    except KeyboardInterrupt:
        print("pytest-nsys: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> Parser:
    parser = Parser(prog="pytest-nsys")
    parser.describe(
        "What can be done beside a run of pytest: with recordings, baselines and captures of "
        "NVIDIA Nsight Systems.",
        examples=[
            "pytest-nsys doctor",
            "pytest-nsys judge recording --html report.html",
            "pytest-nsys stats report.nsys-rep",
            "pytest-nsys COMMAND --help",
        ],
        codes={
            0: "what was compared is the same or better, or there was nothing to compare",
            1: "it got worse",
            2: "it could not be done; the last lines say why",
            130: "it was interrupted",
        },
    )
    parser.add_argument("--version", action="version", version=f"pytest-nsys {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for some in _COMMANDS.values():
        for name, about, add in some:
            add(commands.add_parser(name, help=about))
    parser.listed = {title: [name for name, *_ in some] for title, some in _COMMANDS.items()}
    parser.set_defaults(parser=parser)
    return parser
