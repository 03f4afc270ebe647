"""``pytest-nsys metrics``: the catalogue of metrics."""

from __future__ import annotations

import argparse
import json

from pytest_nsys.cli.common import show


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--format", choices=("table", "json", "markdown"), default="table")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline import catalogue_page as metrics

    if arguments.format == "json":
        show(json.dumps(metrics.catalogue_document(), indent=1))
    elif arguments.format == "markdown":
        show(metrics.catalogue_page(), end="")
    else:
        show("\n".join(metrics.catalogue_lines()))
    return 0
