"""A report kept, and made readable by ``nsys export``: of tables only what we read, where nsys can
select."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from pytest_nsys.capture.nsys import NsysTool, export_command
from pytest_nsys.errors import CaptureError, DeadlineExceeded, ExportFailed, NotACapture
from pytest_nsys.process.environment import private_environment
from pytest_nsys.process.guard import end_marked
from pytest_nsys.process.processes import run_program
from pytest_nsys.support.files import copy_private
from pytest_nsys.support.own import own
from pytest_nsys.trace.schema import TABLES

_ATTEMPTS = 3
_AT_ONCE_S = 5.0


def keep_report(report: Path, folder: Path | None, number: int) -> None:
    """Copy a report to where the user wants to have it, if there is one.

    Args:
        report: it.
        folder: where to; None for nowhere.
        number: what tells it from others of the run.

    Raises:
        CaptureError: it cannot be written.
    """
    if folder is None or not report.exists():
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_private(report, folder / f"report-{number}.nsys-rep")
    except OSError as error:
        raise CaptureError(
            "the raw report cannot be kept",
            evidence=str(error),
            remedy="name a folder that can be written to with --nsys-keep",
        ) from None


def export_report(nsys: NsysTool, report: Path, folder: Path, *, deadline_s: float = 900.0) -> Path:
    """Export a report into ``folder``, in the fastest format that nsys and we share.

    Returns:
        A SQLite file, or a folder of Parquet files.

    Raises:
        NotACapture: there is no such report.
        ExportFailed: nsys could not, or left nothing.
        DeadlineExceeded: it did not end in time; its processes have been ended.
    """
    if not report.is_file():
        raise NotACapture(f"there is no report {report}", remedy="correct the path")
    parquet = nsys.can_select_tables and importlib.util.find_spec("pyarrow") is not None
    kind = "parquetdir" if parquet else "sqlite"
    output = folder / ("export.parquet" if parquet else "export.sqlite")
    command = export_command(nsys, report, output, kind, TABLES)
    for _ in range(_ATTEMPTS - 1):
        began = own.clock()
        try:
            return _export(command, output, deadline_s)
        except ExportFailed:
            # Now and then nsys ends at once without doing anything, on a busy machine. What
            # fails for a reason fails again.
            if own.clock() - began > _AT_ONCE_S:
                raise
    return _export(command, output, deadline_s)


def _export(command: Sequence[str], output: Path, deadline_s: float) -> Path:
    folder = output.parent
    try:
        done = run_program(command, environment=private_environment(folder), deadline_s=deadline_s)
    except OSError as error:
        raise ExportFailed(
            "nsys export cannot be started", evidence=str(error), remedy="see to the nsys program"
        ) from None
    finally:
        end_marked(str(folder))
    if done.code is None:
        raise DeadlineExceeded(
            f"nsys export did not end within {deadline_s:g} s",
            evidence=" ".join(command),
            remedy="check that the disk is not full; a smaller capture exports faster; "
            "nsys_tool_timeout sets how long it may take",
        )
    if done.code != 0 or _is_empty(output):
        raise ExportFailed(
            f"nsys export ended with exit code {done.code}"
            + (" and wrote nothing" if _is_empty(output) else ""),
            evidence=done.printed[-2000:],
            remedy="use an nsys at least as new as the one that made the report; "
            "check that the disk is not full",
        )
    return output


def _is_empty(output: Path) -> bool:
    """Whether there is no export, or one without any table."""
    if output.is_dir():
        return not any(output.iterdir())
    return not output.exists() or not output.stat().st_size
