"""What several commands have in common."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_nsys.errors import ReportError, SettingsError
from pytest_nsys.support.text import fit_to_print, one_line

if TYPE_CHECKING:
    from pytest_nsys.cli.parser import Parser
    from pytest_nsys.windows.ranges import Selection

SELECTION, OUTPUT = "selection", "output"
"""Sections of the list of options."""

SAME_OR_BETTER, WORSE, CANNOT_COMPARE = 0, 1, 2
INTERRUPTED = 130  # what shells give a program that Ctrl-C ended
"""Exit codes."""

ANOTHER_FILE = "name another file with -o, and check that the disk is not full"
"""What to do where an output cannot be written."""

_ENDINGS = (".xz", ".nsys-rep", ".qdrep", ".sqlite", ".parquet", ".gz", ".json", ".hatchet")

CAPTURE = (
    "a .nsys-rep or .qdrep (where nsys is installed), an .sqlite, a recording, or a trace of "
    "torch.profiler or Proton (a folder: of several ranks)"
)


def add_range(parser: Parser, *, windows: bool = False) -> None:
    """The arguments of commands that may look at a part of a capture alone; see `selection_of`.

    Args:
        parser: of the command.
        windows: whether a range may be a window of a recording's tests.
    """
    tests = "; of recordings of tests also windows (of nsys.range, of servers)" if windows else ""
    section = parser.section(SELECTION)
    section.add_argument(
        "--range",
        metavar="NAME",
        help="only NVTX ranges of this name, and what their processes did in them: a text, or "
        f"DOMAIN:TEXT as nsys prints it (:TEXT without a domain); * and ? are wild{tests}",
    )
    section.add_argument(
        "--skip",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="leave out the first N instances of each of these ranges, in each process",
    )
    section.add_argument(
        "--process",
        type=whole_number(1),
        metavar="PID",
        help="only what this process did ('stats' has their numbers)",
    )


def add_pattern(parser: Parser) -> None:
    """The argument of commands that may look at some tests alone."""
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="PATTERN",
        help="only tests whose id contains this; * and ? are wild",
    )


def selection_of(arguments: argparse.Namespace) -> Selection:
    """What the arguments of `add_range` select.

    Raises:
        SettingsError: they do not go together.
    """
    from pytest_nsys.windows.ranges import Selection

    if arguments.skip and arguments.range is None:
        raise SettingsError(
            "--skip leaves out instances of a range, and none is named",
            remedy="name it with --range, or leave out --skip",
        )
    return Selection(arguments.range, arguments.skip, arguments.process)


def selecting(selection: Selection) -> list[str]:
    """The arguments that select so."""
    given = {
        "--range": selection.range,
        "--skip": selection.skip or None,
        "--process": selection.process,
    }
    return [f"{flag}={value}" for flag, value in given.items() if value is not None]


def add_baseline_dir(parser: Parser) -> None:
    """The argument of commands that read stored baselines."""
    parser.add_argument(
        "--baseline-dir",
        type=Path,
        default=Path("baselines"),
        metavar="DIR",
        help="folder of the baselines (default: baselines)",
    )


def add_tolerance(parser: Parser) -> None:
    """The argument of commands that compare as a run does."""
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[METRIC=]TOLERANCE",
        help="as the option --nsys-tolerance of pytest; again for more",
    )


def add_output(parser: Parser, about: str) -> None:
    """The arguments of commands that write a file beside the report; see `target_of`."""
    section = parser.section(OUTPUT)
    section.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    section.add_argument("--force", action="store_true", help="replace FILE if it exists")


def target_of(arguments: argparse.Namespace, ending: str) -> Path:
    """The file to write: the one that is named, or beside the report one with this ending.

    Raises:
        ReportError: it is the report itself, or it exists and is not to be replaced.
    """
    report: Path = arguments.report
    name = report.absolute().name
    for known in _ENDINGS:
        name = name.removesuffix(known)
    target: Path = arguments.output or report.absolute().with_name(name + ending)
    if target.exists() and report.exists() and target.samefile(report):
        raise ReportError(
            f"{target} is the report itself", remedy="name another file for the copy with -o"
        )
    if not arguments.force and (target.exists() or target.is_symlink()):
        raise ReportError(
            f"{target} exists and is left alone",
            remedy="name another file with -o, or replace it with --force",
        )
    return target


def whole_number(least: int) -> Callable[[str], int]:
    """Reads the value of an argument: a whole number from ``least`` (0 or 1) on."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text[:9]) < least:
            since = f" from {least} on" if least else ""
            raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number{since}")
        return int(text[:9])

    return read


def add_nsys(parser: Parser, about: str = "the nsys that exports reports") -> None:
    """The argument of every command that may have to run nsys."""
    parser.section("nsys").add_argument(
        "--nsys-executable", metavar="FILE", help=f"{about} (default: searched for)"
    )


def add_format(parser: Parser) -> None:
    """The argument of commands that print what they found; see `show_as`."""
    parser.section(OUTPUT).add_argument(
        "--format",
        choices=("table", "json", "markdown"),
        default="table",
        help="table: text for a terminal (default); json: all of it; markdown: for a comment",
    )


def add_html(parser: Parser) -> None:
    """The argument of commands whose findings can be a page."""
    parser.section(OUTPUT).add_argument(
        "--html", type=Path, metavar="FILE", help="write all of it as one HTML page too"
    )


def show_as(
    chosen: str,
    lines: Callable[[], Iterable[str]],
    document: Callable[[], Any],
    markdown: Callable[[], str] | None = None,
) -> None:
    """Print in the format that was chosen.

    Args:
        chosen: one of those of `add_format`.
        lines: makes text for a terminal.
        document: makes JSON values.
        markdown: makes Markdown; the text as a block of code where it is None.
    """
    if chosen == "json":
        show(json.dumps(document(), indent=1))
    elif chosen == "table":
        show_lines(lines())
    elif markdown is not None:
        show(markdown(), end="")
    else:
        text = "\n".join(map(one_line, lines()))
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
        show(f"{fence}text\n{text}\n{fence}")


def show_lines(lines: Iterable[str]) -> None:
    """Print lines, in which names may be that somebody else has chosen."""
    show("\n".join(map(one_line, lines)))


def complain(text: object) -> None:
    """Print to stderr what went wrong, or what else is to be known."""
    print(fit_to_print(f"pytest-nsys: {text}"), file=sys.stderr, flush=True)


class Patient:
    """Stdout as it is now, of which a reader that has seen enough (``| head``) changes nothing."""

    def __init__(self) -> None:
        self._stream = sys.stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, and at once: or the end of the reader were seen when Python ends."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return len(text)


def show(text: str, end: str = "\n") -> None:
    """Print, what stdout has no letters for as Python spells it; a reader that has seen enough
    (``| head``) changes nothing."""
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, file=Patient())


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM lets the block end what it has started, here and elsewhere. The guard would do so,
    too, but in a container it may end with this process."""

    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
