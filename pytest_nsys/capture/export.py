"""``nsys export``: a report made readable, only the tables we read where nsys can select."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from pytest_nsys.capture.nsys import Nsys, export_command, minimal_environment
from pytest_nsys.capture.processes import end_trees
from pytest_nsys.errors import DeadlineExceeded, ExportFailed, NotACapture
from pytest_nsys.trace.schema import TABLES


def export_report(nsys: Nsys, report: Path, folder: Path, *, deadline_s: float = 900.0) -> Path:
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
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=minimal_environment(),
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        try:
            printed, _ = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(
                f"nsys export did not end within {deadline_s:g} s",
                evidence=" ".join(command),
                remedy="check that the disk is not full; a smaller capture exports faster",
            ) from None
        finally:
            if process.poll() is None:
                end_trees([process.pid])
    if process.returncode != 0 or not output.exists():
        raise ExportFailed(
            f"nsys export ended with exit code {process.returncode}"
            + ("" if output.exists() else " and wrote nothing"),
            evidence=printed[-2000:],
            remedy="use an nsys at least as new as the one that made the report; "
            "check that the disk is not full",
        )
    return output
