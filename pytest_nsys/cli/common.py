"""What several commands have in common."""

from __future__ import annotations

import argparse
import os
import sys

SAME_OR_BETTER, WORSE, CANNOT_COMPARE = 0, 1, 2
INTERRUPTED = 130  # what shells give a program that Ctrl-C ended
"""Exit codes."""

ANOTHER_FILE = "name another file with -o, and check that the disk is not full"
"""What to do where an output cannot be written."""

CAPTURE = "a .nsys-rep (where nsys is installed), an .sqlite, or a recording"


def add_nsys(parser: argparse.ArgumentParser) -> None:
    """The argument of every command that may have to export a report."""
    parser.add_argument("--nsys-executable", metavar="FILE", help="the nsys that exports reports")


def show(text: str, end: str = "\n") -> None:
    """Print; a reader that has seen enough (``| head``) changes nothing."""
    try:
        print(text, end=end)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
