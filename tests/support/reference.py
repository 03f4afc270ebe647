"""Pages of the reference that are made of the code: ``python -m tests.support.reference``."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator

from pytest_nsys import errors
from pytest_nsys.cli.main import _parser
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import NsysError
from pytest_nsys.plan.marker import _ARGUMENTS, Spec
from pytest_nsys.plan.options import GROUPS, OPTIONS, Option
from tests.support.harness import ROOT

_MADE = '<!-- Made by "make docs" from the code: do not edit. -->'


def options_page() -> str:
    """Every option and ini value, and the marker's arguments."""
    parts = [
        "# Options, ini values, marker arguments",
        _MADE,
        "`pytest --help` lists them, too. An ini value is set in pytest's section of "
        "`pytest.ini`, `pyproject.toml`, `tox.ini` or `setup.cfg`. What has no option is set "
        "there, or for one run by `-o nsys_warmup=3`. What the command line says comes before what "
        "a marker says, and that before the ini file. Write options that take a value with `=`. "
        'What may be given "again for more" is a line each in the ini file.',
    ]
    for group, title in GROUPS.items():
        rows = [_option(option) for option in OPTIONS if option.group == group]
        name = title.partition("nsys: ")[2] or group
        parts += [f"## {name[0].upper()}{name[1:]}", _table(_OPTION, rows)]
    parts += [
        "## Arguments of the marker",
        "`@pytest.mark.nsys(...)` on a test, a class or a module; the closest wins, argument by "
        "argument, and of `tolerance` and `budget` metric by metric. A wrong one is a usage error "
        "when tests are collected, in plain runs too.",
        _table(("argument", "ini value, or default", ""), _arguments()),
    ]
    return _page(parts)


_OPTION = ("option", "ini value", "default", "")


def _option(option: Option) -> tuple[str, ...]:
    value = f"={option.metavar}" if option.metavar else ""
    flag = "" if option.ini_only else f"`{option.flag}{value}`".replace("|", r"\|")
    default, about = default_of(option)
    return flag, f"`{option.name}`", _text(default), _text(about)


def default_of(option: Option) -> tuple[str, str]:
    """What an option is where nobody says so, as its help has it; and the help without that."""
    one_of_several = re.search(r"([\w-]+): [^;]* \(default\)", option.about)
    if one_of_several:
        return one_of_several[1], option.about.replace(" (default)", "")
    default = re.search(r" \(default: ([^()]*)\)", option.about)
    if default:
        return default[1], option.about.replace(default[0], "")
    return "false" if option.kind == "flag" else "", option.about


def _arguments() -> Iterator[tuple[str, ...]]:
    about = {name.removesuffix("_s"): text for name, text in _attributes(Spec).items()}
    twins = {option.name for option in OPTIONS}
    for field in dataclasses.fields(Spec):
        name = field.name.removesuffix("_s")
        if name in _ARGUMENTS:
            value = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
            twin = f"nsys_{name}"
            yield f"`{name}`", f"`{twin}`" if twin in twins else value, _text(about[name])


def commands_page() -> str:
    """Every command, with its arguments and exit codes, and the exit codes of pytest."""
    parser = _parser()
    parts = [
        "# Commands and exit codes",
        _MADE,
        "## pytest",
        _table(("exit code", ""), [(str(code), text) for code, text in _PYTEST.items()]),
    ]
    for command in every_command(parser):
        level = "#" * (len(command.prog.split()) + 1)
        parts += [f"{level} {command.prog}", _text(" ".join(str(command.description).split()))]
        if command is not parser:
            parts.append("```sh\n" + "\n".join(command.examples) + "\n```")
        rows = [*_actions(command)]
        if rows:
            parts.append(_table(("argument", ""), rows))
        codes = [(str(code), _text(text)) for code, text in command.codes.items()]
        parts.append(_table(("exit code", ""), codes))
    return _page(parts)


_PYTEST = {
    0: "all tests passed; with `--nsys-baseline`, at least one was measured and none got worse",
    1: "a test failed: by its body, because it got worse, demands what does not hold, or could "
    "not be measured",
    2: "it was interrupted, or tests could not be collected",
    3: "an internal error",
    4: "wrong options, ini values or marks; nsys cannot be used; with `--nsys-baseline`, no test "
    "was measured (`nsys_allow_none`)",
    5: "no test was collected",
    "above 128": "pytest was ended by the signal of that number less 128",
}


def every_command(parser: Parser) -> Iterator[Parser]:
    """A parser, and those of its commands and of their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from every_command(inner)


def _actions(parser: Parser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(
            action, (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction)
        ):
            continue
        value = action.metavar or "|".join(action.choices or ()) or action.dest
        names = [f"{name}" for name in action.option_strings] or [str(value)]
        if action.option_strings and action.nargs != 0:
            names[-1] += f" {value}"
        shown = ", ".join(f"`{name}`" for name in names).replace("|", r"\|")
        yield shown, _text(str(action.help) % {**vars(action), "prog": parser.prog})


def errors_page() -> str:
    """Every error: what happened, and what to do."""
    return _page(
        [
            "# Errors",
            _MADE,
            "What goes wrong for a reason that a user can act on is one of these, all in "
            "`pytest_nsys.errors`. A message says what happened, then the evidence, then what to "
            "do now; this page says what each error is, and the first thing to do. One that stands "
            "below another is caught with it, and all are with `NsysError`. "
            "[What can go wrong](faults.md) has them by what happens in a run.",
            *_errors(NsysError, 2),
        ]
    )


def _errors(error: type[NsysError], level: int) -> Iterator[str]:
    for below in vars(errors).values():
        if isinstance(below, type) and below.__base__ is error:
            yield f"{'#' * level} {below.__name__}"
            yield from (_text(" ".join(part.split())) for part in str(below.__doc__).split("\n\n"))
            yield from _errors(below, level + 1)


def _attributes(thing: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes."""
    listed = str(thing.__doc__).partition("Attributes:\n")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _text(text: str) -> str:
    """Plain text, or text of a docstring with its ``literals``, as Markdown in a table."""
    parts = re.split(r"``(.+?)``", text)
    parts[::2] = [re.sub(r"([\\*<>\[\]|`])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part}`".replace("|", r"\|") for part in parts[1::2]]
    return "".join(parts)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "options": options_page,
    "commands": commands_page,
    "errors": errors_page,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / f"docs/{name}.md").write_text(page(), encoding="utf-8")
