"""``pytest-nsys export``: a stored capture in a format that other tools open."""

from __future__ import annotations

import argparse
import gzip
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from pytest_nsys.cli.common import ANOTHER_FILE, CAPTURE, add_nsys, show
from pytest_nsys.errors import ReportError

_ENDINGS = (".nsys-rep", ".sqlite", ".sqlite.xz")


def add_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.description = "Write a capture as a trace that https://ui.perfetto.dev opens."
    parser.add_argument("report", type=Path, help=CAPTURE)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--perfetto", action="store_true", help="as a trace for Perfetto (JSON)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the trace, compressed if it ends in .gz (default: beside the report, as "
        "NAME.perfetto.json.gz)",
    )
    parser.add_argument("--range", metavar="NAME", help="only the NVTX ranges with this text")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_nsys(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_nsys.offline.perfetto import perfetto_text
    from pytest_nsys.storage.recordings.stored import load_stored
    from pytest_nsys.support.files import written
    from pytest_nsys.support.units import format_amount

    report: Path = arguments.report
    target: Path = arguments.output or _beside(report)
    if not arguments.force and (target.exists() or target.is_symlink()):
        raise ReportError(
            f"{target} exists and is left alone",
            remedy="name another file with -o, or replace it with --force",
        )
    pieces = perfetto_text(load_stored(report, arguments.nsys_executable), arguments.range)
    with written(str(target), ReportError, ANOTHER_FILE):
        _write(target, pieces)
    show(f"{target}: {format_amount(target.stat().st_size, 'B')}; open it in ui.perfetto.dev")
    return 0


def _beside(report: Path) -> Path:
    name = report.absolute().name
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        name = name.removesuffix(ending)
    return report.absolute().with_name(f"{name}.perfetto.json.gz")


def _write(target: Path, pieces: Iterable[str]) -> None:
    """Write a text piece by piece; a reader sees the old file or the new, never a part."""
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "wb") as file:
            if target.name.endswith(".gz"):
                # Without name and time: two exports of one capture are the same.
                with gzip.GzipFile("", "wb", 5, file, mtime=0) as packed:
                    _write_text(packed, pieces)
            else:
                _write_text(file, pieces)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_text(file: io.BufferedIOBase | gzip.GzipFile, pieces: Iterable[str]) -> None:
    for piece in pieces:
        file.write(piece.encode("utf-8", "backslashreplace"))
