"""``pytest-nsys scrub``: a copy of a capture that can be handed on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nsys.cli.common import ANOTHER_FILE, add_nsys, add_output, show_lines, target_of
from pytest_nsys.cli.parser import Parser
from pytest_nsys.errors import NotACapture, ReportError

if TYPE_CHECKING:
    from pytest_nsys.storage.recordings.scrub import Scrubbed

_STILL_THERE = "names of kernels, metrics, GPUs, and versions"


def add_scrub(parser: Parser) -> None:
    """The arguments of the command."""
    parser.describe(
        "Writes a copy of a capture with only what pytest-nsys reads: no environment, command "
        "lines, processes, folders or output.",
        examples=["pytest-nsys scrub report.nsys-rep -o for-the-issue.sqlite.xz"],
        codes={0: "the copy was written", 2: "it could not be"},
    )
    parser.add_argument(
        "report",
        type=Path,
        metavar="REPORT",
        help="a .nsys-rep or .qdrep (where nsys is installed), an .sqlite, an .sqlite.xz, or a "
        "folder of Parquet files",
    )
    add_output(parser, "the copy (default: beside the report, as NAME.scrubbed.sqlite.xz)")
    parser.add_argument(
        "--hide-ranges",
        action="store_true",
        help="replace the texts and domains of NVTX ranges by numbers (range-1, range-2, ...)",
    )
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.storage.recordings.scrub import scrub
    from pytest_nsys.storage.recordings.stored import PACKED, exported, is_recording
    from pytest_nsys.support.files import writing

    report: Path = arguments.report
    target = target_of(arguments, ".scrubbed" + PACKED)
    if not target.name.endswith(PACKED):
        raise ReportError(
            f"{target} does not end in {PACKED}, which is what the copy is",
            remedy=f"name it {target.name.partition('.')[0]}{PACKED}",
        )
    if is_recording(report):
        raise NotACapture(
            f"{report} is a recording, which is scrubbed already",
            remedy="hand it on as it is, or name one of its captures to hide its ranges",
        )
    with (
        exported(report, arguments.nsys_executable) as export,
        writing(str(target), ReportError, ANOTHER_FILE),
    ):
        scrubbed = scrub(export, target, hide_ranges=arguments.hide_ranges)
    show_lines(_lines(target, scrubbed, hidden=arguments.hide_ranges))
    return 0


def _lines(target: Path, scrubbed: Scrubbed, *, hidden: bool) -> Iterator[str]:
    from pytest_nsys.support.units import format_amount

    after, before = (
        format_amount(size, "B") for size in (scrubbed.bytes_after, scrubbed.bytes_before)
    )
    yield f"{target}: {after}, from {before}"
    kept = [table for table in scrubbed.tables if table.kept_columns]
    dropped = [table for table in scrubbed.tables if not table.kept_columns]
    width = max((len(table.name) for table in scrubbed.tables), default=0)
    for table in kept:
        yield (
            f"kept     {table.name:{width}}  {table.kept:,} of {table.rows:,} rows, "
            f"{table.kept_columns} of {table.columns} columns"
        )
    for table in dropped:
        yield f"dropped  {table.name:{width}}  {table.rows:,} rows"
    ranges = "numbers for NVTX ranges" if hidden else "texts and domains of NVTX ranges"
    yield f"it still holds {_STILL_THERE}, and {ranges}"
