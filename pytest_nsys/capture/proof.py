"""Proving a capture: nsys's exit code is its child's and says nothing of the report.

A capture counts only when the report is new, its import and export are complete, nsys itself
reports no error in it, and every window and the sentinel are there. Each failure is an error of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pytest_nsys.capture import importing
from pytest_nsys.errors import (
    CaptureMissing,
    DiagnosticError,
    EventsMissing,
    ImporterFailed,
    NoCudaEvents,
    NoGpu,
    WindowsMissing,
)
from pytest_nsys.gpu.nvml import describe_gpus
from pytest_nsys.trace.lost import launches_without_kernels
from pytest_nsys.trace.schema import SEVERITY_ERROR
from pytest_nsys.trace.tables import Trace
from pytest_nsys.windows.cut import cut_records
from pytest_nsys.windows.record import WindowRecord

_STATED = re.compile(r"Number of CUDA events collected:\s*(\d+)")
_IMPORT_TROUBLE = (
    "Importer error status",
    "Errors occurred while processing",
    "Failed to create",
    importing.FAILED,
)
_AGENT_LOST = re.compile(r"Connection to (the )?Agent lost")
_AGENT_REMEDY = (
    "run again: something ended the agent, a process that nsys records with (if it was the kernel, "
    "for its memory, dmesg says so)"
)


def prove_report(report: Path, nsys_output: str) -> None:
    """The report exists and its import went through; the folder was empty before the run.

    Raises:
        ImporterFailed: nsys left raw events and no report, or complained while importing.
        CaptureMissing: nsys left nothing.
    """
    raw = report.with_suffix(".qdstrm")
    trouble = [line for line in nsys_output.splitlines() if _is_trouble(line)]
    if raw.exists() or trouble:
        raise ImporterFailed(
            "nsys could not make a report of what it recorded",
            evidence="\n".join(trouble) or nsys_output,
            remedy="the usual causes are a missing libdw.so.1 (install libdw1), an nsys package "
            "without its importer, or a full disk ($TMPDIR); 'nsys profile true' by hand "
            "shows the same",
        )
    if not report.exists():
        raise CaptureMissing(
            "nsys ended and left no report",
            evidence=nsys_output,
            remedy=_AGENT_REMEDY
            if _AGENT_LOST.search(nsys_output)
            else "see nsys's own lines above; check that $TMPDIR is writable and not full",
        )


def _is_trouble(line: str) -> bool:
    return any(text in line for text in _IMPORT_TROUBLE)


def prove_trace(
    trace: Trace,
    records: Sequence[WindowRecord],
    *,
    needs_gpu: bool,
    needs_cuda: bool,
) -> None:
    """The capture holds what the worker did.

    Args:
        trace: the exported capture.
        records: the worker's records of windows.
        needs_gpu: whether there must be a GPU.
        needs_cuda: whether some test must have used it.

    Raises:
        DiagnosticError: nsys reports an error in its own capture.
        WindowsMissing: a window or the sentinel is missing.
        NoGpu: there is no GPU.
        EventsMissing: less was recorded of CUDA than nsys says.
        NoCudaEvents: nothing was recorded of CUDA.
    """
    cut_records(trace, records)
    if not any(record.kind == "sentinel" for record in records):
        raise WindowsMissing(
            "the capture does not reach the end of the run: its sentinel is missing",
            evidence=f"{len(records)} window records",
            remedy="run again; if it stays so, a plugin ends the worker's session early",
        )
    prove_contents(trace, needs_gpu=needs_gpu, needs_cuda=needs_cuda)


def prove_contents(trace: Trace, *, needs_gpu: bool, needs_cuda: bool) -> None:
    """The capture is whole, whatever its windows are.

    Args:
        trace: the exported capture.
        needs_gpu: whether there must be a GPU.
        needs_cuda: whether something in it must have used the GPU.

    Raises:
        NoGpu, DiagnosticError, EventsMissing, NoCudaEvents: as of `prove_trace`.
    """
    if needs_gpu and not trace.gpus:
        raise NoGpu(
            "nsys saw no NVIDIA GPU on this machine",
            evidence=f"{_diagnostics(trace)}\n{describe_gpus()}",
            remedy="run on a machine with a GPU and its driver (nvidia-smi shows it); judge a "
            "recording from such a machine with --nsys-replay; without the --nsys options the "
            "tests run as ordinary tests",
        )
    errors = [text for severity, text in trace.diagnostics if severity >= SEVERITY_ERROR]
    if errors:
        raise DiagnosticError(
            "nsys reports errors in its own capture",
            evidence="\n".join(errors[:5]),
            remedy="an nsys older than the driver is the usual cause: use a newer nsys",
        )
    prove_counts(trace)
    launches = launches_without_kernels(trace)
    if needs_cuda and launches:
        raise EventsMissing(
            "the capture has launches and no kernel",
            evidence=f"calls that launch kernels: {launches}\n{_diagnostics(trace)}",
            remedy="a CUDA error that breaks the process's context takes all its events with it: "
            "see which test fails first, and run it alone or with isolate=True",
        )
    if needs_cuda and not trace.has_cuda_activity:
        raise NoCudaEvents(
            "the capture holds no CUDA events at all",
            evidence=_diagnostics(trace),
            remedy="check that what is measured uses the GPU (allow_empty=True in the marker says "
            "that a test need not), and that nsys is not older than the driver",
        )


def stated_events(trace: Trace) -> int:
    """How many CUDA events nsys says it collected, in all processes; 0 where it does not say."""
    matches = (_STATED.search(text) for _, text in trace.diagnostics)
    return sum(int(match[1]) for match in matches if match is not None)


def prove_counts(trace: Trace) -> None:
    """There are all the events that nsys counted, where it says how many (new versions do).

    It counts API calls, kernels (those of CUDA graphs too), copies and memsets, each process for
    itself; not graphs that are traced as a whole. All captures seen have exactly as many rows.
    More would be no fault: rows of a kind that it does not count.

    Raises:
        EventsMissing: there are less.
    """
    stated = stated_events(trace)
    tables = (trace.calls, trace.kernels, trace.copies, trace.memsets)
    found = sum(len(table) for table in tables)
    if found < stated:
        raise EventsMissing(
            "the capture has less CUDA events than nsys collected",
            evidence=f"collected: {stated}, in the export: {found}\n{_diagnostics(trace)}",
            remedy="run again; check that the disk is not full",
        )


def _diagnostics(trace: Trace) -> str:
    lines = [text for severity, text in trace.diagnostics if severity > 1]
    version = f"nsys {trace.nsys}, driver {trace.driver or 'unknown'}"
    return "\n".join([*lines[:5], version])
