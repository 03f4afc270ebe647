"""``pytest-nsys export``: a stored capture in a format that other tools open."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pytest_nsys.cli.common import (
    ANOTHER_FILE,
    CAPTURE,
    add_nsys,
    add_output,
    add_range,
    selection_of,
    show,
    target_of,
)
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import ReportError


def add_export(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Writes a capture as a trace that https://ui.perfetto.dev opens.",
        examples=["pytest-nsys export --perfetto report.nsys-rep -o trace.json.gz"],
        codes={0: "the trace was written", 2: "it could not be"},
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help=CAPTURE)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--perfetto", action="store_true", help="as a trace for Perfetto (JSON)")
    add_output(
        parser,
        "the trace, compressed if it ends in .gz (default: beside the report, as "
        "NAME.perfetto.json.gz)",
    )
    add_range(parser)
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.perfetto import perfetto_text
    from pytest_nsys.storage.recordings.stored import load_stored
    from pytest_nsys.support.files import writing
    from pytest_nsys.support.units import format_amount

    selection = selection_of(arguments)
    target = target_of(arguments, ".perfetto.json.gz")
    trace = load_stored(arguments.report, arguments.nsys_executable)
    pieces = perfetto_text(trace, selection)
    with writing(str(target), ReportError, ANOTHER_FILE):
        _write(target, pieces)
    show(f"{target}: {format_amount(target.stat().st_size, 'B')}; open it in ui.perfetto.dev")
    return 0


def _write(target: Path, pieces: Iterable[str]) -> None:
    """Write a text piece by piece; a reader sees the old file or the new, never a part."""
    from pytest_nsys.support.files import replacing

    with replacing(target) as file:
        if target.name.endswith(".gz"):
            # Without name and time: two exports of one capture are the same.
            with gzip.GzipFile("", "wb", 5, file, mtime=0) as packed:
                _write_text(packed, pieces)
        else:
            _write_text(file, pieces)


def _write_text(file: BinaryIO | gzip.GzipFile, pieces: Iterable[str]) -> None:
    for piece in pieces:
        file.write(piece.encode("utf-8", "backslashreplace"))
