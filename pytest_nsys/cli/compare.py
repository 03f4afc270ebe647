"""``pytest-nsys compare``: stored captures, or parameters of recorded tests, side by side."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pytest_nsys.cli.common import (
    CAPTURE,
    OUTPUT,
    SAME_OR_BETTER,
    add_format,
    add_html,
    add_nsys,
    add_range,
    selecting,
    selection_of,
    show_as,
    whole_number,
)
from pytest_nsys.cli.parser import Parser


def add_compare(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Shows captures side by side, each against the first; recordings test by test, one alone "
        "by the parameters of its tests. It judges nothing.",
        examples=[
            "pytest-nsys compare recording --by engine --html engines.html",
            "pytest-nsys compare a.nsys-rep b.nsys-rep --range=decode --per token=256",
        ],
        codes={0: "it was shown", 2: "it cannot be read"},
    )
    parser.add_argument("captures", type=Path, nargs="+", metavar="REPORT", help=CAPTURE)
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="NAME",
        help="compare tests that are equal in all but this parameter, such as engine",
    )
    add_range(parser, windows=True)
    parser.add_argument(
        "--per",
        action="append",
        default=[],
        metavar="UNIT=COUNT[,COUNT...]",
        help="what was processed, such as token=256, in all of a capture (or an instance of the "
        "range, or a round): one count for all captures, or one for each",
    )
    parser.section(OUTPUT).add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="METRIC",
        help="show this metric too; again for more",
    )
    parser.section(OUTPUT).add_argument(
        "--top",
        type=whole_number(0),
        default=10,
        metavar="N",
        help="how many kernels to name (default: 10)",
    )
    add_format(parser)
    add_html(parser)
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.side_by_side import side_by_side, side_by_side_document
    from pytest_nsys.offline.side_by_side_text import side_by_side_lines, side_by_side_markdown
    from pytest_nsys.offline.subjects import measure_sides, read_units

    paths: list[Path] = arguments.captures
    compared = measure_sides(
        paths,
        selection=selection_of(arguments),
        units=read_units(arguments.per, len(paths)),
        metrics=arguments.metric,
        by=arguments.by,
        executable=arguments.nsys_executable,
        in_full=arguments.html is not None,
    )
    shown = [side_by_side(one, arguments.metric) for one in compared.subjects]
    show_as(
        arguments.format,
        lambda: side_by_side_lines(compared, shown, arguments.top),
        lambda: side_by_side_document(compared, shown),
        lambda: side_by_side_markdown(compared, shown, arguments.top),
    )
    if arguments.html is not None:
        from pytest_nsys.offline.side_by_side_page import write_comparison

        command = _command(arguments, paths)
        write_comparison(compared, shown, arguments.html, top=arguments.top, command=command)
    return SAME_OR_BETTER


def _command(arguments: argparse.Namespace, paths: list[Path]) -> str:
    words = ["pytest-nsys", "compare", *map(str, paths)]
    words += [f"--by={name}" for name in arguments.by]
    words += selecting(selection_of(arguments))
    words += [f"--per={unit}" for unit in arguments.per]
    words += [f"--metric={key}" for key in arguments.metric]
    return shlex.join(words)
