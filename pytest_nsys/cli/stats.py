"""``pytest-nsys stats``: all that can be said of one stored capture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pytest_nsys.cli.common import CAPTURE, add_nsys, add_range, selection_of, show, show_lines


def add_stats(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("report", type=Path, help=CAPTURE)
    add_range(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.metrics.unified import records_unified_memory
    from pytest_nsys.offline.stats import stats_document
    from pytest_nsys.offline.stats_text import stats_lines
    from pytest_nsys.storage.recordings.stored import load_stored, recorded_capture

    path: Path = arguments.report
    selection = selection_of(arguments)
    trace = load_stored(path, arguments.nsys_executable)
    capture = recorded_capture(path)
    document = stats_document(
        trace,
        selection,
        records=capture.windows or None if capture else None,
        unified=capture is not None and records_unified_memory(capture.options),
    )
    if arguments.format == "json":
        show(json.dumps(document, indent=1))
    else:
        show_lines(stats_lines(document))
    return 0
