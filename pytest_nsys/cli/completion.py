"""``pytest-nsys completion``: a script with which a shell completes commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from pytest_nsys.cli.common import CANNOT_COMPARE, SAME_OR_BETTER, complain, show
from pytest_nsys.cli.parser import Parser

_SHELLS = ("bash", "zsh", "tcsh")


def add_completion(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Prints a script for a shell, with which it completes commands, options and files. Needs "
        "the package shtab.",
        examples=[
            'eval "$(pytest-nsys completion bash)"',
            "pytest-nsys completion zsh > ~/.zfunc/_pytest-nsys",
        ],
        codes={0: "it was printed", 2: "shtab is not installed"},
    )
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        complain("the package shtab is not installed\nWhat to do: pip install shtab")
        return CANNOT_COMPARE
    for action in _actions(arguments.parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    show(shtab.complete(arguments.parser, arguments.shell))
    return SAME_OR_BETTER


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _actions(inner)
