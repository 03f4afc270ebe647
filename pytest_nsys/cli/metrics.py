"""``pytest-nsys metrics``: the catalogue of metrics."""

from __future__ import annotations

import argparse

from pytest_nsys.cli.common import CANNOT_COMPARE, SAME_OR_BETTER, add_format, complain, show_as
from pytest_nsys.cli.parser import Parser


def add_metrics(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Lists the metrics that can be gated and shown: unit, kind, the direction in which they "
        "get worse, tolerance, whether they are gated by default, and their definitions.",
        examples=["pytest-nsys metrics memcpy", "pytest-nsys metrics --format=json"],
        codes={0: "it was listed", 2: "no metric matches PATTERN"},
    )
    parser.add_argument(
        "pattern",
        nargs="?",
        default="",
        metavar="PATTERN",
        help="only metrics whose name or definition contains this; * and ? are wild",
    )
    add_format(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.catalogue_page import (
        catalogue_document,
        catalogue_lines,
        catalogue_page,
        matching,
    )
    from pytest_nsys.support.text import suggest

    found = matching(arguments.pattern)
    if not found:
        from pytest_nsys.catalogue import metric_names

        complain(f"no metric matches {arguments.pattern!r}")
        complain(suggest(arguments.pattern, metric_names()))
        return CANNOT_COMPARE
    whole = not arguments.pattern
    show_as(
        arguments.format,
        lambda: catalogue_lines(found, whole=whole),
        lambda: catalogue_document(found),
        catalogue_page if whole else None,
    )
    return SAME_OR_BETTER
