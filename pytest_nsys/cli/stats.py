"""``pytest-nsys stats``: all that can be said of one stored capture."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_nsys.cli.common import (
    CAPTURE,
    SAME_OR_BETTER,
    add_format,
    add_nsys,
    add_range,
    selection_of,
    show_as,
)
from pytest_nsys.cli.parser import Parser


def add_stats(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Says all that there is to say of a capture: kernels, copies, calls, ranges, bottlenecks; "
        "of a recording its tests and their windows first.",
        examples=[
            "pytest-nsys stats report.nsys-rep",
            "pytest-nsys stats recording --range='decode*' --format=json",
        ],
        codes={0: "it was shown", 2: "it cannot be read, or lacks what is selected"},
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help=CAPTURE)
    add_range(parser, windows=True)
    add_format(parser)
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.metrics.unified import records_unified_memory
    from pytest_nsys.offline.measured import beside_windows, named_windows
    from pytest_nsys.offline.stats import stats_document
    from pytest_nsys.offline.stats_recording import recording_document
    from pytest_nsys.offline.stats_text import recording_lines, stats_lines
    from pytest_nsys.storage.recordings.stored import has_several, load_stored, recorded_capture

    path: Path = arguments.report
    selection = selection_of(arguments)
    windows = named_windows(path, selection)
    if windows or (selection.is_everything and has_several(path)):
        found = recording_document(path, windows)
        show_as(arguments.format, lambda: recording_lines(path, found), lambda: found)
        return SAME_OR_BETTER
    trace = load_stored(path, arguments.nsys_executable)
    capture = recorded_capture(path)
    document = stats_document(
        trace,
        beside_windows(path, selection),
        records=capture.windows or None if capture else None,
        unified=capture is not None and records_unified_memory(capture.options),
    )
    show_as(arguments.format, lambda: stats_lines(document), lambda: document)
    return SAME_OR_BETTER
